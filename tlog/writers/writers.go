package writers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
)

// Rule says who may write: whoever it names in one way or another.
type Rule struct {
	Certificates bool     // everybody with a certificate of the authorities
	Issuers      []string // those with a certificate of the authorities whose identity is of one of these OpenID Connect issuers
	Keys         []string // bare public keys, by the hex SHA-256 of their canonical form: see [entry.Verifier]
}

// Policy is a rule with the authorities whose certificates are believed. It is never changed.
type Policy struct {
	authorities *authorities
	rule        *Rule // nil: everybody may write
	keys        map[string]bool
}

// NewPolicy returns a policy. Each chain of the authorities has the issuing certificate first and the
// self-signed root last. A nil rule lets everybody write; certificates of the authorities then only tell
// who it is.
func NewPolicy(chains Chains, rule *Rule) (*Policy, error) {
	p := &Policy{rule: rule, keys: map[string]bool{}}
	var err error
	if p.authorities, err = newAuthorities(chains); err != nil {
		return nil, err
	}
	if rule == nil {
		return p, nil
	}
	if (rule.Certificates || len(rule.Issuers) > 0) && len(chains) == 0 {
		return nil, fmt.Errorf("writers: certificates may write, and there is no authority to issue them")
	}
	for _, k := range rule.Keys {
		p.keys[k] = true
	}
	return p, nil
}

// RefusedError says why an entry's writer may not write. Its text is for the client.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "this log does not take the entry: " + e.Reason }

func refused(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }

// Open says that everybody may write.
func (p *Policy) Open() bool { return p.rule == nil }

// Admit says who has written an entry, or with a [*RefusedError] that he may not, at a time. Who has
// written it is for quotas.
func (p *Policy) Admit(e tlog.Entry, at time.Time) (quota.Identity, error) {
	verifiers, err := verifiersOf(e)
	if err != nil {
		if p.Open() {
			return quota.Identity{}, nil
		}
		return quota.Identity{}, refused("%v, and it takes entries of some writers only", err)
	}
	var who quota.Identity
	var names []string
	for _, v := range verifiers {
		one, reason := p.identify(v, at)
		if reason != "" && !p.Open() {
			return quota.Identity{}, refused("%s", reason)
		}
		names = append(names, one.Name)
		who.Vouched, who.Issuer = one.Vouched, one.Issuer
	}
	// Several signers are one writer of their own: whoever adds his signature to what another one has
	// signed, and published, does not write at the other one's cost.
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > 1 {
		who.Vouched, who.Issuer = false, ""
	}
	who.Name = strings.Join(names, "\x00\x00")
	return who, nil
}

func verifiersOf(e tlog.Entry) ([]entry.Verifier, error) {
	signed, ok := e.(entry.Signed)
	if !ok {
		return nil, fmt.Errorf("it does not tell who has signed it")
	}
	list, err := signed.Verifiers()
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("it is signed by nobody")
	}
	return list, err
}

// identify says who is behind a key or certificate, and why that one may not write, "" if it may.
func (p *Policy) identify(v entry.Verifier, at time.Time) (who quota.Identity, reason string) {
	who.Name = "key\x00" + v.Fingerprint
	if v.Certificate == nil {
		if p.keys[v.Fingerprint] {
			who.Vouched = true
			return who, ""
		}
		return who, p.whyNoKey(v.Fingerprint)
	}
	issuer, reason := p.authorities.verify(v.Certificate, at)
	if reason == "" {
		who = quota.Identity{Name: "identity\x00" + issuer + "\x00" + strings.Join(v.Subjects, "\x00"), Issuer: issuer, Vouched: true}
	}
	switch {
	case p.Open() || p.rule.Certificates:
		return who, reason
	case len(p.rule.Issuers) == 0:
		return who, "it takes entries of listed keys only, not of certificates"
	case reason == "" && !slices.Contains(p.rule.Issuers, issuer):
		return who, fmt.Sprintf("it takes none of identities of the issuer %.200q", issuer)
	}
	return who, reason
}

func (p *Policy) whyNoKey(fingerprint string) string {
	switch {
	case p.Open():
		return ""
	case len(p.keys) == 0:
		return "it takes entries with certificates of its authority only, not with bare public keys"
	}
	return "the public key with the fingerprint " + fingerprint + " is not one of those that may write"
}
