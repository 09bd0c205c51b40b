package ca_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/profile"
	"github.com/sigbox/sigbox/ca/sqlstore"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/migrations"
	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/ctlog"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// stack is an authority over a real CT log and a real record store.
type stack struct {
	clock     *clock.Manual
	hierarchy *ca.Hierarchy
	key       *countingKey
	ctKey     crypto.Signer
	log       *tlog.Engine
	ct        *ctlog.Server
	records   *sqlstore.SQLite
	authority *ca.Authority
}

// countingKey counts the signatures of the authority's key.
type countingKey struct {
	crypto.Signer
	n atomic.Int64
}

func (k *countingKey) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	k.n.Add(1)
	return k.Signer.Sign(r, digest, o)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newStack(t testing.TB, change ...func(*stack, *ca.Config)) *stack {
	t.Helper()
	return newStackAt(t, clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)), change...)
}

func newStackAt(t testing.TB, at *clock.Manual, change ...func(*stack, *ca.Config)) *stack {
	t.Helper()
	s := &stack{clock: at}
	var err error
	if s.hierarchy, err = ca.NewHierarchy(s.clock, "test"); err != nil {
		t.Fatal(err)
	}
	if s.ctKey, err = keys.NewECDSA(); err != nil {
		t.Fatal(err)
	}
	s.log = logtest.New(t, func(c *tlog.Config) { c.LeafInput = certificate.LeafInput; c.Clock = s.clock })
	s.ct, err = ctlog.New(ctlog.Config{Log: s.log, Signer: s.ctKey, Roots: []*x509.Certificate{s.hierarchy.Root}, Clock: s.clock, Logger: discard()})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ca.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := migrations.ApplySQLite(t.Context(), db.Writer(), "ca"); err != nil {
		t.Fatal(err)
	}
	s.records = sqlstore.NewSQLite(db)
	s.key = &countingKey{Signer: s.hierarchy.IntermediateKey}
	cfg := ca.Config{
		Key: s.key, Chain: s.hierarchy.Chain(), SCTs: s.ct, SCTKey: s.ctKey.Public(),
		Records: s.records, Clock: s.clock, Logger: discard(),
	}
	for _, f := range change {
		f(s, &cfg)
	}
	if s.authority, err = ca.New(cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stack) all(t testing.TB) []ca.Record {
	t.Helper()
	r, err := s.records.Records(context.Background(), 0, 10000)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func emailToken(address string) *oidc.Token {
	return &oidc.Token{
		Issuer:    &oidc.Issuer{URL: "https://issuer.example.com", Type: oidc.TypeEmail, Audience: "sigstore"},
		IssuerURL: "https://issuer.example.com", Subject: "subject-1",
		Claims: map[string]any{"iss": "https://issuer.example.com", "sub": "subject-1", "aud": "sigstore", "email": address, "email_verified": true},
	}
}

func githubToken() *oidc.Token {
	const iss = "https://token.actions.githubusercontent.com"
	claims := map[string]any{"iss": iss, "sub": "repo:acme/app:ref:refs/heads/main", "aud": "sigstore"}
	for k, v := range map[string]string{
		"job_workflow_ref": "acme/app/.github/workflows/release.yml@refs/heads/main", "sha": "1234567890123456789012345678901234567890",
		"event_name": "push", "repository": "acme/app", "workflow": "release", "ref": "refs/heads/main",
		"job_workflow_sha": "abcdefabcdefabcdefabcdefabcdefabcdefabcd", "runner_environment": "github-hosted",
		"repository_id": "12345", "repository_owner": "acme", "repository_owner_id": "678", "repository_visibility": "private",
		"workflow_ref": "acme/app/.github/workflows/release.yml@refs/heads/main", "workflow_sha": "0000567890123456789012345678901234560000",
		"run_id": "42", "run_attempt": "1",
	} {
		claims[k] = v
	}
	return &oidc.Token{Issuer: &oidc.Issuer{URL: iss, Type: oidc.TypeGitHub, Audience: "sigstore"}, IssuerURL: iss, Subject: claims["sub"].(string), Claims: claims}
}

func identity(t testing.TB, tok *oidc.Token) profile.Identity {
	t.Helper()
	id, err := profile.FromToken(tok)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// prove makes a P-256 key and shows possession of it, as clients do.
func prove(t testing.TB, challenge string) ca.Key {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return proveWith(t, k, challenge)
}

func proveWith(t testing.TB, k crypto.Signer, challenge string) ca.Key {
	t.Helper()
	content, err := keys.PublicPEM(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(challenge))
	sig, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.KeyFromProof(content, sig, challenge)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (s *stack) issue(t testing.TB, tok *oidc.Token) []*x509.Certificate {
	t.Helper()
	id := identity(t, tok)
	chain, err := s.authority.Issue(t.Context(), id, prove(t, id.Challenge), ca.Grant{})
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

// source is an SCTSource made of a function.
type source func(ctx context.Context, chain [][]byte) ([]byte, error)

func (f source) AddPreChain(ctx context.Context, chain [][]byte) ([]byte, error) {
	return f(ctx, chain)
}

var errDown = fmt.Errorf("dial tcp: connection refused")
