package stack

import (
	"context"
	"errors"
	"slices"

	"github.com/sigbox/sigbox/ca/profile"
	"github.com/sigbox/sigbox/ca/rules"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/oidc"
)

// TokenReport is what an authority would do with a token.
type TokenReport struct {
	*oidc.Explanation
	Type     oidc.Type         // how the claims become names; "" where the issuer is not known
	Identity *profile.Identity // what a certificate would state; nil where it would state nothing
	Unfit    error             // why Identity is nil
	Rules    int               // how many the issuer has
	Denied   *rules.DeniedError
}

// Refused returns why no certificate would be issued: the names of checks, none where one would be.
func (r *TokenReport) Refused() []string {
	why := r.Failed()
	if r.Unfit != nil {
		why = append(why, "name")
	}
	if r.Denied != nil {
		why = append(why, "rules")
	}
	return why
}

// ExplainToken says what the authority of a configuration would do with a token at a time. It reads
// the files of ca.issuers, ca.issuer_keys and ca.rules, no private key, and asks nobody.
func ExplainToken(ctx context.Context, cfg *config.Config, raw string, at clock.Clock) (*TokenReport, error) {
	known, err := Issuers(cfg)
	if err != nil {
		return nil, err
	}
	keys, err := pinnedKeys(cfg.CA.IssuerKeys)
	if err != nil {
		return nil, err
	}
	r := &TokenReport{Explanation: oidc.NewVerifier(known, oidc.Options{Clock: at, Keys: keys.sets}).Explain(ctx, raw)}
	if r.Unverified == nil {
		return r, nil
	}
	r.Type = profile.TypeOf(r.Unverified)
	if slices.Contains(r.Failed(), "sub") {
		return r, nil // it names nobody
	}
	id, err := profile.FromToken(r.Unverified)
	if err != nil {
		r.Unfit = err
		return r, nil
	}
	r.Identity = &id
	set, err := readRules(cfg.CA, known)
	if err != nil {
		return nil, err
	}
	r.Rules = len(set.Issuers()[r.Unverified.Issuer.URL].Rules)
	_, err = set.Decide(r.Unverified, id)
	errors.As(err, &r.Denied)
	return r, nil
}
