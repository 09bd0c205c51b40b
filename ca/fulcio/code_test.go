package fulcio

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/rules"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/oidc"
)

// TestCodeOf: each cause has a word of its own, wherever it is wrapped. The words are an interface: one that
// changes breaks somebody's program.
func TestCodeOf(t *testing.T) {
	seen := map[string]bool{}
	for want, err := range map[string]error{
		"token_expired": oidc.Refuse(oidc.ReasonExpired, "x"), "token_issuer": oidc.Refuse(oidc.ReasonIssuer, "x"), "token_audience": oidc.Refuse(oidc.ReasonAudience, "x"),
		"token_signature": oidc.Refuse(oidc.ReasonSignature, "x"), "token_email_unverified": oidc.Refuse(oidc.ReasonUnverified, "x"), "token_claim": oidc.Refuse(oidc.ReasonClaim, "x"),
		"token_unavailable": &oidc.TokenError{Reason: oidc.ReasonUnavailable, Err: oidc.ErrUnavailable},
		"not_allowed":       &rules.DeniedError{}, "quota": &quota.ExceededError{}, "algorithm": &ca.AlgorithmError{}, "both_keys": errBothKeys, "identity": ca.ErrIdentity,
		"key": ca.ErrPublicKey, "key_insecure": ca.ErrInsecureKey, "csr": ca.ErrCSR, "possession": ca.ErrPossession,
		"ct_log_ended": ca.ErrLogEnded, "ct_log": ca.ErrTransparency, "clock": ca.ErrClock, "ca_expired": ca.ErrNotValid, "record": ca.ErrRecord,
		"internal": errors.New("x"),
	} {
		if got := codeOf(fmt.Errorf("doing something: %w", err)); got != want || seen[got] {
			t.Errorf("%v is %q, want %q, for nothing else", err, got, want)
		}
		seen[want] = true
	}
	if got := codeOf(fmt.Errorf("%w: %w", ca.ErrTransparency, ca.ErrLogEnded)); got != "ct_log_ended" {
		t.Errorf("a log that has ended is %q", got)
	}
}
