package rules

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"

	"cel.dev/cel-go/cel"

	"github.com/sigbox/sigbox/ca"
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
	issuers map[string]list
}

// list is the rules of an issuer.
type list struct {
	rules []rule
	grant ca.Grant // what goes on record where all of them allow
}

type rule struct {
	name, reason, source string
	allow                cel.Program
}

// granted is what goes on record of identities that these rules of an issuer let through. Its hash is of
// what counts, so that comments and the way of writing do not change it:
//
//	{"issuer":ISSUER,"rules":[{"name":NAME,"allow":EXPRESSION,"reason":REASON},...]}
func granted(issuer string, rules []rule) (ca.Grant, error) {
	type written struct {
		Name   string `json:"name"`
		Allow  string `json:"allow"`
		Reason string `json:"reason"`
	}
	all := struct {
		Issuer string    `json:"issuer"`
		Rules  []written `json:"rules"`
	}{Issuer: issuer}
	var g ca.Grant
	for _, r := range rules {
		all.Rules = append(all.Rules, written{r.name, r.source, r.reason})
		g.Rules = append(g.Rules, r.name)
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(all); err != nil {
		return g, fmt.Errorf("hash of the rules of %s: %w", issuer, err)
	}
	g.RulesSHA256 = sha256.Sum256(bytes.TrimSuffix(text.Bytes(), []byte("\n")))
	return g, nil
}

// Issuers returns what goes on record for each issuer that has rules.
func (s *Set) Issuers() map[string]ca.Grant {
	out := map[string]ca.Grant{}
	if s != nil {
		for issuer, l := range s.issuers {
			out[issuer] = l.grant
		}
	}
	return out
}

// Decide says whether the identity of a verified token may sign, and what goes on record then: nothing
// where its issuer has no rules. Else the error is a *DeniedError. Another error says that the token is of
// an issuer that the rules were not read for, so that they cannot decide.
func (s *Set) Decide(t *oidc.Token, id profile.Identity) (ca.Grant, error) {
	if s == nil {
		return ca.Grant{}, nil
	}
	if !s.known[t.Issuer.URL] {
		return ca.Grant{}, fmt.Errorf("the rules were read without issuer %s, and cannot decide", t.Issuer.URL)
	}
	own := s.issuers[t.Issuer.URL]
	if len(own.rules) == 0 {
		return ca.Grant{}, nil
	}
	facts := map[string]any{"claims": plain(t.Claims), "issuer": t.IssuerURL, "subject": t.Subject, "san": id.SANText}
	for _, r := range own.rules {
		if allowed, err := r.ask(facts); !allowed {
			return ca.Grant{}, &DeniedError{Issuer: t.Issuer.URL, Rule: r.name, Reason: r.reason, Err: err}
		}
	}
	return own.grant, nil
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
