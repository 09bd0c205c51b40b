package oidc

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
)

// TestExplain has a row for each cause: what Explain says, and that Verify refuses for the same reason.
func TestExplain(t *testing.T) {
	i, k := newIssuer(t), testKeys()
	pinned, err := StaticKeys(k.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	good := i.token(t, nil)
	sig := good[strings.LastIndexByte(good, '.')+1:]
	for _, tc := range []struct {
		name, raw string
		check     string
		outcome   Outcome
		reason    Reason
		want      string
	}{
		{"good, signature", good, "signature", Passed, "", "verifies with a pinned key"},
		{"good, expiry", good, "exp", Passed, "", "in 10m0s"},
		{"issuer a little ahead", i.token(t, map[string]any{"iat": start.Unix() + 30}), "iat", Passed, "", "30s ahead, which is within the leeway"},
		{"no nbf", i.token(t, map[string]any{"nbf": nil}), "nbf", Passed, "", "not given"},
		{"no token at all", "Bearer", "form", Failed, ReasonMalformed, "1 parts"},
		{"header of another kind", signRaw(t, `{"alg":"none"}`, i.claims(nil)), "form", Failed, ReasonAlgorithm, `"none" is not accepted`},
		{"issuer with a slash", i.token(t, map[string]any{"iss": i.URL + "/"}), "iss", Failed, ReasonIssuer, "compared byte by byte"},
		{"issuer unknown", i.token(t, map[string]any{"iss": "https://other.example"}), "iss", Failed, ReasonIssuer, `"https://other.example" is not configured`},
		{"no subject", i.token(t, map[string]any{"sub": nil}), "sub", Failed, ReasonSubject, "1 to 1024 bytes"},
		{"audience", i.token(t, map[string]any{"aud": "kubernetes"}), "aud", Failed, ReasonAudience, `aud is "kubernetes" and not exactly "sigstore"`},
		{"two audiences", i.token(t, map[string]any{"aud": []string{"sigstore", "x"}}), "aud", Failed, ReasonAudience, "names 2 audiences"},
		{"expired", i.token(t, map[string]any{"exp": start.Unix() - 90}), "exp", Failed, ReasonExpired, "1m30s ago"},
		{"too long", i.token(t, map[string]any{"exp": start.Add(25 * time.Hour).Unix()}), "exp", Failed, ReasonTime, "25h0m0s ahead: at most 24h0m0s"},
		{"not yet", i.token(t, map[string]any{"nbf": start.Unix() + 120}), "nbf", Failed, ReasonNotYet, "2m0s ahead, where 1m0s is taken"},
		{"issued in the future", i.token(t, map[string]any{"iat": start.Unix() + 61}), "iat", Failed, ReasonNotYet, "1m1s ahead"},
		{"another key", sign(t, k.other, "RS256", map[string]any{"kid": "rsa"}, i.claims(nil)), "signature", Failed, ReasonSignature, "does not verify"},
		{"another kind of key", sign(t, k.p256, "ES256", map[string]any{"kid": "p256"}, i.claims(nil)), "signature", Failed, ReasonKey, "no usable key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := i.verifier(t, Options{Keys: map[string]KeySet{i.URL: pinned}})
			e := v.Explain(t.Context(), tc.raw)
			_, err := v.Verify(t.Context(), tc.raw)
			if got := reasonOf(err); err != nil && got != string(tc.reason) || (err == nil) != (len(e.Failed()) == 0) {
				t.Errorf("Verify says %v, Explain that %v fail", err, e.Failed())
			}
			found := false
			for _, c := range e.Checks {
				if strings.Contains(c.Detail, sig) || len(c.Detail) > 400 {
					t.Errorf("a text holds the token, or too much of it: %.500q", c.Detail)
				}
				if c.Name == tc.check {
					found = true
					if c.Outcome != tc.outcome || c.Reason != tc.reason || !strings.Contains(c.Detail, tc.want) {
						t.Errorf("got %+v, want %s with %q", c, tc.outcome, tc.want)
					}
				} else if c.Outcome == Failed {
					t.Errorf("fails too: %+v", c)
				}
			}
			if !found {
				t.Errorf("no check %s in %+v", tc.check, e.Checks)
			}
		})
	}
	if n := i.asked.Load(); n != 0 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// TestExplainGoesOn: one look shows everything that is wrong, and what cannot be known offline.
func TestExplainGoesOn(t *testing.T) {
	i := newIssuer(t)
	e := i.verifier(t, Options{Clock: clock.NewManual(start)}).Explain(t.Context(), i.token(t, map[string]any{"aud": "x", "exp": start.Unix() - 1, "iat": "now"}))
	if got := strings.Join(e.Failed(), " "); got != "aud exp iat" {
		t.Errorf("failed: %s", got)
	}
	if last := e.Checks[len(e.Checks)-1]; last.Name != "signature" || last.Outcome != NotChecked || last.Detail != "keys are not pinned" {
		t.Errorf("%+v", last)
	}
	if e.Unverified == nil || e.Unverified.Subject != "somebody" || i.asked.Load() != 0 {
		t.Errorf("%+v, asked %d", e.Unverified, i.asked.Load())
	}
}

// TestNote: a check that has any error has failed.
func TestNote(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want Check
	}{
		{"none", nil, Check{Name: "x", Outcome: Passed, Detail: "good"}},
		{"a refusal", fmt.Errorf("more: %w", Refuse(ReasonKey, "bad")), Check{Name: "x", Outcome: Failed, Detail: "bad", Reason: ReasonKey}},
		{"another error", errors.New("bad"), Check{Name: "x", Outcome: Failed, Detail: "bad"}},
	} {
		e := &Explanation{}
		if ok := e.note("x", "good", tc.err); ok != (tc.err == nil) || len(e.Checks) != 1 || e.Checks[0] != tc.want {
			t.Errorf("%s: %v %+v, want %+v", tc.name, ok, e.Checks, tc.want)
		}
	}
}
