package fulcio_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/fulcio"
	"github.com/sigbox/sigbox/ca/sqlstore"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/migrations"
	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/ctlog"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
	"github.com/sigbox/sigbox/tlog/logtest"
)

const (
	emailIssuer = "https://people.example.com"
	ciIssuer    = "https://token.actions.githubusercontent.com"
)

// stack is the whole CA behind HTTP/1, h2c and gRPC on one port, with real tokens.
type stack struct {
	url       string
	server    *fulcio.Server
	clock     *clock.Manual
	hierarchy *ca.Hierarchy
	ctKey     crypto.Signer
	issuerKey crypto.Signer
	log       *tlog.Engine
	records   *sqlstore.SQLite
	logged    *syncBuffer
	rules     fulcio.Rules
	quotas    *quota.Quotas
	trust     func(fulcio.Verifier) fulcio.Trust // instead of rules, where it is not nil
}

// syncBuffer is what our log says.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// take returns what was logged since the last call.
func (s *syncBuffer) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.b.Reset()
	return s.b.String()
}

func newStack(t testing.TB, change ...func(*stack, *ca.Config)) *stack {
	t.Helper()
	s := &stack{clock: clock.NewManual(time.Now()), logged: &syncBuffer{}}
	var err error
	must := func(e error) {
		t.Helper()
		if e != nil {
			t.Fatal(e)
		}
	}
	s.hierarchy, err = ca.NewHierarchy(s.clock, "test")
	must(err)
	s.ctKey, err = keys.NewECDSA()
	must(err)
	s.issuerKey, err = keys.NewRSA()
	must(err)
	s.log = logtest.New(t, func(c *tlog.Config) { c.LeafInput = certificate.LeafInput; c.Clock = s.clock })
	ct, err := ctlog.New(ctlog.Config{Log: s.log, Signer: s.ctKey, Roots: []*x509.Certificate{s.hierarchy.Root}, Clock: s.clock, Logger: slog.New(slog.DiscardHandler)})
	must(err)
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ca.db"))
	must(err)
	t.Cleanup(func() { _ = db.Close() })
	must(migrations.ApplySQLite(t.Context(), db.Writer(), "ca"))
	s.records = sqlstore.NewSQLite(db)
	logger := slog.New(slog.NewJSONHandler(s.logged, nil))
	cfg := ca.Config{Key: s.hierarchy.IntermediateKey, Chain: s.hierarchy.Chain(), SCTs: ct, SCTKey: s.ctKey.Public(), Records: s.records, Clock: s.clock, Logger: logger}
	for _, f := range change {
		f(s, &cfg)
	}
	authority, err := ca.New(cfg)
	must(err)
	static, err := oidc.StaticKeys(s.issuerKey.Public())
	must(err)
	issuers := &oidc.Config{}
	must(issuers.Add(oidc.Issuer{URL: emailIssuer, Audience: "sigstore", Type: oidc.TypeEmail}))
	must(issuers.Add(oidc.Issuer{URL: ciIssuer, Audience: "sigstore", Type: oidc.TypeGitHub}))
	must(issuers.Add(oidc.Issuer{URL: "https://dead.example.com", Audience: "sigstore", Type: oidc.TypeEmail}))
	verifier := oidc.NewVerifier(issuers, oidc.Options{
		Clock: s.clock, Keys: map[string]oidc.KeySet{emailIssuer: static, ciIssuer: static},
		HTTP: oidc.HTTPPolicy{Timeout: time.Nanosecond},
	})
	s.server, err = fulcio.New(fulcio.Config{Authority: authority, Logger: logger, Quotas: s.quotas, Trust: func() fulcio.Trust {
		if s.trust != nil {
			return s.trust(verifier)
		}
		return fulcio.Trust{Verifier: verifier, Issuers: issuers.PublicConfiguration(), Rules: s.rules}
	}})
	must(err)
	s.url = serve(t, s.server)
	return s
}

// serve puts HTTP and gRPC on one cleartext port, as the binary does.
func serve(t testing.TB, server *fulcio.Server) string {
	t.Helper()
	mux := http.NewServeMux()
	server.Register(mux)
	rpc := grpc.NewServer()
	server.RegisterGRPC(rpc)
	web := httpx.Handler(mux, slog.New(slog.DiscardHandler), httpx.NewMetrics(prometheus.NewRegistry()))
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			rpc.ServeHTTP(w, r)
			return
		}
		web.ServeHTTP(w, r)
	}))
	srv.Config.Protocols = &http.Protocols{}
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}

// token signs claims over the usual ones; a nil claim is left out.
func (s *stack) token(t testing.TB, over map[string]any) string {
	t.Helper()
	now := s.clock.Now()
	claims := map[string]any{
		"iss": emailIssuer, "sub": "subject-1", "aud": "sigstore", "email": "dev@example.com", "email_verified": true,
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	for k, v := range over {
		claims[k] = v
		if v == nil {
			delete(claims, k)
		}
	}
	return signToken(t, jose.RS256, s.issuerKey, claims)
}

func (s *stack) ciToken(t testing.TB) string {
	t.Helper()
	over := map[string]any{"iss": ciIssuer, "sub": "repo:acme/app:ref:refs/heads/main", "email": nil, "email_verified": nil}
	for _, k := range []string{"event_name", "workflow", "runner_environment", "repository_id", "repository_owner", "repository_owner_id", "repository_visibility", "run_id", "run_attempt", "sha", "job_workflow_sha", "workflow_sha"} {
		over[k] = "value"
	}
	over["ref"], over["repository"] = "refs/heads/main", "acme/app"
	over["job_workflow_ref"], over["workflow_ref"] = "acme/app/.github/workflows/r.yml@refs/heads/main", "acme/app/.github/workflows/r.yml@refs/heads/main"
	return s.token(t, over)
}

func signToken(t testing.TB, alg jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// keyPair is a client's ephemeral key.
type keyPair struct {
	*ecdsa.PrivateKey
	pem string
}

func newKeyPair(t testing.TB) keyPair {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := keys.PublicPEM(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{k, string(b)}
}

func (k keyPair) prove(t testing.TB, challenge string) []byte {
	t.Helper()
	digest := sha256.Sum256([]byte(challenge))
	sig, err := k.PrivateKey.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func (k keyPair) csr(t testing.TB) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

type object = map[string]any

// bodyV2 is a request as clients write it.
func bodyV2(token string, k keyPair, proof []byte) object {
	b := object{"publicKeyRequest": object{"publicKey": object{"algorithm": "ECDSA", "content": k.pem}, "proofOfPossession": proof}}
	if token != "" {
		b["credentials"] = object{"oidcIdentityToken": token}
	}
	return b
}

func text(t testing.TB, v any) string {
	t.Helper()
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (s *stack) do(t testing.TB, method, path string, header http.Header, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range header {
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
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// traces counts what an issuance leaves behind.
func (s *stack) traces(t testing.TB) (records, entries int) {
	t.Helper()
	r, err := s.records.Records(context.Background(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := s.log.Checkpoint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return len(r), int(cp.Size)
}

func parseChain(t testing.TB, certs []string) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for _, c := range certs {
		if strings.HasSuffix(c, "\n") || !strings.HasPrefix(c, "-----BEGIN CERTIFICATE-----\n") {
			t.Errorf("PEM %q... ends or begins wrongly", c[:30])
		}
		block, rest := pem.Decode([]byte(c))
		if block == nil || len(rest) != 0 {
			t.Fatalf("not one PEM block: %q", c)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, cert)
	}
	return out
}
