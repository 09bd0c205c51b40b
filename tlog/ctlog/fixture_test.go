package ctlog_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/client"
	"github.com/google/certificate-transparency-go/jsonclient"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/ctlog"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
	"github.com/sigbox/sigbox/tlog/logtest"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	poison  = pkix.Extension{Id: certificate.OIDPoison, Critical: true, Value: asn1.NullBytes}
	sctList = pkix.Extension{Id: certificate.OIDSCTList, Value: []byte{4, 0}}
)

// stack is a CT log behind HTTP with the CA that it serves.
type stack struct {
	ca     *ca.Hierarchy
	key    crypto.Signer
	log    *tlog.Engine
	server *ctlog.Server
	url    string
	clock  *clock.Manual
	logged *bytes.Buffer
}

func newStack(t testing.TB, wrap ...func(tlog.Log) tlog.Log) *stack {
	t.Helper()
	s := &stack{clock: clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)), logged: &bytes.Buffer{}}
	var err error
	if s.ca, err = ca.NewHierarchy(s.clock, "test"); err != nil {
		t.Fatal(err)
	}
	if s.key, err = keys.NewECDSA(); err != nil {
		t.Fatal(err)
	}
	s.log = logtest.New(t, func(c *tlog.Config) { c.LeafInput = certificate.LeafInput; c.Clock = s.clock })
	var log tlog.Log = s.log
	for _, w := range wrap {
		log = w(log)
	}
	s.server, err = ctlog.New(ctlog.Config{
		Log: log, Signer: s.key, Roots: []*x509.Certificate{s.ca.Root}, Clock: s.clock,
		Logger: slog.New(slog.NewTextHandler(s.logged, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	s.server.Register(mux)
	srv := httptest.NewServer(httpx.Handler(mux, slog.New(slog.DiscardHandler), httpx.NewMetrics(prometheus.NewRegistry())))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// client is the reference client, which verifies every signature it gets.
func (s *stack) client(t testing.TB) *client.LogClient {
	t.Helper()
	spki, err := keys.SPKI(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(s.url, http.DefaultClient, jsonclient.Options{PublicKeyDER: spki})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// seed appends the CA's own chain, as the wiring does.
func (s *stack) seed(t testing.TB) {
	t.Helper()
	seeds, err := ctlog.Seeds(s.ca.Chain())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range seeds {
		if _, err := s.log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *stack) size(t testing.TB) int64 {
	t.Helper()
	cp, _, err := s.log.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return cp.Size
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// make signs a template with the parent's key; parent nil means self-signed.
func makeCert(t testing.TB, tmpl, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// template is a leaf that the log takes; change it to get one that it does not.
func (s *stack) template(change ...func(*x509.Certificate)) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 150))
	if err != nil {
		panic(err)
	}
	now := s.clock.Now()
	tmpl := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), NotBefore: now, NotAfter: now.Add(10 * time.Minute),
		EmailAddresses: []string{"dev@example.com"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	for _, f := range change {
		f(tmpl)
	}
	return tmpl
}

func with(exts ...pkix.Extension) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, exts...) }
}

// leaf issues a leaf under the CA's intermediate.
func (s *stack) leaf(t testing.TB, change ...func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	return makeCert(t, s.template(change...), s.ca.Intermediate, newKey(t).Public(), s.ca.IntermediateKey)
}

func ders(certs ...*x509.Certificate) [][]byte {
	var out [][]byte
	for _, c := range certs {
		out = append(out, c.Raw)
	}
	return out
}

func asn1Certs(certs ...*x509.Certificate) []ct.ASN1Cert {
	var out []ct.ASN1Cert
	for _, c := range certs {
		out = append(out, ct.ASN1Cert{Data: c.Raw})
	}
	return out
}

// post submits a body and returns status and text.
func (s *stack) post(t testing.TB, path, body string) (int, string) {
	t.Helper()
	return s.send(t, http.MethodPost, path, body, http.Header{"Content-Type": {"application/json"}})
}

func (s *stack) get(t testing.TB, path string) (int, string) {
	t.Helper()
	return s.send(t, http.MethodGet, path, "", nil)
}

func (s *stack) send(t testing.TB, method, path, body string, h http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range h {
		req.Header[k] = v
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if refused := resp.StatusCode >= http.StatusBadRequest && resp.StatusCode != http.StatusMethodNotAllowed; refused != (resp.Header.Get(httpx.ErrorCode) != "") {
		t.Errorf("%s %s: %s with the word %q", method, path, resp.Status, resp.Header.Get(httpx.ErrorCode))
	}
	return resp.StatusCode, string(b)
}

func chainBody(t testing.TB, chain [][]byte) string {
	t.Helper()
	b, err := json.Marshal(ct.AddChainRequest{Chain: chain})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
