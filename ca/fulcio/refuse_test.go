package fulcio_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/keys"
)

const (
	badToken     = "There was an error processing the identity token"
	badKey       = "The public key supplied in the request could not be parsed"
	insecureKey  = "The public key supplied in the request is insecure"
	badCSR       = "The certificate signing request could not be parsed"
	badSignature = "The signature supplied in the request could not be verified"
	both         = "exactly one of publicKeyRequest and certificateSigningRequest must be set"
)

// TestRefusals: every row is answered with upstream's status, shape and text, says the true reason
// in our log and not to the client, and leaves no record and no entry.
func TestRefusals(t *testing.T) {
	s := newStack(t)
	k := newKeyPair(t)
	proof := k.prove(t, "dev@example.com")
	good := s.token(t, nil)
	v2 := func(token string) string { return text(t, bodyV2(token, k, proof)) }
	bearer := func(values ...string) http.Header { return http.Header{"Authorization": values} }
	stranger, err := keys.NewRSA()
	if err != nil {
		t.Fatal(err)
	}
	spki, err := keys.PublicPEM(s.issuerKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	now := s.clock.Now()
	claims := map[string]any{"iss": emailIssuer, "sub": "subject-1", "aud": "sigstore", "email": "dev@example.com", "email_verified": true, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	none := strings.Split(good, ".")
	none[0] = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := keys.PublicPEM(p224.Public())
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr384, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{SignatureAlgorithm: x509.ECDSAWithSHA256}, p384)
	if err != nil {
		t.Fatal(err)
	}
	withKey := func(content string) string { return text(t, bodyV2(good, keyPair{pem: content}, proof)) }
	csr := func(b []byte) string {
		return text(t, object{"credentials": object{"oidcIdentityToken": good}, "certificateSigningRequest": b})
	}
	raw := func(field, value string) string {
		return `{"credentials":{"oidcIdentityToken":"` + good + `"},"` + field + `":` + value + `}`
	}
	bothKeys := bodyV2(good, k, proof)
	bothKeys["certificateSigningRequest"] = k.csr(t)
	urlSafe := strings.NewReplacer("+", "-", "/", "_").Replace(base64.StdEncoding.EncodeToString(append(k.csr(t), 0xfb, 0xff)))
	private, err := x509.MarshalPKCS8PrivateKey(k.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	privatePEM := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))

	for _, tc := range []struct {
		name, row    string
		header       http.Header
		body         string
		status, code int
		want         string
		reason       string // what our log must say
	}{
		// tokens
		{"no token", "B-029", nil, v2(""), 400, 3, badToken, "size"},
		{"empty header", "B-029", bearer(""), v2(""), 400, 3, badToken, "size"},
		{"Bearer alone", "B-029", bearer("Bearer"), v2(""), 400, 3, badToken, "malformed"},
		{"bearer in lower case", "B-029", bearer("bearer " + good), v2(""), 400, 3, badToken, "malformed"},
		{"Basic", "B-029", bearer("Basic Zm9vOmJhcg=="), v2(""), 400, 3, badToken, "malformed"},
		{"two headers", "B-029", bearer("Bearer "+good, "Bearer "+good), v2(""), 400, 3, badToken, ""},
		{"two headers beside a token in the body", "B-029", bearer("a", "b"), v2(good), 400, 3, badToken, ""},
		{"alg none", "", nil, v2(none[0] + "." + none[1] + "."), 400, 3, badToken, "algorithm"},
		{"HS256 with the public key", "", nil, v2(signToken(t, jose.HS256, spki, claims)), 400, 3, badToken, "algorithm"},
		{"signed by a stranger", "", nil, v2(signToken(t, jose.RS256, stranger, claims)), 400, 3, badToken, "signature"},
		{"wrong audience", "", nil, v2(s.token(t, map[string]any{"aud": "other"})), 400, 3, badToken, "audience"},
		{"expired", "", nil, v2(s.token(t, map[string]any{"exp": now.Add(-time.Second).Unix()})), 400, 3, badToken, "expired"},
		{"not yet valid", "", nil, v2(s.token(t, map[string]any{"nbf": now.Add(time.Hour).Unix()})), 400, 3, badToken, "not_yet"},
		{"unknown issuer", "", nil, v2(s.token(t, map[string]any{"iss": "https://evil.example.com"})), 400, 3, badToken, "not configured"},
		{"unverified email", "", nil, v2(s.token(t, map[string]any{"email_verified": false})), 400, 3, badToken, "email_unverified"},
		{"no email", "", nil, v2(s.token(t, map[string]any{"email": nil})), 400, 3, badToken, "email"},
		{"issuer that is down", "I-36", nil, v2(s.token(t, map[string]any{"iss": "https://dead.example.com"})), 503, 14, badToken, "unavailable"},
		// keys
		{"neither key nor CSR", "B-068", nil, raw("x", "0"), 400, 3, badKey, "not provided"},
		{"null key", "B-068", nil, raw("publicKeyRequest", "null"), 400, 3, badKey, "not provided"},
		{"key and CSR", "B-069", nil, text(t, bothKeys), 400, 3, both, ""},
		{"private key", "B-070", nil, withKey(privatePEM), 400, 3, badKey, "label"},
		{"P-224", "B-072", nil, withKey(string(weak)), 400, 3, insecureKey, "curve"},
		{"proof over the subject", "B-075", nil, text(t, bodyV2(good, k, k.prove(t, "subject-1"))), 400, 3, badSignature, "challenge"},
		{"no proof", "B-075", nil, text(t, bodyV2(good, k, nil)), 400, 3, badSignature, "challenge"},
		{"no CSR", "B-077", nil, csr([]byte("x")), 400, 3, badCSR, "PEM"},
		{"P-384 with SHA-256", "B-078", nil, csr(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr384})), 400, 3, "signing algorithm not permitted: *ecdsa.PublicKey, SHA-256", ""},
		{"CSR in base64 twice", "B-079", nil, csr([]byte(base64.StdEncoding.EncodeToString(k.csr(t)))), 400, 3, badCSR, "PEM"},
		{"CSR in URL base64", "B-079", nil, raw("certificateSigningRequest", `"`+urlSafe+`"`), 400, 3, `field "certificateSigningRequest" is not standard base64`, ""},
		{"CSR with line breaks", "B-079", nil, raw("certificateSigningRequest", `"`+base64.StdEncoding.EncodeToString(k.csr(t))[:8]+`\n`+base64.StdEncoding.EncodeToString(k.csr(t))[8:]+`"`), 400, 3, `field "certificateSigningRequest" is not standard base64`, ""},
		{"unpadded proof", "B-079", nil, raw("publicKeyRequest", `{"proofOfPossession":"QUI"}`), 400, 3, `field "proofOfPossession" is not standard base64`, ""},
		// bodies
		{"oneof twice", "B-086", nil, raw("publicKeyRequest", `{},"public_key_request":{}`), 400, 3, "publicKeyRequest is given twice", ""},
		{"number for a string", "B-086", nil, raw("publicKeyRequest", `{"publicKey":{"content":7}}`), 400, 3, `field "publicKeyRequest.publicKey.content" has the wrong type: want string`, ""},
		{"list for an object", "B-086", nil, `[]`, 400, 3, "body has the wrong type: want an object", ""},
		{"no JSON", "B-027", nil, `x`, 400, 3, "body is not valid JSON", ""},
		{"empty body", "B-027", nil, ``, 400, 3, "body is not valid JSON", ""},
		{"trailing data", "B-027", nil, v2(good) + "{}", 400, 3, "trailing data after the JSON body", ""},
		{"field twice", "B-025", nil, raw("credentials", "{}"), 400, 3, "duplicate field in JSON object", ""},
		{"deep", "B-024", nil, strings.Repeat(`{"a":`, 100), 400, 3, "JSON nesting is deeper than 64", ""},
		{"not UTF-8", "B-026", nil, "{\"a\":\"\xff\"}", 400, 3, "body is not valid UTF-8 JSON", ""},
		{"text/plain", "B-028", http.Header{"Content-Type": {"text/plain"}}, v2(good), 415, 3, "content type must be application/json", ""},
		{"no content type", "B-028", http.Header{"Content-Type": {}}, v2(good), 415, 3, "content type must be application/json", ""},
		{"gzip", "B-006", http.Header{"Content-Encoding": {"gzip"}}, v2(good), 415, 3, "content encoding not supported: send the body as it is", ""},
		{"beyond 4 MiB", "B-004", nil, `{"x":"` + strings.Repeat("x", 4<<20) + `"}`, 413, 3, "Request Entity Too Large. Limit set to 4194304", ""},
	} {
		s.logged.take()
		a := s.do(t, http.MethodPost, "/api/v2/signingCert", tc.header, tc.body)
		var got struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
			Details []any  `json:"details"`
		}
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Details == nil || len(got.Details) != 0 {
			t.Errorf("%s (%s): not the gateway's shape: %s", tc.name, tc.row, a.body)
		}
		want := tc.want
		if a.status != tc.status || got.Code != tc.code || got.Message != want || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s (%s): %d code %d %q, want %d code %d %q", tc.name, tc.row, a.status, got.Code, got.Message, tc.status, tc.code, want)
		}
		logged := s.logged.take()
		if tc.reason != "" && !strings.Contains(logged, tc.reason) {
			t.Errorf("%s (%s): our log does not say %q: %s", tc.name, tc.row, tc.reason, logged)
		}
		for what, secret := range map[string]string{"the token": none[1], "a private key": privatePEM[40:80]} {
			if strings.Contains(logged, secret) {
				t.Errorf("%s (%s): our log holds %s", tc.name, tc.row, what)
			}
		}
	}
	if r, e := s.traces(t); r != 0 || e != 0 {
		t.Errorf("refused requests left %d records and %d entries", r, e)
	}
}

// TestRefusalsV1: the shape is that of v2, the fields are its own.
func TestRefusalsV1(t *testing.T) {
	s := newStack(t)
	k := newKeyPair(t)
	block, _ := pem.Decode([]byte(k.pem))
	auth := http.Header{"Authorization": {"Bearer " + s.token(t, nil)}}
	for _, tc := range []struct {
		name   string
		header http.Header
		body   any
		want   string
	}{
		{"no token", nil, object{"publicKey": object{"content": block.Bytes}, "signedEmailAddress": k.prove(t, "dev@example.com")}, badToken},
		{"nothing", auth, object{}, badKey},
		{"what the old client sends for nothing", auth, object{"publicKey": object{"content": nil}, "signedEmailAddress": nil, "certificateSigningRequest": nil}, badKey},
		{"both", auth, object{"publicKey": object{"content": block.Bytes}, "signedEmailAddress": k.prove(t, "dev@example.com"), "certificateSigningRequest": k.csr(t)}, both},
		{"wrong proof", auth, object{"publicKey": object{"content": block.Bytes}, "signedEmailAddress": k.prove(t, "eve@example.com")}, badSignature},
		{"key that is no base64", auth, object{"publicKey": object{"content": "!"}}, `field "publicKey.content" is not standard base64`},
	} {
		a := s.do(t, http.MethodPost, "/api/v1/signingCert", tc.header, text(t, tc.body))
		if want := text(t, object{"code": 3, "message": tc.want, "details": []any{}}) + "\n"; a.status != 400 || a.body != want {
			t.Errorf("%s: %d %s, want %s", tc.name, a.status, a.body, want)
		}
	}
	if r, e := s.traces(t); r != 0 || e != 0 {
		t.Errorf("refused requests left %d records and %d entries", r, e)
	}
}

// source is an SCTSource made of a function.
type source func(ctx context.Context, chain [][]byte) ([]byte, error)

func (f source) AddPreChain(ctx context.Context, chain [][]byte) ([]byte, error) {
	return f(ctx, chain)
}

// TestBackendFaults: what fails behind the face is 500 with one of two sentences (B-081, B-082).
func TestBackendFaults(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*stack, *ca.Config)
		want   string
	}{
		{"CT log down", func(_ *stack, c *ca.Config) {
			c.SCTs = source(func(context.Context, [][]byte) ([]byte, error) { return nil, errors.New("dial tcp 10.1.2.3: refused") })
		}, "Error entering certificate in CTL"},
		{"wrong SCT", func(_ *stack, c *ca.Config) {
			c.SCTs = source(func(context.Context, [][]byte) ([]byte, error) { return make([]byte, 120), nil })
		}, "Error entering certificate in CTL"},
		{"CT log frozen", func(_ *stack, c *ca.Config) {
			c.SCTs = source(func(context.Context, [][]byte) ([]byte, error) { return nil, fmt.Errorf("%w: secret", ca.ErrLogEnded) })
		}, "The certificate transparency log is frozen, and no certificate is issued without it"},
		{"signer lost", func(s *stack, c *ca.Config) { c.Key = lostSigner{c.Key} }, "error communicating with CA backend"},
		{"authority expired", func(s *stack, c *ca.Config) { c.Clock = later{s} }, "error communicating with CA backend"},
	} {
		s := newStack(t, tc.change)
		k := newKeyPair(t)
		a := s.do(t, http.MethodPost, "/api/v2/signingCert", nil, text(t, bodyV2(s.token(t, nil), k, k.prove(t, "dev@example.com"))))
		status, code := 500, 13
		if tc.name == "CT log frozen" {
			status, code = 503, 14
		}
		if want := text(t, object{"code": code, "message": tc.want, "details": []any{}}) + "\n"; a.status != status || a.body != want {
			t.Errorf("%s: %d %s", tc.name, a.status, a.body)
		}
		if logged := s.logged.take(); !strings.Contains(logged, "request_id") || status == 500 && !strings.Contains(logged, `"ERROR"`) {
			t.Errorf("%s: our log says %q", tc.name, logged)
		}
		records, err := s.records.Records(t.Context(), 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if r.State == ca.Issued {
				t.Errorf("%s: a certificate was issued", tc.name)
			}
		}
	}
}

type lostSigner struct{ crypto.Signer }

func (lostSigner) Sign(_ io.Reader, _ []byte, _ crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("PKCS#11: session lost")
}

type later struct{ s *stack }

func (l later) Now() time.Time { return l.s.clock.Now().AddDate(4, 0, 0) }

// TestMany: a crowd gets distinct serial numbers (B-080).
func TestMany(t *testing.T) {
	s := newStack(t)
	k := newKeyPair(t)
	body := text(t, bodyV2(s.token(t, nil), k, k.prove(t, "dev@example.com")))
	const n = 100
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if a := s.do(t, http.MethodPost, "/api/v2/signingCert", nil, body); a.status != 200 {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	records, err := s.records.Records(t.Context(), 0, 2*n)
	if err != nil {
		t.Fatal(err)
	}
	serials := map[string]bool{}
	for _, r := range records {
		serials[r.Serial.String()] = r.State == ca.Issued
	}
	if _, entries := s.traces(t); len(serials) != n || entries != n {
		t.Errorf("%d serial numbers and %d entries, want %d each", len(serials), entries, n)
	}
}
