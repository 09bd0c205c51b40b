package oidc

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Type says how an issuer's claims become a certificate's names; ca/profile holds the mapping.
type Type string

// The identity types of Fulcio's configuration format.
const (
	TypeEmail      Type = "email"
	TypeGitHub     Type = "github-workflow"
	TypeCIProvider Type = "ci-provider"
	TypeURI        Type = "uri"
	TypeSPIFFE     Type = "spiffe"
	TypeUsername   Type = "username"
	TypeKubernetes Type = "kubernetes"
	TypeChainguard Type = "chainguard-identity"
	TypeGitLab     Type = "gitlab-pipeline"
	TypeBuildkite  Type = "buildkite-job"
	TypeCodefresh  Type = "codefresh-workflow"
)

// Types returns every type that a configuration may name, in the order the documentation lists them.
func Types() []Type {
	return []Type{TypeEmail, TypeGitHub, TypeCIProvider, TypeURI, TypeSPIFFE, TypeUsername,
		TypeKubernetes, TypeChainguard, TypeGitLab, TypeBuildkite, TypeCodefresh}
}

// Issuer is one configured issuer or, where Meta is set, one pattern of issuers.
type Issuer struct {
	URL                   string    // exact issuer URL, or the pattern
	Meta                  bool      // URL is a pattern: each * stands for one or more of [-_a-zA-Z0-9]
	Audience              string    // client-id: what aud must be
	Type                  Type      // mapping of claims to names
	Provider              *Provider // for ci-provider
	IssuerClaim           []string  // path of the claim that names the issuer in certificates (email only)
	SubjectDomain         string    // for uri and username
	SPIFFETrustDomain     string    // for spiffe
	ChallengeClaim        string    // reported to clients; what is verified follows from Type
	Description, Contact  string
	CACert                string // PEM roots for the issuer's TLS, besides the system's
	SkipEmailVerification bool   // accept email without email_verified

	// Alternatives are further types that the same issuer may speak, chosen by the claims a token
	// holds. No configuration file can ask for it: it is for the development issuer.
	Alternatives []Type

	pattern *regexp.Regexp
}

// Provider is one entry of ci-issuer-metadata.
type Provider struct {
	Name              string
	Defaults          map[string]string    // values for names that the token has no claim for
	ClaimsMayOverride map[string]bool      // defaults that a claim of the same name replaces (our extension)
	Extensions        map[string]*Template // by ExtensionNames
	SAN               *Template
}

// Config is the set of issuers that are trusted. It is immutable once a Verifier uses it.
type Config struct {
	Issuers   []*Issuer // in file order; exact issuers come before patterns
	Providers map[string]*Provider
}

// PublicIssuer is what clients may know of an issuer (Fulcio's GET /api/v2/configuration). Exactly
// one of IssuerURL and WildcardIssuerURL is set.
type PublicIssuer struct {
	IssuerURL, WildcardIssuerURL string
	Audience                     string
	ChallengeClaim               string
	SPIFFETrustDomain            string
	IssuerType                   string
	SubjectDomain                string
	SkipEmailVerification        bool
}

// PublicConfiguration lists the issuers in configuration order.
func (c *Config) PublicConfiguration() []PublicIssuer {
	out := make([]PublicIssuer, 0, len(c.Issuers))
	for _, i := range c.Issuers {
		p := PublicIssuer{Audience: i.Audience, ChallengeClaim: i.challengeClaim(), SPIFFETrustDomain: i.SPIFFETrustDomain,
			IssuerType: string(i.Type), SubjectDomain: i.SubjectDomain, SkipEmailVerification: i.SkipEmailVerification}
		if i.Meta {
			p.WildcardIssuerURL = i.URL
		} else {
			p.IssuerURL = i.URL
		}
		out = append(out, p)
	}
	return out
}

func (i *Issuer) challengeClaim() string {
	switch {
	case i.ChallengeClaim != "":
		return i.ChallengeClaim
	case i.Type == TypeEmail:
		return "email"
	}
	return "sub"
}

// Add appends an issuer that the program knows of itself. It applies the checks of a configuration
// file and refuses a URL that is there already.
func (c *Config) Add(i Issuer) error {
	if problems := i.check(); len(problems) > 0 {
		return fmt.Errorf("issuer %q: %s", clip(i.URL), strings.Join(problems, "; "))
	}
	for _, have := range c.Issuers {
		if have.URL == i.URL {
			return fmt.Errorf("issuer %q is configured twice", clip(i.URL))
		}
	}
	if i.Meta {
		i.pattern = compilePattern(i.URL)
		c.Issuers = append(c.Issuers, &i)
		return nil
	}
	n := 0 // exact issuers come first: find is one loop
	for n < len(c.Issuers) && !c.Issuers[n].Meta {
		n++
	}
	c.Issuers = append(c.Issuers[:n:n], append([]*Issuer{&i}, c.Issuers[n:]...)...)
	return nil
}

// find returns the issuer that iss belongs to, nil for none: an exact one if there is one, else the
// first pattern in file order that matches. A pattern never matches what is not a plain URL.
func (c *Config) find(iss string) *Issuer {
	if len(iss) > maxIssuerBytes {
		return nil
	}
	for _, i := range c.Issuers {
		if !i.Meta && i.URL == iss {
			return i
		}
		if i.Meta && i.pattern.MatchString(iss) && plainURL(iss) {
			return i
		}
	}
	return nil
}

// compilePattern anchors the pattern at both ends (GHSA-59jp-pj84-45mr); RE2 keeps it linear.
func compilePattern(meta string) *regexp.Regexp {
	return regexp.MustCompile(`\A` + strings.ReplaceAll(regexp.QuoteMeta(meta), `\*`, `[-_a-zA-Z0-9]+`) + `\z`)
}

// plainURL says whether s is scheme, host and path only, and written the way Go writes it.
func plainURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil &&
		u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && !strings.Contains(s, "#") && u.String() == s
}
