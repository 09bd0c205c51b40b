package oidc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Outcome of a Check.
type Outcome string

// The outcomes.
const (
	Passed     Outcome = "pass"
	Failed     Outcome = "FAIL"
	NotChecked Outcome = "not checked"
)

// Check is one thing that a token was held to.
type Check struct {
	Name    string // form, iss, sub, aud, exp, nbf, iat, alg or signature
	Outcome Outcome
	Detail  string // by how much it passes or fails, or why it was not checked
	Reason  Reason // where it failed
}

// Explanation is what a Verifier makes of a token without asking anybody.
type Explanation struct {
	Checks []Check
	// Unverified holds the claims of the token, believed or not; nil where they cannot be read or the
	// issuer is not configured. It is for showing what would follow from them, never for issuing.
	Unverified *Token
}

// Failed returns the names of the checks that failed.
func (e *Explanation) Failed() (names []string) {
	for _, c := range e.Checks {
		if c.Outcome == Failed {
			names = append(names, c.Name)
		}
	}
	return names
}

// Explain holds a raw token to every check of [Verifier.Verify], and goes on after one that fails.
// Nothing is fetched: the signature is checked where the issuer's keys are in [Options]. Nothing of
// what it returns holds the token or its signature.
func (v *Verifier) Explain(ctx context.Context, raw string) *Explanation {
	e := &Explanation{}
	alg, _, claims, err := dissect(raw)
	if !e.note("form", "three parts, each canonical; header and payload are unambiguous", err) {
		return e
	}
	e.Unverified, err = v.cfg.unverified(claims)
	if err != nil {
		e.note("iss", "", err)
		return e
	}
	issuer := e.Unverified.Issuer
	e.note("iss", matched(issuer, e.Unverified.IssuerURL), nil)
	at := claimsAt{claims, issuer, v.opts.Clock.Now()}
	for _, check := range claimChecks() {
		if err := check.hold(v, at); err != nil {
			e.note(check.name, "", err)
		} else {
			e.note(check.name, check.met(v, at), nil)
		}
	}
	v.explainSignature(ctx, e, raw, alg)
	return e
}

func (v *Verifier) explainSignature(ctx context.Context, e *Explanation, raw, alg string) {
	keys, pinned := v.opts.Keys[e.Unverified.IssuerURL]
	if !pinned {
		e.Checks = append(e.Checks,
			Check{Name: "alg", Outcome: NotChecked, Detail: alg + " is one that is taken where the issuer advertises it: keys are not pinned"},
			Check{Name: "signature", Outcome: NotChecked, Detail: "keys are not pinned"})
		return
	}
	e.note("alg", alg, nil)
	_, err := keys.VerifySignature(ctx, raw)
	switch {
	case err == nil:
		e.note("signature", "verifies with a pinned key", nil)
	case errors.Is(err, errNoKey):
		e.note("signature", "", Refuse(ReasonKey, "%w", err))
	default:
		e.note("signature", "", Refuse(ReasonSignature, "does not verify with the pinned keys"))
	}
}

// note adds a check and says whether it passed.
func (e *Explanation) note(name, detail string, err error) bool {
	c := Check{Name: name, Outcome: Passed, Detail: detail}
	var refused *TokenError
	switch {
	case errors.As(err, &refused):
		c = Check{Name: name, Outcome: Failed, Detail: refused.Err.Error(), Reason: refused.Reason}
	case err != nil:
		c = Check{Name: name, Outcome: Failed, Detail: err.Error()}
	}
	e.Checks = append(e.Checks, c)
	return err == nil
}

func matched(i *Issuer, url string) string {
	if i.Meta {
		return fmt.Sprintf("%q matches the pattern %q", clip(url), i.URL)
	}
	return fmt.Sprintf("%q is configured", clip(url))
}

// Unverified returns a token with the claims of a payload (a JSON object), as if it had been
// verified: to try out what would follow from them, never for issuing. The error is a *TokenError.
func (c *Config) Unverified(payload []byte) (*Token, error) {
	claims, err := decodeObject(payload)
	if err != nil {
		return nil, Refuse(ReasonMalformed, "payload: %w", err)
	}
	t, err := c.unverified(claims)
	if err == nil {
		err = (*Verifier)(nil).checkSubject(claimsAt{claims: claims})
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (c *Config) unverified(claims map[string]any) (*Token, error) {
	iss, ok := claims["iss"].(string)
	if !ok {
		return nil, Refuse(ReasonIssuer, "iss is missing or not a string")
	}
	issuer := c.find(iss)
	if issuer == nil {
		return nil, Refuse(ReasonIssuer, "issuer %q is not configured%s", clip(iss), c.near(iss))
	}
	sub, _ := claims["sub"].(string)
	return &Token{Issuer: issuer, IssuerURL: iss, Subject: sub, Claims: claims}, nil
}

// near names the issuer that differs from iss only in what people get wrong: a slash at the end,
// capitals, the scheme. Issuers are compared byte by byte.
func (c *Config) near(iss string) string {
	plain := func(s string) string {
		s = strings.TrimRight(strings.ToLower(s), "/")
		return strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
	}
	n := slices.IndexFunc(c.Issuers, func(i *Issuer) bool { return !i.Meta && plain(i.URL) == plain(iss) })
	if n < 0 {
		return ""
	}
	return fmt.Sprintf(": %q is, and they are compared byte by byte", c.Issuers[n].URL)
}
