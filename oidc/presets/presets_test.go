package presets

import (
	"errors"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/oidc"
)

// good are values that every preset can be filled in with.
func good(p Preset) map[string]string {
	all := map[string]string{"url": "https://ci.example.com", "id": "1a2b-3c", "trust_domain": "example.com", "audience": "sigstore"}
	values := map[string]string{}
	for _, par := range p.Parameters {
		values[par.Name] = all[par.Name]
	}
	return values
}

// TestEveryPreset: each can be filled in, has what it says, and leaves no place open.
func TestEveryPreset(t *testing.T) {
	list, err := All()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 14 {
		t.Errorf("%d presets", len(list))
	}
	for _, p := range list {
		t.Run(p.Name, func(t *testing.T) {
			if p.Title == "" || !strings.HasSuffix(p.About, ".") {
				t.Errorf("title %q, about %q", p.Title, p.About)
			}
			raw, err := p.Configuration(good(p))
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := oidc.ParseConfig(p.Name, raw)
			if err != nil {
				t.Fatal(err)
			}
			if len(cfg.Issuers) != 1 || strings.Contains(string(raw), "${") || cfg.Issuers[0].Audience != "sigstore" {
				t.Errorf("becomes\n%s", raw)
			}
			for _, par := range p.Parameters {
				if par.About == "" || par.Required == (par.Default != "") {
					t.Errorf("parameter %+v: want what it is, and either that it is required or what it is by default", par)
				}
				if !strings.Contains(string(raw), good(p)[par.Name]) {
					t.Errorf("parameter %s goes nowhere", par.Name)
				}
				missing := good(p)
				missing[par.Name] = ""
				if _, err := p.Configuration(missing); (err != nil) != par.Required {
					t.Errorf("without %s: %v", par.Name, err)
				}
			}
		})
	}
}

const somePEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

// TestParameters: each row is one thing wrong with the parameters of a preset, and the one that is named.
func TestParameters(t *testing.T) {
	for _, tc := range []struct{ name, preset, parameter, value, want string }{
		{"good", "keycloak", "url", "https://sso.example.com:8443/realms/staff", ""},
		{"good issuer of a cluster that ends with a slash", "kubernetes", "url", "https://oidc.example.com/t/", ""},
		{"slash at the end", "keycloak", "url", "https://sso.example.com/", "ends with a slash"},
		{"no scheme", "keycloak", "url", "sso.example.com", "is not an address"},
		{"another scheme", "keycloak", "url", "ftp://sso.example.com", "is not an address"},
		{"user", "keycloak", "url", "https://a@sso.example.com", "is not an address"},
		{"query", "keycloak", "url", "https://sso.example.com/?a", "is not an address"},
		{"capitals", "keycloak", "url", "https://SSO.example.com", "is not an address"},
		{"pattern", "keycloak", "url", "https://*.example.com", "is not an address"},
		{"a template", "github-enterprise-server", "url", "https://x.example.com/{{.sub}}", "is not an address"},
		{"another key", "keycloak", "url", "https://x.example.com\n  type: username", "is not an address"},
		{"a place", "keycloak", "url", "https://${audience}", "is not an address"},
		{"dot segments", "keycloak", "url", "https://sso.example.com/../x", "is not an address"},
		{"dot segment at the end", "keycloak", "url", "https://sso.example.com/x/..", "is not an address"},
		{"path as ID", "bitbucket", "id", "a/b", "is not an ID"},
		{"dots as ID", "bitbucket", "id", "..", "is not an ID"},
		{"line break in the audience", "google", "audience", "a\nb", "is not an audience"},
		{"audience of an ARI", "bitbucket", "audience", "ari:cloud:bitbucket::workspace/5ff0c1f0", ""},
		{"trust domain as an ID", "spiffe", "trust_domain", "spiffe://example.com", "is not a trust domain"},
		{"not a parameter of it", "github", "url", "https://x.example.com", "is for nothing: preset github takes audience, certificates"},
		{"unknown", "github", "tenant", "x", "is for nothing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := Find(tc.preset)
			if err != nil {
				t.Fatal(err)
			}
			values := good(p)
			values[tc.parameter] = tc.value
			_, err = p.Configuration(values)
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var wrong *ParameterError
			if !errors.As(err, &wrong) || wrong.Parameter != tc.parameter || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %s %s", err, tc.parameter, tc.want)
			}
		})
	}
	for _, name := range []string{"", "gitlab-ce", "../presets", "data", "GitHub", "github.yaml"} {
		if _, err := Find(name); err == nil {
			t.Errorf("there is a preset %q", name)
		}
	}
}

// TestCertificates: the roots of a company come with the issuer, whatever is in them.
func TestCertificates(t *testing.T) {
	p, err := Find("gitlab-self-managed")
	if err != nil {
		t.Fatal(err)
	}
	values := good(p)
	values[Certificates] = somePEM
	raw, err := p.Configuration(values)
	if err != nil {
		t.Fatal(err)
	}
	_, err = oidc.ParseConfig("x", raw) // the certificate is none, which shows that it got there
	if err == nil || !strings.Contains(err.Error(), "ca-cert holds no PEM certificate") || !strings.Contains(string(raw), "ca-cert: |") {
		t.Errorf("%v\n%s", err, raw)
	}
}
