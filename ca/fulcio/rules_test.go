package fulcio_test

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/fulcio"
	"github.com/sigbox/sigbox/ca/profile"
	"github.com/sigbox/sigbox/ca/rules"
	"github.com/sigbox/sigbox/ca/storetest"
	"github.com/sigbox/sigbox/oidc"
)

// TestRules: a denied identity gets no certificate and leaves no record; the caller reads the reason,
// the log the rule. The record of one that is allowed names the rules that allowed it, where there are some.
func TestRules(t *testing.T) {
	var set *rules.Set
	s := newStack(t, func(s *stack, _ *ca.Config) {
		known := &oidc.Config{}
		for _, i := range []oidc.Issuer{{URL: emailIssuer, Audience: "sigstore", Type: oidc.TypeEmail}, {URL: ciIssuer, Audience: "sigstore", Type: oidc.TypeGitHub}} {
			if err := known.Add(i); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		set, err = rules.Parse("rules.yaml", []byte(emailIssuer+`:
  - {name: staff only, allow: 'san.endsWith("@example.com")', reason: ask the platform team}
  - {name: verified, allow: claims.email_verified == true, reason: verify your address}
`), known)
		if err != nil {
			t.Fatal(err)
		}
		s.rules = set
	})
	for _, tc := range []struct {
		name, token string
		status      int
		want        string
		logged      string
		recorded    ca.Grant
	}{
		{"allowed", s.token(t, map[string]any{"email": "dev@example.com"}), http.StatusOK, "signedCertificateEmbeddedSct", "", ca.Grant{RulesSHA256: set.Issuers()[emailIssuer].RulesSHA256, Rules: []string{"staff only", "verified"}}},
		{"denied", s.token(t, map[string]any{"email": "dev@example.org"}), http.StatusForbidden, `{"code":7,"details":[],"message":"This identity is not allowed to sign here: ask the platform team"}`, `"rule":"staff only"`, ca.Grant{}},
		{"issuer without rules", s.ciToken(t), http.StatusOK, "signedCertificateEmbeddedSct", "", ca.Grant{}},
	} {
		k := newKeyPair(t)
		s.logged.take()
		records, _ := s.traces(t)
		got := s.do(t, http.MethodPost, "/api/v2/signingCert", nil, text(t, object{"credentials": object{"oidcIdentityToken": tc.token}, "certificateSigningRequest": k.csr(t)}))
		if got.status != tc.status || !strings.Contains(got.body, tc.want) {
			t.Errorf("%s: %d %s", tc.name, got.status, got.body)
		}
		if log := s.logged.take(); tc.logged != "" && (!strings.Contains(log, tc.logged) || strings.Contains(got.body, "staff only")) {
			t.Errorf("%s: log %s", tc.name, log)
		}
		if after, _ := s.traces(t); (after > records) != (tc.status == http.StatusOK) {
			t.Errorf("%s: records %d to %d", tc.name, records, after)
		}
		if all := storetest.All(t, s.records); tc.status == http.StatusOK && !reflect.DeepEqual(all[len(all)-1].Grant, tc.recorded) {
			t.Errorf("%s: on record %+v, want %+v", tc.name, all[len(all)-1].Grant, tc.recorded)
		}
	}
}

// decided is a rule for everybody.
type decided struct{ err error }

func (d decided) Decide(*oidc.Token, profile.Identity) (ca.Grant, error) { return ca.Grant{}, d.err }

// verifying is a verifier that does something first.
type verifying struct {
	fulcio.Verifier
	first func()
}

func (v verifying) Verify(ctx context.Context, raw string) (*oidc.Token, error) {
	v.first()
	return v.Verifier.Verify(ctx, raw)
}

// TestRulesOfARequest: what is taken over while a token is verified does not decide it.
func TestRulesOfARequest(t *testing.T) {
	denied := decided{&rules.DeniedError{Issuer: emailIssuer, Rule: "nobody", Reason: "ask us"}}
	for _, tc := range []struct {
		name          string
		before, after fulcio.Rules
		status        int
	}{
		{"rules that went", denied, nil, http.StatusForbidden},
		{"rules that came", nil, denied, http.StatusOK},
	} {
		now := tc.before
		s := newStack(t, func(s *stack, _ *ca.Config) {
			s.trust = func(v fulcio.Verifier) fulcio.Trust {
				return fulcio.Trust{Verifier: verifying{v, func() { now = tc.after }}, Rules: now}
			}
		})
		body := text(t, object{"credentials": object{"oidcIdentityToken": s.token(t, map[string]any{"email": "dev@example.com"})}, "certificateSigningRequest": newKeyPair(t).csr(t)})
		if got := s.do(t, http.MethodPost, "/api/v2/signingCert", nil, body); got.status != tc.status {
			t.Errorf("%s: %d %s", tc.name, got.status, got.body)
		}
	}
}
