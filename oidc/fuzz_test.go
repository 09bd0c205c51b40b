package oidc

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzFind: what belongs to a pattern is a plain URL of its scheme, and has as many dots and slashes as the
// pattern: a star stands for neither, nor for anything else that ends a label, a path or a line.
func FuzzFind(f *testing.F) {
	f.Add("https://*.idp.example.com/t/*", "https://a.idp.example.com/t/9")
	f.Add("https://oidc.eks.*.amazonaws.com/id/*", "http://localhost?issuer=https://oidc.eks.us-west-2.amazonaws.com/id/B02C")
	f.Add("http://127.0.0.1:1/*", "http://127.0.0.1:1/x\n")
	f.Fuzz(func(t *testing.T, pattern, iss string) {
		c := &Config{}
		if c.Add(Issuer{URL: pattern, Meta: true, Audience: "sigstore", Type: TypeEmail}) != nil || c.find(iss) == nil {
			return
		}
		u, err := url.Parse(iss)
		if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || u.Host == "" {
			t.Fatalf("%q belongs to %q and is no plain URL", iss, pattern)
		}
		before, _, _ := strings.Cut(pattern, "*")
		for _, letters := range []string{".", "/", ":", "@", "?", "#", "%", "\n"} {
			if strings.Count(iss, letters) != strings.Count(pattern, letters) {
				t.Fatalf("%q belongs to %q: another number of %q", iss, pattern, letters)
			}
		}
		if !strings.HasPrefix(iss, before) || len(iss) < len(pattern) {
			t.Fatalf("%q belongs to %q", iss, pattern)
		}
	})
}

// FuzzTemplate: what a template makes is bounded, begins with its prefix, and does not depend on what claims
// look like: a claim is never parsed.
func FuzzTemplate(f *testing.F) {
	f.Add("{{ .url }}/{{ .ref }}", "main")
	f.Add(`refs/{{if eq .ref "branch"}}heads/{{else}}tags/{{end}}{{.ref}}`, "{{ .url }}")
	f.Add(`{{ index . "ref" }}`, "{{")
	f.Add("ref", "x")
	f.Fuzz(func(t *testing.T, source, claim string) {
		tmpl, err := ParseTemplate(source)
		if err != nil {
			return
		}
		fixed := map[string]string{"url": "https://example.com"}
		got, err := tmpl.Render(map[string]string{"url": "https://example.com", "ref": claim})
		if err != nil {
			return
		}
		if len(got) > maxRendered || !strings.HasPrefix(got, tmpl.Prefix(fixed)) {
			t.Fatalf("%q with %q is %q, prefix %q", source, claim, got, tmpl.Prefix(fixed))
		}
		if same, err := tmpl.Render(map[string]string{"url": "https://example.com", "ref": claim}); err != nil || same != got {
			t.Fatalf("%q with %q is %q, and %q (%v)", source, claim, got, same, err)
		}
	})
}
