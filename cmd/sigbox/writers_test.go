//go:build postgres

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	rekor "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sigbox/sigbox/oidc/devidp"
	tlogpb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

// signer is who signs: a key, shown as it is or with a certificate.
type signer struct {
	key *ecdsa.PrivateKey
	pem []byte
	der []byte // of the certificate, nil for none
}

func newSigner(t *testing.T) signer {
	t.Helper()
	key := entrytest.P256(t)
	return signer{key: key, pem: entrytest.PEM(t, key.Public())}
}

// certifiedSigner gets a certificate of the authority for an identity.
func (s *trio) certifiedSigner(t *testing.T, email string) signer {
	t.Helper()
	token, err := devidp.FetchToken(t.Context(), "http://"+s.at["issuer"], map[string]any{"email": email})
	if err != nil {
		t.Fatal(err)
	}
	w := newSigner(t)
	status, text := postTo(t, "http://"+s.at["ca"]+"/api/v2/signingCert", signingRequest(t, w, token, email))
	var got struct {
		Embedded struct {
			Chain struct{ Certificates []string } `json:"chain"`
		} `json:"signedCertificateEmbeddedSct"`
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || status != http.StatusOK {
		t.Fatalf("no certificate: %d %s", status, text)
	}
	block, _ := pem.Decode([]byte(got.Embedded.Chain.Certificates[0]))
	w.der, w.pem = block.Bytes, pem.EncodeToMemory(block)
	return w
}

func signingRequest(t *testing.T, w signer, token, email string) []byte {
	t.Helper()
	return entrytest.JSON(t, map[string]any{
		"credentials": map[string]any{"oidcIdentityToken": token},
		"publicKeyRequest": map[string]any{
			"publicKey":         map[string]any{"algorithm": "ECDSA", "content": string(entrytest.PEM(t, w.key.Public()))},
			"proofOfPossession": entrytest.SignDigest(t, w.key, crypto.SHA256, entrytest.Digest(crypto.SHA256, []byte(email))),
		},
	})
}

// v1 is a proposed entry of Rekor v1, v2 of Rekor v2.
func (w signer) v1(t *testing.T, text string) []byte {
	t.Helper()
	digest := entrytest.Digest(crypto.SHA256, []byte(text))
	return entrytest.HashedRekord(w.pem, crypto.SHA256, digest, entrytest.SignDigest(t, w.key, crypto.SHA256, digest))
}

func (w signer) v2(t *testing.T, text string) *rekor.CreateEntryRequest {
	t.Helper()
	digest := entrytest.Digest(crypto.SHA256, []byte(text))
	v := &rekor.Verifier{KeyDetails: common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, Verifier: &rekor.Verifier_PublicKey{PublicKey: &rekor.PublicKey{RawBytes: entrytest.SPKI(t, w.key.Public())}}}
	if w.der != nil {
		v.Verifier = &rekor.Verifier_X509Certificate{X509Certificate: &common.X509Certificate{RawBytes: w.der}}
	}
	return &rekor.CreateEntryRequest{Spec: &rekor.CreateEntryRequest_HashedRekordRequestV002{HashedRekordRequestV002: &rekor.HashedRekordRequestV002{
		Digest: digest, Signature: &rekor.Signature{Content: entrytest.SignDigest(t, w.key, crypto.SHA256, digest), Verifier: v},
	}}}
}

// dsseOf is a DSSE envelope with a signature of each, for Rekor v1.
func dsseOf(t *testing.T, text string, list ...signer) []byte {
	t.Helper()
	var keys []crypto.Signer
	var pems [][]byte
	for _, w := range list {
		keys, pems = append(keys, w.key), append(pems, w.pem)
	}
	return entrytest.DSSE(t, entrytest.Envelope(t, "text/plain", []byte(text), keys...), pems...)
}

// way is one way to write, from a client address that a proxy says.
type way struct {
	name  string
	write func(t *testing.T, w signer, text, from string) said
}

// said is how a request was answered: an HTTP status, or that which a gRPC code stands for.
type said struct {
	status int
	text   string
	retry  int // seconds
}

// ways are all ways into the Rekor logs of a served configuration.
func ways(t *testing.T, address string) []way {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	logs := tlogpb.NewLogsClient(conn)
	overHTTP := func(path string) func(*testing.T, []byte, string) said {
		return func(t *testing.T, body []byte, from string) said {
			return postFrom(t, "http://"+address+path, body, from)
		}
	}
	post1, post2 := overHTTP("/api/v1/log/entries"), overHTTP("/api/v2/log/entries")
	return []way{
		{"Rekor v1", func(t *testing.T, w signer, text, from string) said { return post1(t, w.v1(t, text), from) }},
		{"Rekor v1, dsse", func(t *testing.T, w signer, text, from string) said { return post1(t, dsseOf(t, text, w), from) }},
		{"Rekor v1, log service", func(t *testing.T, w signer, text, from string) said {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", from)
			_, err := logs.Append(ctx, &tlogpb.AppendRequest{Log: "rekor-v1", Entry: &tlogpb.AppendRequest_RekorV1{RekorV1: w.v1(t, text)}})
			return ofRPC(t, err)
		}},
		{"Rekor v2", func(t *testing.T, w signer, text, from string) said {
			body, err := protojson.Marshal(w.v2(t, text))
			if err != nil {
				t.Fatal(err)
			}
			return post2(t, body, from)
		}},
		{"Rekor v2, gRPC", func(t *testing.T, w signer, text, from string) said {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", from)
			_, err := rekor.NewRekorClient(conn).CreateEntry(ctx, w.v2(t, text))
			return ofRPC(t, err)
		}},
		{"Rekor v2, log service", func(t *testing.T, w signer, text, from string) said {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", from)
			_, err := logs.Append(ctx, &tlogpb.AppendRequest{Log: "rekor-v2", Entry: &tlogpb.AppendRequest_RekorV2{RekorV2: w.v2(t, text)}})
			return ofRPC(t, err)
		}},
	}
}

func postFrom(t *testing.T, url string, body []byte, from string) said {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if from != "" {
		req.Header.Set("X-Forwarded-For", from)
	}
	status, text, header, err := exchange(req)
	if err != nil {
		t.Fatal(err)
	}
	out := said{status: status, text: text}
	if status >= 400 && status < 500 {
		var e struct {
			Code    int
			Message string
		}
		if err := json.Unmarshal([]byte(text), &e); err != nil || e.Message == "" || e.Code == 0 {
			t.Errorf("not upstream's shape of errors: %s", text)
		}
		out.text = e.Message
	}
	out.retry, _ = strconv.Atoi(header.Get("Retry-After"))
	return out
}

func ofRPC(t *testing.T, err error) said {
	t.Helper()
	st := status.Convert(err)
	code, ok := map[codes.Code]int{codes.OK: 201, codes.PermissionDenied: 403, codes.ResourceExhausted: 429, codes.InvalidArgument: 400}[st.Code()]
	if !ok {
		t.Errorf("gRPC: %v", st)
	}
	out := said{status: code, text: st.Message()}
	for _, d := range st.Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			out.retry = int(r.GetRetryDelay().AsDuration().Seconds())
		}
	}
	return out
}

// TestWhoMayWrite: each log takes what its rule says, over every way into it, and a refusal says why and
// leaves no trace. A rule that is replaced counts soon. Certificates are valid as long as is configured.
func TestWhoMayWrite(t *testing.T) {
	s := newTrio(t, "issuers: issuers.yaml", "issuers: issuers.yaml\n  validity: 15m")
	listed, unlisted := newSigner(t), newSigner(t)
	write(t, filepath.Join(s.dir, "release.pub"), string(listed.pem))
	file := s.config(t, "  rekor_v1:\n", "  rekor_v1:\n    writers: {certificates: true}\n",
		"rekor_v2: {", "rekor_v2: {writers: {certificates: true}, ")
	r := s.serve(t, file)
	url := "http://" + s.at["tlog"]
	dev := s.certifiedSigner(t, "dev@example.com")
	if cert, err := x509.ParseCertificate(dev.der); err != nil {
		t.Error(err)
	} else if got := cert.NotAfter.Sub(cert.NotBefore); got != 15*time.Minute-time.Second {
		t.Errorf("certificates are valid for %s", got)
	}
	self := newSigner(t)
	self.der = entrytest.Cert(t, self.key, entrytest.SAN{Emails: []string{"dev@example.com"}}, nil, nil)
	self.pem = entrytest.CertPEM(self.der)
	all := ways(t, s.at["tlog"])

	check := func(name string, w signer, want string) {
		t.Helper()
		for _, way := range all {
			before := heads(t, url)
			got := way.write(t, w, name, "")
			switch {
			case want == "" && got.status != 201:
				t.Errorf("%s, %s: refused: %+v", name, way.name, got)
			case want != "" && (got.status != 403 || !strings.HasPrefix(got.text, "this log does not take the entry: ") || !strings.Contains(got.text, want)):
				t.Errorf("%s, %s: %+v, want 403 %q", name, way.name, got, want)
			}
			if after := heads(t, url); (after == before) != (want != "") {
				t.Errorf("%s, %s: a log has moved: %v", name, way.name, after != before)
			}
		}
	}
	const bare = "with certificates of its authority only, not with bare public keys"
	check("certificates: ours", dev, "")
	check("certificates: a bare key", unlisted, bare)
	check("certificates: one's own", self, "the certificate is valid from ")
	both := postFrom(t, url+"/api/v1/log/entries", dsseOf(t, "two", dev, unlisted), "")
	if both.status != 403 || !strings.Contains(both.text, bare) {
		t.Errorf("an envelope of two, one of whom may write: %+v", both)
	}

	replace := func(old, new string) { editFile(t, file, old, new) }
	settled := func(what string, w signer, status int) {
		t.Helper()
		n := 0
		await(t, what, reloadTime, func() bool {
			n++
			return all[0].write(t, w, fmt.Sprint(what, n), "").status == status && all[3].write(t, w, fmt.Sprint(what, n), "").status == status
		})
	}
	issuer := "http://" + s.at["issuer"]
	replace("writers: {certificates: true}\n", "writers: {issuers: [\""+issuer+"\"], keys: [release.pub]}\n")
	replace("writers: {certificates: true},", "writers: {issuers: [\""+issuer+"\"], keys: [release.pub]},")
	settled("a listed key writes", listed, 201)
	check("an issuer and a key: the issuer's", dev, "")
	check("an issuer and a key: the key", listed, "")
	check("an issuer and a key: another key", unlisted, "is not one of those that may write")
	replace("issuers: [\""+issuer+"\"]", "issuers: [\"https://other.example.com\"]")
	replace("issuers: [\""+issuer+"\"]", "issuers: [\"https://other.example.com\"]")
	settled("an issuer that is not listed is refused", dev, 403)
	check("another issuer", dev, fmt.Sprintf("it takes none of identities of the issuer %q", issuer))
	replace("issuers: [\"https://other.example.com\"], ", "")
	replace("issuers: [\"https://other.example.com\"], ", "")
	settled("certificates are refused", newSigner(t), 403)
	await(t, "the last rule counts", reloadTime, func() bool { return strings.Contains(all[0].write(t, dev, "x", "").text, "of listed keys only") })
	check("keys: a certificate", dev, "it takes entries of listed keys only, not of certificates")
	write(t, filepath.Join(s.dir, "release.pub"), "nonsense")
	await(t, "a key that is wrong is said", reloadTime, func() bool { return strings.Contains(r.stderr.String(), "configuration refused") })
	check("keys: with a file that is wrong", listed, "")
	replace("writers: {keys: [release.pub]}\n", "duplicates: conflict\n")
	replace("writers: {keys: [release.pub]}, ", "")
	settled("everybody writes", unlisted, 201)
	check("open: one's own certificate", self, "")
}
