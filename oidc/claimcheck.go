package oidc

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// claimCheck is one thing that a token's claims are held to and that needs no key.
type claimCheck struct {
	name string
	hold func(v *Verifier, c claimsAt) error
	met  func(v *Verifier, c claimsAt) string // by how much, where hold finds nothing; for Explain
}

// claimsAt is what checks look at.
type claimsAt struct {
	claims map[string]any
	issuer *Issuer
	now    time.Time
}

// claimChecks are made in this order.
func claimChecks() []claimCheck {
	return []claimCheck{
		{"sub", (*Verifier).checkSubject, func(_ *Verifier, c claimsAt) string { return fmt.Sprintf("%d bytes", len(c.claims["sub"].(string))) }},
		{"aud", (*Verifier).checkAudience, func(_ *Verifier, c claimsAt) string { return fmt.Sprintf("is %q", c.issuer.Audience) }},
		{"exp", (*Verifier).checkExpiry, func(_ *Verifier, c claimsAt) string {
			exp, _ := numericDate(c.claims["exp"])
			return fmt.Sprintf("%s, in %s", stamp(exp), exp.Sub(c.now).Round(time.Second))
		}},
		{"nbf", func(v *Verifier, c claimsAt) error { return v.checkBegun("nbf", c) }, func(_ *Verifier, c claimsAt) string { return since("nbf", c) }},
		{"iat", (*Verifier).checkIssued, func(_ *Verifier, c claimsAt) string { return since("iat", c) }},
	}
}

// checkClaims applies every rule that needs no key, so that a token that must be refused anyway
// causes no outbound call.
func (v *Verifier) checkClaims(claims map[string]any, issuer *Issuer, now time.Time) error {
	for _, check := range claimChecks() {
		if err := check.hold(v, claimsAt{claims, issuer, now}); err != nil {
			return err
		}
	}
	return nil
}

func (v *Verifier) checkSubject(c claimsAt) error {
	if sub, ok := c.claims["sub"].(string); !ok || sub == "" || len(sub) > MaxClaimBytes {
		return Refuse(ReasonSubject, "sub is not a string of 1 to %d bytes", MaxClaimBytes)
	}
	return nil
}

func (v *Verifier) checkAudience(c claimsAt) error {
	aud := c.claims["aud"]
	if list, ok := aud.([]any); ok && len(list) == 1 { // several audiences could replay it elsewhere
		aud = list[0]
	}
	s, ok := aud.(string)
	switch list, several := aud.([]any); {
	case ok && s == c.issuer.Audience:
		return nil
	case ok:
		return Refuse(ReasonAudience, "aud is %q and not exactly %q", clip(s), c.issuer.Audience)
	case several && len(list) > 1:
		return Refuse(ReasonAudience, "aud names %d audiences: want exactly %q", len(list), c.issuer.Audience)
	}
	return Refuse(ReasonAudience, "aud is missing or no text: want exactly %q", c.issuer.Audience)
}

func (v *Verifier) checkExpiry(c claimsAt) error {
	exp, ok := numericDate(c.claims["exp"])
	switch {
	case !ok:
		return Refuse(ReasonTime, "exp is missing or not a plain number of seconds")
	case exp.Before(c.now):
		return Refuse(ReasonExpired, "expired at %s, %s ago", stamp(exp), ago(c.now, exp))
	case exp.Sub(c.now) > v.opts.MaxLifetime:
		return Refuse(ReasonTime, "exp lies %s ahead: at most %s is taken", ago(exp, c.now), v.opts.MaxLifetime)
	}
	return nil
}

// checkBegun refuses a time that lies ahead by more than the leeway.
func (v *Verifier) checkBegun(name string, c claimsAt) error {
	claim, given := c.claims[name]
	if !given {
		return nil
	}
	t, ok := numericDate(claim)
	if !ok {
		return Refuse(ReasonTime, "%s is not a plain number of seconds", name)
	}
	if t.Sub(c.now) > v.opts.Leeway {
		return Refuse(ReasonNotYet, "%s lies in the future: %s, %s ahead, where %s is taken", name, stamp(t), ago(t, c.now), v.opts.Leeway)
	}
	return nil
}

func (v *Verifier) checkIssued(c claimsAt) error {
	if err := v.checkBegun("iat", c); err != nil || v.opts.MaxAge == 0 {
		return err
	}
	if iat, ok := numericDate(c.claims["iat"]); !ok || c.now.Sub(iat) > v.opts.MaxAge {
		return Refuse(ReasonTime, "iat is missing or older than %s", v.opts.MaxAge)
	}
	return nil
}

func since(name string, c claimsAt) string {
	t, ok := numericDate(c.claims[name])
	switch {
	case !ok:
		return "not given, and not needed"
	case t.After(c.now):
		return fmt.Sprintf("%s, %s ahead, which is within the leeway", stamp(t), ago(t, c.now))
	}
	return fmt.Sprintf("%s, %s ago", stamp(t), ago(c.now, t))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// ago is how much later a is than b, never rounded to nothing.
func ago(a, b time.Time) time.Duration {
	if d := a.Sub(b); d < time.Second {
		return d
	}
	return a.Sub(b).Round(time.Second)
}

// numericDate reads a NumericDate (RFC 7519 section 2): seconds between 1970 and 9999, fractions
// cut off.
func numericDate(v any) (time.Time, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || f < 0 || f > 253402300799 {
		return time.Time{}, false
	}
	return time.Unix(int64(f), 0).UTC(), true
}
