package profile

import (
	"crypto/x509/pkix"
	"fmt"

	"github.com/sigbox/sigbox/oidc"
)

// Identity is what a certificate will state, and what its holder must prove.
type Identity struct {
	// Challenge holds the bytes that the proof of possession signs: the e-mail address for email
	// issuers, else the token's subject.
	Challenge string
	// Issuer is the text of extensions .1 and .8: iss, or what issuer-claim points at.
	Issuer string
	// Subject is the token's sub, the text of extension .24.
	Subject string
	// SAN is the critical subjectAltName extension with exactly one name.
	SAN pkix.Extension
	// Extensions are the Sigstore extensions in Fulcio's order, .1 to .24, none critical.
	Extensions []pkix.Extension
	// SANText is the name in SAN as text, for records and log lines.
	SANText string
}

// names is what a mapping makes of a token.
type names struct {
	challenge  string // "" means the subject
	issuer     string // "" means the issuer URL
	email      string // exactly one of email, uri and other is set
	uri        string
	other      string            // otherName of OID .7
	extensions map[string]string // by oidc.ExtensionNames; empty values are left out
}

// mapping turns the claims of one identity type into names.
type mapping func(t *oidc.Token) (names, error)

// mappings is the table of identity types.
var mappings = map[oidc.Type]mapping{
	oidc.TypeEmail:      emailNames,
	oidc.TypeGitHub:     githubNames,
	oidc.TypeCIProvider: ciNames,
	oidc.TypeURI:        uriNames,
	oidc.TypeSPIFFE:     spiffeNames,
	oidc.TypeUsername:   usernameNames,
	oidc.TypeKubernetes: kubernetesNames,
	oidc.TypeChainguard: chainguardNames,
	oidc.TypeGitLab:     gitlabNames,
	oidc.TypeBuildkite:  buildkiteNames,
	oidc.TypeCodefresh:  codefreshNames,
}

// FromToken maps a verified token. The error is always an *oidc.TokenError.
func FromToken(t *oidc.Token) (Identity, error) {
	m, ok := mappings[TypeOf(t)]
	if !ok {
		return Identity{}, oidc.Refuse(oidc.ReasonIssuer, "identity type %q has no mapping", t.Issuer.Type)
	}
	if err := printable("sub", t.Subject); err != nil {
		return Identity{}, oidc.Refuse(oidc.ReasonSubject, "%w", err)
	}
	n, err := m(t)
	if err != nil {
		return Identity{}, err
	}
	if n.challenge == "" {
		n.challenge = t.Subject
	}
	if n.issuer == "" {
		n.issuer = t.IssuerURL
	}
	san, text, err := n.san()
	if err != nil {
		return Identity{}, err
	}
	exts, err := render(n.issuer, t.Subject, n.extensions)
	if err != nil {
		return Identity{}, fmt.Errorf("encode extensions: %w", err)
	}
	return Identity{Challenge: n.challenge, Issuer: n.issuer, Subject: t.Subject, SAN: san, Extensions: exts, SANText: text}, nil
}

// TypeOf returns the type that a token speaks. An issuer has one, but for the development issuer,
// whose tokens name a person or a workflow; the claim that only one of the types has decides.
func TypeOf(t *oidc.Token) oidc.Type {
	marks := map[oidc.Type]string{oidc.TypeEmail: "email", oidc.TypeGitHub: "job_workflow_ref"}
	for _, typ := range append([]oidc.Type{t.Issuer.Type}, t.Issuer.Alternatives...) {
		mark, marked := marks[typ]
		if _, has := t.Claims[mark]; len(t.Issuer.Alternatives) == 0 || !marked || has {
			return typ
		}
	}
	return t.Issuer.Type
}
