package rules

import (
	"encoding/json"
	"fmt"
	"strconv"

	"cel.dev/cel-go/cel"

	"github.com/sigbox/sigbox/ca/profile"
	"github.com/sigbox/sigbox/oidc"
)

// DeniedError says that a rule does not allow an identity. Its text is for our log; Reason alone is for
// the caller.
type DeniedError struct {
	Issuer string // as the file writes it: an issuer or a pattern
	Rule   string // name of the rule that decided
	Reason string // the rule's; safe to show to the caller
	Err    error  // nil where the rule said no; else why it could not be evaluated
}

// Error names the rule.
func (e *DeniedError) Error() string {
	text := fmt.Sprintf("rule %q of issuer %s does not allow it", e.Rule, e.Issuer)
	if e.Err != nil {
		text += ": it could not be evaluated: " + e.Err.Error()
	}
	return text
}

// Unwrap returns why the rule could not be evaluated.
func (e *DeniedError) Unwrap() error { return e.Err }

// Set is the rules of all issuers. It is immutable, and safe for concurrent use. nil allows everybody.
type Set struct {
	known   map[string]bool // that the rules were read for
	issuers map[string][]rule
}

type rule struct {
	name, reason string
	allow        cel.Program
}

// Issuers returns how many rules each issuer has that has some.
func (s *Set) Issuers() map[string]int {
	out := map[string]int{}
	if s != nil {
		for issuer, list := range s.issuers {
			out[issuer] = len(list)
		}
	}
	return out
}

// Decide says whether the identity of a verified token may sign: nil, or a *DeniedError. Another error
// says that the token is of an issuer that the rules were not read for, so that they cannot decide.
func (s *Set) Decide(t *oidc.Token, id profile.Identity) error {
	if s == nil {
		return nil
	}
	if !s.known[t.Issuer.URL] {
		return fmt.Errorf("the rules were read without issuer %s, and cannot decide", t.Issuer.URL)
	}
	list := s.issuers[t.Issuer.URL]
	if len(list) == 0 {
		return nil
	}
	facts := map[string]any{"claims": plain(t.Claims), "issuer": t.IssuerURL, "subject": t.Subject, "san": id.SANText}
	for _, r := range list {
		if allowed, err := r.ask(facts); !allowed {
			return &DeniedError{Issuer: t.Issuer.URL, Rule: r.name, Reason: r.reason, Err: err}
		}
	}
	return nil
}

func (r rule) ask(facts map[string]any) (bool, error) {
	v, _, err := r.allow.Eval(facts)
	if err != nil {
		return false, err
	}
	allowed, ok := v.Value().(bool)
	if !ok { // compile has seen to it
		return false, fmt.Errorf("yields %s and not true or false", v.Type().TypeName())
	}
	return allowed, nil
}

// plain turns the claims' numbers into those of CEL. One that is out of range becomes its text, which
// equals no number.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = plain(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plain(e)
		}
		return out
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n
		}
		if f, err := strconv.ParseFloat(v.String(), 64); err == nil {
			return f
		}
		return v.String()
	}
	return v
}
