package web_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/sigstore/timestamp-authority/v2/pkg/verification"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tsa"
	"github.com/sigbox/sigbox/tsa/web"
)

var (
	artifact = []byte("what was signed")
	sum      = sha256.Sum256(artifact)
	sum64    = base64.StdEncoding.EncodeToString(sum[:])
)

type rig struct {
	*httptest.Server
	face      *web.Face
	authority *tsa.Authority
	clock     *clock.Manual
	log       *bytes.Buffer
}

func newRig(t *testing.T) *rig {
	t.Helper()
	c := clock.NewManual(time.Now())
	chain, err := tsa.NewChain(c, "sigbox")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	a, err := tsa.New(tsa.Config{Key: chain.Leaf.Key, Chain: chain.Certificates(), Clock: c, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	face := web.New(a, nil, logger)
	face.Register(mux)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return &rig{s, face, a, c, &log}
}

func (r *rig) post(t *testing.T, contentType string, body []byte) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, r.URL+"/api/v1/timestamp", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, got
}

func der(t *testing.T, r timestamp.Request) []byte {
	t.Helper()
	if r.HashAlgorithm == 0 {
		r.HashAlgorithm, r.HashedMessage = crypto.SHA256, sum[:]
	}
	out, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestStamps: both request forms, as each client sends them, end in a token that verifies.
func TestStamps(t *testing.T) {
	r := newRig(t)
	for _, row := range []struct {
		name, contentType string
		body              []byte
		nonce             *big.Int
		certificates      bool
	}{
		{"sigstore-go", "application/timestamp-query", der(t, timestamp.Request{}), nil, false},
		{"cosign 2", "application/timestamp-query", der(t, timestamp.Request{Nonce: big.NewInt(99), Certificates: true}), big.NewInt(99), true},
		{"sigstore-js", "application/json", []byte(`{"artifactHash":"` + sum64 + `","hashAlgorithm":"sha256"}`), nil, false},
		{"JSON with everything", "application/json; charset=UTF-8", []byte(`{"artifactHash":"` + sum64 + `","hashAlgorithm":"SHA256","certificates":true,"nonce":123456789012345678901234567890,"tsaPolicyOID":"1.3.6.1.4.1.57264.2"}`),
			func() *big.Int { n, _ := new(big.Int).SetString("123456789012345678901234567890", 10); return n }(), true},
		{"JSON field of a later version", "application/json", []byte(`{"artifactHash":"` + sum64 + `","hashAlgorithm":"sha256","later":[1]}`), nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			resp, body := r.post(t, row.contentType, row.body)
			if resp.StatusCode != http.StatusCreated || resp.Header.Get("Content-Type") != "application/timestamp-reply" {
				t.Fatalf("%s %s: %s", resp.Status, resp.Header, body)
			}
			if resp.Header.Get("Content-Length") != strconv.Itoa(len(body)) {
				t.Error("no Content-Length, which makes gitsign panic")
			}
			chain := r.authority.Chain()
			opts := verification.VerifyOpts{Nonce: row.nonce, Roots: chain[1:], TSACertificate: chain[0]}
			ts, err := verification.VerifyTimestampResponse(body, bytes.NewReader(artifact), opts)
			if err != nil {
				t.Fatal(err)
			}
			if (len(ts.Certificates) == 1) != row.certificates {
				t.Errorf("%d certificates", len(ts.Certificates))
			}
		})
	}
}

func TestCertChain(t *testing.T) {
	r := newRig(t)
	resp, err := http.Get(r.URL + "/api/v1/timestamp/certchain")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/pem-certificate-chain" {
		t.Fatalf("%s %s", resp.Status, resp.Header)
	}
	for i, want := range r.authority.Chain() {
		block, rest := pem.Decode(body)
		if block == nil {
			t.Fatalf("%d certificates", i)
		}
		if c, err := x509.ParseCertificate(block.Bytes); err != nil || !c.Equal(want) {
			t.Errorf("certificate %d: %v", i, err)
		}
		body = rest
	}
	if len(body) != 0 {
		t.Errorf("%d bytes after the chain", len(body))
	}
}

// TestBadInput: B-188 to B-195 as they arrive over HTTP. What the DER parser refuses is in
// package tsa; here each row holds one text, status or limit of the face.
func TestBadInput(t *testing.T) {
	const (
		query  = "application/timestamp-query"
		jsonT  = "application/json"
		failed = "Error generating timestamp response"
		oid    = "OID should be comprised of at most 128 components"
		policy = "unaccepted policy: requested TSA policy is not supported by the TSA"
		media  = "unsupported media type"
	)
	field := func(kv string) []byte {
		return []byte(`{"artifactHash":"` + sum64 + `","hashAlgorithm":"sha256",` + kv + `}`)
	}
	bigNonce := new(big.Int).Lsh(big.NewInt(1), 160)
	for _, row := range []struct {
		name, contentType string
		body              []byte
		status            int
		text              string
	}{
		{"empty DER", query, nil, 400, failed},
		{"HTML as DER", query, []byte("<html>"), 400, failed},
		{"DER of 1 MiB and one byte", query, bytes.Repeat([]byte{0x30}, 1<<20+1), 413, "Limit set to 1048576"},
		{"trailing data", query, append(der(t, timestamp.Request{}), 0), 400, failed},
		{"SHA-1", query, der(t, timestamp.Request{HashAlgorithm: crypto.SHA1, HashedMessage: make([]byte, 20)}), 400, "Weak hash algorithm in timestamp request"},
		{"digest too short", query, der(t, timestamp.Request{HashAlgorithm: crypto.SHA256, HashedMessage: make([]byte, 20)}), 400, "Message digest has incorrect length for specified algorithm"},
		{"another policy", query, der(t, timestamp.Request{TSAPolicyOID: []int{1, 2, 3}}), 400, policy},
		{"extensions", query, der(t, timestamp.Request{ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 14}, Critical: true, Value: []byte{4, 0}}}}), 400, "unaccepted extension: requested extensions are not supported by the TSA"},
		{"nonce of 161 bits", query, der(t, timestamp.Request{Nonce: bigNonce}), 400, "timestamp request is too large"},

		{"no content type", "", field(`"certificates":true`), 415, media},
		{"text", "text/plain", field(`"certificates":true`), 415, media},
		{"multipart that mentions JSON", "multipart/form-data; boundary=application/json", field(`"certificates":true`), 415, media},
		{"JSON in UTF-7", "application/json; charset=utf-7", field(`"certificates":true`), 415, media},
		{"two types", "application/json, application/timestamp-query", field(`"certificates":true`), 415, media},
		{"content type of 60 KiB", strings.Repeat("application/json;", 60<<10/17), field(`"certificates":true`), 415, media},
		{"DER called JSON", jsonT, der(t, timestamp.Request{}), 400, failed},
		{"JSON called DER", query, field(`"certificates":true`), 400, failed},

		{"empty JSON", jsonT, nil, 400, failed},
		{"{}", jsonT, []byte("{}"), 400, failed},
		{"null", jsonT, []byte("null"), 400, failed},
		{"second value", jsonT, append(field(`"certificates":true`), '1'), 400, failed},
		{"field twice", jsonT, field(`"nonce":1,"Nonce":2`), 400, failed},
		{"JSON of 1025 bytes", jsonT, field(`"x":"` + strings.Repeat("x", 1025-len(field(`"x":""`))) + `"`), 400, "timestamp request is too large"},
		{"nonce of 200,000 digits", jsonT, field(`"nonce":1` + strings.Repeat("0", 200_000)), 400, "timestamp request is too large"},
		{"nonce of 161 bits in JSON", jsonT, field(`"nonce":` + bigNonce.String()), 400, "timestamp request is too large"},
		{"nonce negative", jsonT, field(`"nonce":-1`), 400, failed},
		{"nonce a fraction", jsonT, field(`"nonce":1.5`), 400, failed},
		{"nonce a string", jsonT, field(`"nonce":"1"`), 400, failed},
		{"certificates a string", jsonT, field(`"certificates":"true"`), 400, failed},
		{"hash sha1", jsonT, []byte(`{"artifactHash":"` + sum64 + `","hashAlgorithm":"sha1"}`), 400, "Weak hash algorithm in timestamp request"},
		{"hash sha224", jsonT, []byte(`{"artifactHash":"` + sum64 + `","hashAlgorithm":"sha224"}`), 400, failed},
		{"hash of another length", jsonT, []byte(`{"artifactHash":"` + sum64 + `","hashAlgorithm":"sha512"}`), 400, "Message digest has incorrect length for specified algorithm"},
		{"digest not base64", jsonT, []byte(`{"artifactHash":"` + strings.Repeat("!", 44) + `","hashAlgorithm":"sha256"}`), 400, failed},
		{"digest URL-safe base64", jsonT, []byte(`{"artifactHash":"` + strings.Repeat("_", 43) + `=","hashAlgorithm":"sha256"}`), 400, failed},
		{"policy 1..2", jsonT, field(`"tsaPolicyOID":"1..2"`), 400, oid},
		{"policy -1.2", jsonT, field(`"tsaPolicyOID":"-1.2"`), 400, oid},
		{"policy 9.9.9", jsonT, field(`"tsaPolicyOID":"9.9.9"`), 400, policy},
		{"policy of a million dots", jsonT, field(`"tsaPolicyOID":"` + strings.Repeat(".", 1_000_000) + `"`), 400, "timestamp request is too large"},
		{"policy of 800 dots", jsonT, field(`"tsaPolicyOID":"` + strings.Repeat(".", 800) + `"`), 400, oid},
		{"policy of 129 arcs", jsonT, field(`"tsaPolicyOID":"1` + strings.Repeat(".1", 128) + `"`), 400, oid},
		{"policy with an arc of 2^64", jsonT, field(`"tsaPolicyOID":"1.18446744073709551616"`), 400, oid},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			resp, body := r.post(t, row.contentType, row.body)
			var got struct {
				Code    int
				Message string
			}
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatalf("%s: %q: %v", resp.Status, body, err)
			}
			if resp.StatusCode != row.status || got.Code != row.status || !strings.Contains(got.Message, row.text) {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, got.Message, row.status, row.text)
			}
			if resp.Header.Get(httpx.ErrorCode) == "" {
				t.Error("no word for the cause")
			}
			if strings.Contains(r.log.String(), "issued") || !strings.Contains(r.log.String(), "refused") {
				t.Errorf("log: %s", r.log)
			}
		})
	}
}

// TestGzipBody: B-006 on this route.
func TestGzipBody(t *testing.T) {
	r := newRig(t)
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, r.URL+"/api/v1/timestamp", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/timestamp-query")
	req.Header.Set("Content-Encoding", "gzip")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnsupportedMediaType {
		t.Error(resp.Status)
	}
}

// TestClockStepsBack: B-198, 503 and no stamp until the clock is right again.
func TestClockStepsBack(t *testing.T) {
	r := newRig(t)
	now := r.clock.Now()
	query := der(t, timestamp.Request{})
	for _, step := range []struct {
		at   time.Time
		want int
	}{{now, 201}, {now.Add(-time.Minute), 503}, {now.Add(time.Second), 201}} {
		r.clock.Set(step.at)
		resp, body := r.post(t, "application/timestamp-query", query)
		if resp.StatusCode != step.want {
			t.Errorf("clock at %s: %s %s", step.at, resp.Status, body)
		}
		if step.want == 503 && (resp.Header.Get("Retry-After") == "" || !bytes.Contains(body, []byte("time source not trusted"))) {
			t.Errorf("%s %s", resp.Header, body)
		}
	}
}
