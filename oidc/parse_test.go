package oidc

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// upstreamConfig reads the public instance's configuration from the module that the tests use.
func upstreamConfig(t testing.TB) []byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sigstore/fulcio").Output()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "config", "identity", "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestPublicConfigurationLoads(t *testing.T) {
	c, err := ParseConfig("config.yaml", upstreamConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Issuers) < 25 || len(c.Providers) != 5 {
		t.Fatalf("%d issuers, %d providers", len(c.Issuers), len(c.Providers))
	}
	github := c.find("https://token.actions.githubusercontent.com")
	if github == nil || github.Provider == nil || github.Provider.Name != "github-workflow" || len(github.Provider.Extensions) != 20 {
		t.Errorf("GitHub = %+v", github)
	}
	if dex := c.find("https://oauth2.sigstore.dev/auth"); !slices.Equal(dex.IssuerClaim, []string{"federated_claims", "connector_id"}) {
		t.Errorf("issuer-claim = %q", dex.IssuerClaim)
	}
	eks := c.find("https://oidc.eks.us-west-2.amazonaws.com/id/B02C93B6A2D30341AD01E1B6D48164CB")
	if eks == nil || !eks.Meta || eks.Type != TypeKubernetes {
		t.Errorf("EKS = %+v", eks)
	}
	var wild, plain int
	for _, p := range c.PublicConfiguration() {
		if p.Audience != "sigstore" || p.IssuerType == "" || p.ChallengeClaim == "" {
			t.Errorf("public entry %+v", p)
		}
		if p.WildcardIssuerURL != "" {
			wild++
		}
		if p.IssuerURL != "" {
			plain++
		}
	}
	if wild == 0 || wild+plain != len(c.Issuers) {
		t.Errorf("%d patterns and %d issuers of %d", wild, plain, len(c.Issuers))
	}
}

func TestParseConfigForms(t *testing.T) {
	for _, tc := range []struct{ name, in string }{
		{"YAML", "oidc-issuers:\n  https://a.example.com:\n    client-id: sigstore\n    type: email\n"},
		{"JSON with its own names", `{"OIDCIssuers":{"https://a.example.com":{"IssuerURL":"https://a.example.com","ClientID":"sigstore","Type":"email"}}}`},
		{"anchors and a merge key", "define:\n - &base {client-id: sigstore, type: username}\noidc-issuers:\n  https://a.example.com:\n    <<: *base\n    type: email\n"},
		{"a list of merges", "define:\n - &b {client-id: sigstore}\n - &c {client-id: other, type: email}\noidc-issuers:\n  https://a.example.com: {<<: [*b, *c]}\n"},
		{"an alias as key", "define:\n - &iss https://a.example.com\noidc-issuers:\n  *iss :\n    client-id: sigstore\n    type: email\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := ParseConfig("c", []byte(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			if i := c.find("https://a.example.com"); i == nil || i.Audience != "sigstore" || i.Type != TypeEmail {
				t.Errorf("issuer = %+v", i)
			}
		})
	}
}

// TestParseConfigRefuses: each row is one mistake; want is the line and a piece of the text.
func TestParseConfigRefuses(t *testing.T) {
	issuer := func(lines ...string) string {
		return "oidc-issuers:\n  https://a.example.com:\n    " + strings.Join(lines, "\n    ") + "\n"
	}
	meta := func(pattern string) string {
		return "meta-issuers:\n  " + pattern + ":\n    client-id: sigstore\n    type: email\n"
	}
	provider := func(lines ...string) string {
		return "ci-issuer-metadata:\n  ci:\n    " + strings.Join(lines, "\n    ") + "\n" + issuer("client-id: s", "type: ci-provider", "ci-provider: ci")
	}
	var bomb strings.Builder // each mapping merges ten of the one before: 10^8 at the end
	bomb.WriteString("define:\n - &a {type: email}\n")
	for n := range 8 {
		from, to := string(rune('a'+n)), string(rune('b'+n))
		bomb.WriteString(" - &" + to + " {<<: [" + strings.Repeat("*"+from+",", 9) + "*" + from + "]}\n")
	}
	bomb.WriteString("oidc-issuers:\n  https://a.example.com: {<<: *i, client-id: s, type: email}\n")

	for _, tc := range []struct{ name, in, want string }{
		{"empty file", "", "c: is empty"},
		{"comments only", "# nothing\n", "c: is empty"},
		{"a list", "- a\n", "c:1: is no configuration"},
		{"no issuer", "oidc-issuers: {}\n", "c:1: names no issuer"},
		{"not UTF-8", "\xff", "c: not valid UTF-8"},
		{"too large", strings.Repeat("#", maxConfigBytes+1), "c: larger than"},
		{"syntax", "oidc-issuers:\n\t- a\n", "c:2: found character"},
		{"a second document", issuer("client-id: s", "type: email") + "---\nx: 1\n", "second YAML document"},
		{"unknown key at the top", issuer("client-id: s", "type: email") + "oidc_issuers: {}\n", `c:5: unknown key "oidc_issuers"`},
		{"unknown key of an issuer", issuer("client-id: s", "clientid: s", "type: email"), `c:4: unknown key "clientid"`},
		{"JSON with YAML's names", `{"oidc-issuers":{}}`, "want one of OIDCIssuers"},
		{"key twice", issuer("client-id: s", "type: email", "client-id: t"), `c:5: key "client-id"`},
		{"issuer twice", issuer("client-id: s", "type: email") + "  https://a.example.com: {client-id: s, type: email}\n", "appears twice"},
		{"aliases of aliases", bomb.String(), "aliases multiply"},
		{"client-id missing", issuer("type: email"), "c:2: issuer https://a.example.com: client-id is missing"},
		{"client-id a list", issuer("client-id: [s]", "type: email"), "c:3: client-id is not text"},
		{"type missing", issuer("client-id: s"), "type is missing"},
		{"type unknown", issuer("client-id: s", "type: saml"), `unknown type "saml"`},
		{"issuer-url differs from the key", issuer("issuer-url: https://b.example.com", "client-id: s", "type: email"), "differs from its key"},
		{"http beyond loopback", "oidc-issuers:\n  http://a.example.com: {client-id: s, type: email}\n", "http beyond loopback"},
		{"not a URL", "oidc-issuers:\n  a.example.com: {client-id: s, type: email}\n", "not a plain URL"},
		{"a query in the URL", "oidc-issuers:\n  https://a.example.com?x=1: {client-id: s, type: email}\n", "not a plain URL"},
		{"a star outside meta-issuers", "oidc-issuers:\n  https://*.example.com: {client-id: s, type: email}\n", "under meta-issuers"},
		{"skip-email-verification a word", issuer("client-id: s", "type: email", `skip-email-verification: "yes"`), "not true or false"},
		{"issuer-claim for another type", issuer("client-id: s", "type: github-workflow", "issuer-claim: $.a"), "type email only"},
		{"issuer-claim that is a query", issuer("client-id: s", "type: email", "issuer-claim: $..a[?(@.b)]"), "not a path"},
		{"ca-cert without a certificate", issuer("client-id: s", "type: email", "ca-cert: hello"), "ca-cert holds no PEM"},
		{"ci-provider missing", issuer("client-id: s", "type: ci-provider"), "needs ci-provider"},
		{"ci-provider undefined", issuer("client-id: s", "type: ci-provider", "ci-provider: nope"), `c:5: issuer https://a.example.com: ci-provider "nope"`},
		{"spiffe without trust domain", issuer("client-id: s", "type: spiffe"), "spiffe-trust-domain"},
		{"spiffe trust domain with capitals", issuer("client-id: s", "type: spiffe", "spiffe-trust-domain: Example.com"), "spiffe-trust-domain"},
		{"uri without domain", issuer("client-id: s", "type: uri"), "subject-domain"},
		{"uri domain without scheme", issuer("client-id: s", "type: uri", "subject-domain: a.example.com"), "wants SCHEME://HOST"},
		{"uri domain of somebody else", issuer("client-id: s", "type: uri", "subject-domain: https://example.org"), "does not share"},
		{"uri domain with another scheme", issuer("client-id: s", "type: uri", "subject-domain: http://a.example.com"), "different schemes"},
		{"username domain with scheme", issuer("client-id: s", "type: username", "subject-domain: https://a.example.com"), "bare host name"},
		{"username domain of somebody else", issuer("client-id: s", "type: username", "subject-domain: example.org"), "does not share"},
		{"pattern of everything", meta(`"*"`), "scheme must be written out"},
		{"pattern of every host", meta("https://*"), "last two labels"},
		{"pattern of every host under a TLD", meta("https://*.com/x"), "last two labels"},
		{"pattern with a starred domain", meta("https://x.*.com"), "last two labels"},
		{"pattern with a starred port", meta(`"https://a.example.com:*"`), "port must be written out"},
		{"pattern without a star", meta("https://a.example.com"), "under oidc-issuers"},
		{"spiffe pattern", "meta-issuers:\n  https://*.example.com: {client-id: s, type: spiffe, spiffe-trust-domain: example.com}\n", "cannot be a meta-issuer"},
		{"no SAN template", provider("extension-templates: {}"), "c:2: ci-issuer-metadata ci: subject-alternative-name-template is missing"},
		{"unknown extension", provider("subject-alternative-name-template: a", "extension-templates: {issuer: x}"), `unknown key "issuer"`},
		{"template syntax", provider(`subject-alternative-name-template: "{{ .a"`), "c:3: ci-issuer-metadata ci: template"},
		{"template loops", provider(`subject-alternative-name-template: "{{ range . }}x{{ end }}"`), "only fields"},
		{"template calls printf", provider(`subject-alternative-name-template: '{{ printf "%1000000d" 1 }}'`), "template calls printf"},
		{"template pipes", provider(`subject-alternative-name-template: "{{ .a | html }}"`), "pipeline"},
		{"template sets a variable", provider(`subject-alternative-name-template: "{{ $x := .a }}{{ $x }}"`), "variable"},
		{"template defines another", provider(`subject-alternative-name-template: '{{ define "x" }}{{ end }}{{ .a }}'`), "further templates"},
		{"template indexes by a claim", provider(`subject-alternative-name-template: "{{ index . .a }}"`), "index other than"},
		{"template reads deep", provider(`subject-alternative-name-template: "{{ .a.b }}"`), "claims are flat"},
		{"template too long", provider(`subject-alternative-name-template: "{{ .a }}` + strings.Repeat("x", maxTemplateBytes) + `"`), "longer than"},
		{"override of no default", provider("subject-alternative-name-template: a", "claims-may-override: [url]"), "has no default"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			begun := time.Now()
			_, err := ParseConfig("c", []byte(tc.in))
			var ce *ConfigError
			if !errors.As(err, &ce) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v\nwant %q", err, tc.want)
			}
			if took := time.Since(begun); took > time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestParseConfigReportsEverything(t *testing.T) {
	_, err := ParseConfig("c.yaml", []byte(`oidc-issuers:
  http://a.example.com:
    client-id: ""
    type: saml
    colour: red
  https://b.example.com:
    type: ci-provider
    ci-provider: nope
meta-issuers:
  https://*.com:
    client-id: s
    type: email
`))
	var ce *ConfigError
	if !errors.As(err, &ce) {
		t.Fatal(err)
	}
	var got []int
	for _, p := range ce.Problems {
		got = append(got, p.Line)
	}
	if want := []int{2, 2, 2, 5, 6, 8, 10}; !slices.Equal(got, want) {
		t.Errorf("lines %v, want %v:\n%v", got, want, err)
	}
}

func TestFind(t *testing.T) {
	c := config(t,
		Issuer{URL: "https://*.idp.example.com/t/*", Meta: true},
		Issuer{URL: "https://*.idp.example.com/*/x", Meta: true},
		Issuer{URL: "http://127.0.0.1:*", Meta: true},
		Issuer{URL: "https://fixed.idp.example.com/t/1"})
	for iss, want := range map[string]string{
		"https://a.idp.example.com/t/9":                                   "https://*.idp.example.com/t/*",
		"https://a.idp.example.com/t/x":                                   "https://*.idp.example.com/t/*", // both match: the first in file order
		"https://a.idp.example.com/q/x":                                   "https://*.idp.example.com/*/x",
		"https://fixed.idp.example.com/t/1":                               "https://fixed.idp.example.com/t/1", // exact before pattern
		"http://a.idp.example.com/t/9":                                    "",
		"https://a.idp.example.com/t/9/":                                  "",
		"https://a.idp.example.com/t/":                                    "",
		"https://a.b.idp.example.com/t/9":                                 "",
		"https://a/b.idp.example.com/t/9":                                 "",
		"https://aXidp.example.com/t/9":                                   "",
		"https://a.idpXexample.com/t/9":                                   "",
		"https://a.idp.example.com/t/9\n":                                 "",
		"https://a.idp.example.com/t/9?x=1":                               "",
		"http://127.0.0.1:1234":                                           "http://127.0.0.1:*",
		"http://127.0.0.1:port":                                           "", // matches, but is no URL
		"https://evil.example/https://a.idp.example.com/t/9":              "",
		"https://evil.example?https://a.idp.example.com/t/9":              "",
		"https://a.idp.example.com.evil.example/t/9":                      "",
		"https://ａ.idp.example.com/t/9":                                   "",
		"https://" + strings.Repeat("-", 10<<10) + ".idp.example.com/t/9": "",
		"": "",
	} {
		got := ""
		if i := c.find(iss); i != nil {
			got = i.URL
		}
		if got != want {
			t.Errorf("%.80q belongs to %q, want %q", iss, got, want)
		}
	}
	if err := c.Add(Issuer{URL: "https://fixed.idp.example.com/t/1", Audience: "s", Type: TypeEmail}); err == nil {
		t.Error("the same issuer twice")
	}
}

func TestTemplates(t *testing.T) {
	data := map[string]string{"url": "https://github.com", "ref": "main", "type": "branch", "empty": "", "evil": "{{.url}}", "a.b/c": "odd"}
	for in, want := range map[string]string{
		"ref":                     "main",
		"{{ .url }}/{{ .ref }}":   "https://github.com/main",
		"{{.evil}}":               "{{.url}}", // data is never parsed again
		`{{ index . "a.b/c" }}`:   "odd",
		`{{(index . "a.b/c")}}`:   "odd",
		`{{ index . "missing" }}`: "",
		`refs/{{if eq .type "branch"}}heads/{{else}}tags/{{end}}{{.ref}}`: "refs/heads/main",
		`{{if eq (index . "x") "true"}}yes{{else}}""{{end}}`:              `""`,
		`{{if and .empty .ref}}a{{else if or .empty .ref}}b{{end}}`:       "b",
	} {
		tmpl, err := ParseTemplate(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got, err := tmpl.Render(data); err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"nope", "{{ .nope }}"} {
		tmpl, err := ParseTemplate(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tmpl.Render(data); err == nil || !strings.Contains(err.Error(), "nope") {
			t.Errorf("%s = %q, %v; want an error that names the claim", in, got, err)
		}
	}
	for in, want := range map[string]string{
		"{{ .url }}/{{ .ref }}/x":           "https://github.com/",
		"https://{{ .ref }}":                "https://",
		"{{ .ref }}":                        "",
		"ref":                               "",
		"https://a/{{ if .ref }}b{{ end }}": "https://a/",
	} {
		tmpl, err := ParseTemplate(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := tmpl.Prefix(map[string]string{"url": "https://github.com"}); got != want {
			t.Errorf("prefix of %s = %q, want %q", in, got, want)
		}
	}
	big, err := ParseTemplate(strings.Repeat("{{ .v }}", 100))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := big.Render(map[string]string{"v": strings.Repeat("x", MaxClaimBytes)}); err == nil {
		t.Error("a result of 100 KiB was rendered")
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add(upstreamConfig(f))
	f.Add([]byte("define:\n - &a [*a]\noidc-issuers: *a\n"))
	f.Add([]byte("a: &a\n  <<: *a\n"))
	f.Add([]byte(`{"OIDCIssuers":{}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseConfig("f", raw)
		if (c == nil) == (err == nil) {
			t.Fatal("neither a configuration nor an error, or both")
		}
		var ce *ConfigError
		if err != nil && !errors.As(err, &ce) {
			t.Fatalf("error of another class: %v", err)
		}
	})
}
