package profile

import (
	"net/url"
	"strings"

	"github.com/sigbox/sigbox/oidc"
)

// ciNames is type ci-provider: everything from the provider's templates.
func ciNames(t *oidc.Token) (names, error) {
	p := t.Issuer.Provider
	if p == nil || p.SAN == nil {
		return names{}, oidc.Refuse(oidc.ReasonIssuer, "issuer %q has no templates", clip(t.IssuerURL))
	}
	data, err := templateData(t, p)
	if err != nil {
		return names{}, err
	}
	for _, name := range p.SAN.Names() {
		if data[name] == "" {
			return names{}, oidc.Refuse(oidc.ReasonClaim, "claim %s, which the name is made of, is missing or empty", clip(name))
		}
	}
	san, err := p.SAN.Render(data)
	if err != nil {
		return names{}, oidc.Refuse(oidc.ReasonClaim, "subject-alternative-name-template: %w", err)
	}
	uri, err := normal(san, p.SAN.Prefix(fixed(p)))
	if err != nil {
		return names{}, err
	}
	exts := map[string]string{}
	for name, tmpl := range p.Extensions {
		if exts[name], err = tmpl.Render(data); err != nil {
			return names{}, oidc.Refuse(oidc.ReasonClaim, "extension template %s: %w", name, err)
		}
	}
	return names{uri: uri, extensions: exts}, nil
}

// templateData gathers what the templates may look up: the token's claims over the defaults. A claim
// that would replace a default with a value of its own is a reason to refuse: the default is what
// the operator decided, and a certificate that silently uses either would mislead somebody.
func templateData(t *oidc.Token, p *oidc.Provider) (map[string]string, error) {
	data := map[string]string{}
	for name, v := range p.Defaults {
		data[name] = v
	}
	used := p.SAN.Names()
	for _, tmpl := range p.Extensions {
		used = append(used[:len(used):len(used)], tmpl.Names()...)
	}
	for _, name := range used {
		v, ok, err := scalar(t, name)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if def := p.Defaults[name]; def != "" && def != v && !p.ClaimsMayOverride[name] {
			return nil, oidc.Refuse(oidc.ReasonClaim, "claim %s would replace a default: list it under claims-may-override to allow that", clip(name))
		}
		data[name] = v
	}
	return data, nil
}

// fixed returns the defaults that no claim can replace.
func fixed(p *oidc.Provider) map[string]string {
	out := map[string]string{}
	for name, v := range p.Defaults {
		if v != "" && !p.ClaimsMayOverride[name] {
			out[name] = v
		}
	}
	return out
}

// normal returns the URI as Go writes it, which is how upstream's certificates hold it. Where prefix
// spells out scheme and host, the URI must have exactly those.
func normal(raw, prefix string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", oidc.Refuse(oidc.ReasonSAN, "%q is not a URI", clip(raw))
	}
	if want, err := url.Parse(prefix); err == nil && want.Host != "" && (u.Scheme != want.Scheme || u.Host != want.Host) {
		return "", oidc.Refuse(oidc.ReasonSAN, "%q is not under %s", clip(raw), prefix)
	}
	if strings.HasPrefix(prefix, "https://") && u.Scheme != "https" {
		return "", oidc.Refuse(oidc.ReasonSAN, "%q is not under %s", clip(raw), prefix)
	}
	return u.String(), nil
}
