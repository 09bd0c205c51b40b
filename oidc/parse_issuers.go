package oidc

import (
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

const maxIssuers = 1000

func (r *reader) root(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.problem(n, "is no configuration: want oidc-issuers, meta-issuers or both")
		return
	}
	var issuers, metas, providers *yaml.Node
	keep := func(dst **yaml.Node) func(_, v *yaml.Node) { return func(_, v *yaml.Node) { *dst = v } }
	keys := []key{
		{"oidc-issuers", "OIDCIssuers", keep(&issuers)},
		{"meta-issuers", "MetaIssuers", keep(&metas)},
		{"ci-issuer-metadata", "CIIssuerMetadata", keep(&providers)},
		{"define", "define", func(_, _ *yaml.Node) {}}, // anchors only
	}
	r.fields(n, "the configuration", keys)
	if providers != nil { // first: issuers name them
		r.providers(providers)
	}
	found := 0
	if issuers != nil {
		found += r.issuers(issuers, false)
	}
	if metas != nil {
		found += r.issuers(metas, true)
	}
	switch {
	case found == 0 && len(r.problems) == 0:
		r.problem(n, "names no issuer: want at least one under oidc-issuers or meta-issuers")
	case found > maxIssuers:
		r.problem(n, "names %d issuers: the limit is %d", found, maxIssuers)
	}
}

func (r *reader) issuers(n *yaml.Node, meta bool) int {
	what := "oidc-issuers"
	if meta {
		what = "meta-issuers"
	}
	entries := r.mapping(n, what)
	if len(entries) > maxIssuers {
		return len(entries)
	}
	for _, e := range entries {
		r.issuer(e, meta)
	}
	return len(entries)
}

func (r *reader) issuer(e member, meta bool) {
	i := &Issuer{Meta: meta, URL: e.name}
	what := "issuer " + clip(e.name)
	var issuerURL, typ, provider, claim string
	before := len(r.problems)
	r.fields(e.value, what, []key{
		{"issuer-url", "IssuerURL", r.text(&issuerURL, "issuer-url")},
		{"client-id", "ClientID", r.text(&i.Audience, "client-id")},
		{"type", "Type", r.text(&typ, "type")},
		{"ci-provider", "CIProvider", func(k, v *yaml.Node) {
			r.text(&provider, "ci-provider")(k, v)
			if i.Provider = r.cfg.Providers[provider]; i.Provider == nil && provider != "" {
				r.problem(v, "%s: ci-provider %q is not an entry of ci-issuer-metadata", what, clip(provider))
			}
		}},
		{"issuer-claim", "IssuerClaim", func(k, v *yaml.Node) {
			r.text(&claim, "issuer-claim")(k, v)
			path, ok := claimPath(claim)
			if !ok {
				r.problem(v, "%s: issuer-claim %q is not a path such as $.federated_claims.connector_id", what, clip(claim))
			}
			i.IssuerClaim = path
		}},
		{"subject-domain", "SubjectDomain", r.text(&i.SubjectDomain, "subject-domain")},
		{"spiffe-trust-domain", "SPIFFETrustDomain", r.text(&i.SPIFFETrustDomain, "spiffe-trust-domain")},
		{"challenge-claim", "ChallengeClaim", r.text(&i.ChallengeClaim, "challenge-claim")},
		{"description", "Description", r.text(&i.Description, "description")},
		{"contact", "Contact", r.text(&i.Contact, "contact")},
		{"ca-cert", "CACert", r.text(&i.CACert, "ca-cert")},
		{"skip-email-verification", "SkipEmailVerification", r.boolean(&i.SkipEmailVerification, "skip-email-verification")},
	})
	i.Type = Type(typ)
	if issuerURL != "" && issuerURL != e.name {
		r.problem(e.key, "%s: issuer-url %q differs from its key", what, clip(issuerURL))
	}
	if len(r.problems) > before {
		if provider != "" && i.Provider == nil { // said already
			i.Provider = &Provider{}
		}
		for _, p := range i.check() {
			r.problem(e.key, "%s: %s", what, p)
		}
		return
	}
	if problems := i.check(); len(problems) > 0 {
		for _, p := range problems {
			r.problem(e.key, "%s: %s", what, p)
		}
		return
	}
	if err := r.cfg.Add(*i); err != nil {
		r.problem(e.key, "%v", err)
	}
}

func (r *reader) providers(n *yaml.Node) {
	for _, e := range r.mapping(n, "ci-issuer-metadata") {
		r.cfg.Providers[e.name] = r.provider(e)
	}
}

func (r *reader) provider(e member) *Provider {
	p := &Provider{Name: e.name, Defaults: map[string]string{}, ClaimsMayOverride: map[string]bool{}, Extensions: map[string]*Template{}}
	what := "ci-issuer-metadata " + clip(e.name)
	var override *yaml.Node
	r.fields(e.value, what, []key{
		{"default-template-values", "DefaultTemplateValues", func(_, v *yaml.Node) { r.defaults(v, p, what) }},
		{"extension-templates", "ExtensionTemplates", func(_, v *yaml.Node) { r.extensions(v, p, what) }},
		{"subject-alternative-name-template", "SubjectAlternativeNameTemplate", func(k, v *yaml.Node) { p.SAN = r.template(k, v, what) }},
		{"claims-may-override", "ClaimsMayOverride", func(_, v *yaml.Node) { override = v }},
	})
	if p.SAN == nil {
		r.problem(e.key, "%s: subject-alternative-name-template is missing or empty", what)
	}
	if override == nil {
		return p
	}
	list := r.follow(override)
	if list == nil || list.Kind != yaml.SequenceNode {
		r.problem(override, "%s: claims-may-override is not a list of names", what)
		return p
	}
	for _, c := range list.Content {
		var name string
		r.text(&name, "a name of claims-may-override")(nil, c)
		if _, ok := p.Defaults[name]; !ok {
			r.problem(c, "%s: claims-may-override names %q, which has no default", what, clip(name))
		}
		p.ClaimsMayOverride[name] = true
	}
	return p
}

func (r *reader) defaults(v *yaml.Node, p *Provider, what string) {
	for _, d := range r.mapping(v, what+": default-template-values") {
		var s string
		if n := r.follow(d.value); n != nil && n.Tag != "!!null" { // upstream reads null as ""
			r.text(&s, what+": default "+clip(d.name))(d.key, d.value)
		}
		if len(s) > MaxClaimBytes {
			r.problem(d.value, "%s: default %q is longer than %d bytes", what, clip(d.name), MaxClaimBytes)
		}
		p.Defaults[d.name] = s
	}
}

func (r *reader) extensions(v *yaml.Node, p *Provider, what string) {
	keys := make([]key, 0, len(extensionNames))
	for _, x := range extensionNames {
		keys = append(keys, key{x.yaml, x.json, func(k, v *yaml.Node) {
			if t := r.template(k, v, what); t != nil {
				p.Extensions[x.yaml] = t
			}
		}})
	}
	r.fields(v, what+": extension-templates", keys)
}

// template reads one template, nil for an empty one, which upstream leaves out of the certificate.
func (r *reader) template(k, v *yaml.Node, what string) *Template {
	var s string
	r.text(&s, what+": template")(k, v)
	if strings.TrimSpace(s) == "" {
		return nil
	}
	t, err := ParseTemplate(s)
	if err != nil {
		r.problem(v, "%s: %v", what, err)
		return nil
	}
	return t
}

// extensionNames are the keys of extension-templates, in the order of their OIDs. The issuer and the
// subject are not among them: they always come from the token.
var extensionNames = []struct{ yaml, json string }{
	{"github-workflow-trigger", "GithubWorkflowTrigger"},
	{"github-workflow-sha", "GithubWorkflowSHA"},
	{"github-workflow-name", "GithubWorkflowName"},
	{"github-workflow-repository", "GithubWorkflowRepository"},
	{"github-workflow-ref", "GithubWorkflowRef"},
	{"build-signer-uri", "BuildSignerURI"},
	{"build-signer-digest", "BuildSignerDigest"},
	{"runner-environment", "RunnerEnvironment"},
	{"source-repository-uri", "SourceRepositoryURI"},
	{"source-repository-digest", "SourceRepositoryDigest"},
	{"source-repository-ref", "SourceRepositoryRef"},
	{"source-repository-identifier", "SourceRepositoryIdentifier"},
	{"source-repository-owner-uri", "SourceRepositoryOwnerURI"},
	{"source-repository-owner-identifier", "SourceRepositoryOwnerIdentifier"},
	{"build-config-uri", "BuildConfigURI"},
	{"build-config-digest", "BuildConfigDigest"},
	{"build-trigger", "BuildTrigger"},
	{"run-invocation-uri", "RunInvocationURI"},
	{"source-repository-visibility-at-signing", "SourceRepositoryVisibilityAtSigning"},
	{"deployment-environment", "DeploymentEnvironment"},
}

// ExtensionNames returns the keys of Provider.Extensions in the order of their OIDs.
func ExtensionNames() []string {
	out := make([]string, 0, len(extensionNames))
	for _, x := range extensionNames {
		out = append(out, x.yaml)
	}
	return out
}

var claimPathSyntax = regexp.MustCompile(`\A\$(\.[A-Za-z0-9_-]{1,64}){1,8}\z`)

// claimPath reads the one form of JSONPath that issuer-claim is used with: members by name.
func claimPath(s string) ([]string, bool) {
	if !claimPathSyntax.MatchString(s) {
		return nil, false
	}
	return slices.Clone(strings.Split(s, ".")[1:]), true
}
