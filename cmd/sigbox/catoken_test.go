package main

import (
	"crypto"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox/keys"
)

// tokenSite is a file of issuers with the pinned keys of one of them.
type tokenSite struct {
	dir  string
	key  crypto.Signer
	args []string // --issuers and --keys
}

const (
	ciURL   = "https://ci.example.com"
	mailURL = "https://mail.example.com"
)

var tokenTime = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func newTokenSite(t *testing.T) *tokenSite {
	t.Helper()
	key, err := keys.NewRSA()
	if err != nil {
		t.Fatal(err)
	}
	s := &tokenSite{dir: t.TempDir(), key: key}
	issuers, jwks := filepath.Join(s.dir, "issuers.yaml"), filepath.Join(s.dir, "jwks.json")
	writeText(t, issuers, `oidc-issuers:
  `+ciURL+`: {issuer-url: `+ciURL+`, client-id: sigstore, type: github-workflow}
  `+mailURL+`: {issuer-url: `+mailURL+`, client-id: sigstore, type: email}
`)
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	writeText(t, jwks, string(set))
	s.args = []string{"--issuers", issuers, "--keys", ciURL + "=" + jwks}
	return s
}

// token signs claims over the usual ones of a workflow; a nil claim is left out.
func (s *tokenSite) token(t *testing.T, over map[string]any) string {
	t.Helper()
	claims := map[string]any{
		"iss": ciURL, "aud": "sigstore", "sub": "repo:example/app:ref:refs/heads/main", "iat": tokenTime.Unix(), "exp": tokenTime.Unix() + 300,
		"event_name": "push", "sha": "0123", "workflow": "release", "repository": "example/app", "ref": "refs/heads/main",
		"job_workflow_ref": "example/app/.github/workflows/release.yml@refs/heads/main", "job_workflow_sha": "0123", "runner_environment": "self-hosted",
		"repository_id": "1", "repository_owner": "example", "repository_owner_id": "2", "workflow_ref": "example/app/.github/workflows/release.yml@refs/heads/main",
		"workflow_sha": "0123", "run_id": "7", "run_attempt": "1", "repository_visibility": "private",
	}
	for k, v := range over {
		claims[k] = v
		if v == nil {
			delete(claims, k)
		}
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: s.key, KeyID: "1"}}, nil)
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

// explain runs explain-token over a file, and fails where it prints a part of the token.
func (s *tokenSite) explain(t *testing.T, raw string, more ...string) (stdout, stderr string, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token.jwt")
	writeText(t, file, raw+"\n")
	stdout, stderr, code = run(t, append(append([]string{"ca", "explain-token", file, "--at", tokenTime.Format(time.RFC3339)}, s.args...), more...)...)
	for _, part := range strings.Split(raw, ".") {
		if len(part) > 20 && strings.Contains(stdout+stderr, part[:20]) {
			t.Errorf("a part of the token is printed:\n%s%s", stdout, stderr)
		}
	}
	return stdout, stderr, code
}

// line is one line of output with its columns one space apart.
func line(out, first string) string {
	for _, l := range strings.Split(out, "\n") {
		if f := strings.Join(strings.Fields(l), " "); strings.HasPrefix(f, first+" ") {
			return f
		}
	}
	return ""
}

// TestExplainToken has a row for each thing that can be said of a token.
func TestExplainToken(t *testing.T) {
	s := newTokenSite(t)
	other := newTokenSite(t)
	mail := map[string]any{"iss": mailURL, "email": "dev@example.com", "email_verified": true}
	for _, tc := range []struct {
		name, raw  string
		line, want string
		refused    string
	}{
		{"certified name", s.token(t, nil), "name", "pass https://github.com/example/app/.github/workflows/release.yml@refs/heads/main", ""},
		{"extensions", s.token(t, nil), "extension", "1.3.6.1.4.1.57264.1.1 (issuer) " + ciURL, ""},
		{"type", s.token(t, nil), "type", "github-workflow", ""},
		{"signature of a pinned key", s.token(t, nil), "signature", "pass verifies with a pinned key", ""},
		{"keys that are not pinned", s.token(t, mail), "signature", "not checked keys are not pinned", ""},
		{"a person", s.token(t, mail), "name", "pass dev@example.com", ""},
		{"another key", other.token(t, nil), "signature", "FAIL does not verify with the pinned keys", "signature"},
		{"expired", s.token(t, map[string]any{"exp": tokenTime.Unix() - 61}), "exp", "FAIL expired at 2026-03-04T05:05:06Z, 1m1s ago", "exp"},
		{"not yet valid", s.token(t, map[string]any{"nbf": tokenTime.Unix() + 90}), "nbf", "FAIL nbf lies in the future: 2026-03-04T05:07:37Z, 1m30s ahead, where 1m0s is taken", "nbf"},
		{"issued in the future", s.token(t, map[string]any{"iat": tokenTime.Unix() + 3600}), "iat", "FAIL iat lies in the future: 2026-03-04T06:06:07Z, 1h0m0s ahead, where 1m0s is taken", "iat"},
		{"another audience", s.token(t, map[string]any{"aud": "vault"}), "aud", `FAIL aud is "vault" and not exactly "sigstore"`, "aud"},
		{"issuer not configured", s.token(t, map[string]any{"iss": "https://x.example"}), "iss", `FAIL issuer "https://x.example" is not configured`, "iss"},
		{"issuer almost", s.token(t, map[string]any{"iss": ciURL + "/"}), "iss", `FAIL issuer "` + ciURL + `/" is not configured: "` + ciURL + `" is, and they are compared byte by byte`, "iss"},
		{"no subject", s.token(t, map[string]any{"sub": nil}), "sub", "FAIL sub is not a string of 1 to 1024 bytes", "sub"},
		{"a claim that is missing", s.token(t, map[string]any{"sha": nil}), "name", "FAIL claim sha is missing or empty", "name"},
		{"an address that is not verified", s.token(t, map[string]any{"iss": mailURL, "email": "dev@example.com"}), "name", "FAIL email_verified", "name"},
		{"two causes", s.token(t, map[string]any{"aud": "x", "exp": 1}), "aud", "FAIL", "aud, exp"},
		{"no token", "hello", "form", "FAIL token has 1 parts: want 3", "form"},
		{"too large", strings.Repeat("a", 70000), "form", "FAIL token has", "form"},
		{"nothing", "", "form", "FAIL token has 0 bytes", "form"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, stderr, code := s.explain(t, tc.raw)
			if got := line(out, tc.line); !strings.HasPrefix(got, tc.line+" "+tc.want) {
				t.Errorf("got %q, want %q\n%s%s", got, tc.want, out, stderr)
			}
			if tc.refused == "" && (code != 0 || !strings.Contains(out, "a certificate would be issued")) {
				t.Errorf("exit code %d\n%s%s", code, out, stderr)
			}
			if want := "the token would be refused: " + tc.refused + "\n"; tc.refused != "" && (code != 1 || !strings.HasSuffix(stderr, want) || strings.Contains(out, "would be issued")) {
				t.Errorf("exit code %d, want %q\n%s%s", code, want, out, stderr)
			}
		})
	}
}

// TestExplainTokenIsNotAnArgument: a token on the command line is refused, and not repeated.
func TestExplainTokenIsNotAnArgument(t *testing.T) {
	s := newTokenSite(t)
	raw := s.token(t, nil)
	_, stderr, code := run(t, append([]string{"ca", "explain-token", raw}, s.args...)...)
	if code != 1 || !strings.Contains(stderr, "looks like the token itself") || strings.Contains(stderr, raw[:20]) {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	cmd := sigbox(t, append([]string{"ca", "explain-token", "-", "--at", tokenTime.Format(time.RFC3339)}, s.args...)...)
	cmd.Stdin = strings.NewReader(raw)
	if out, stderr, code := finish(t, cmd); code != 0 || line(out, "name") == "" {
		t.Errorf("from standard input: exit code %d\n%s%s", code, out, stderr)
	}
}
