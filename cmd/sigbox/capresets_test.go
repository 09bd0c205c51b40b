package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestPresetsCommand: the list names every preset and what it needs; one that is printed is a file of issuers.
func TestPresetsCommand(t *testing.T) {
	out, stderr, code := run(t, "ca", "presets")
	if code != 0 || line(out, "gitlab-self-managed") != "gitlab-self-managed GitLab CI/CD, self-managed" || strings.Count(out, "(needed)") != 13 {
		t.Errorf("code %d %s\n%s", code, stderr, out)
	}
	out, stderr, code = run(t, "ca", "presets", "keycloak", "url=https://sso.example.com/realms/staff")
	if code != 0 {
		t.Fatalf("code %d %s", code, stderr)
	}
	file := filepath.Join(t.TempDir(), "issuers.yaml")
	writeText(t, file, out)
	s := newTokenSite(t)
	raw := s.token(t, map[string]any{"iss": "https://sso.example.com/realms/staff", "email": "dev@example.com", "email_verified": true})
	s.args = []string{"--issuers", file}
	if out, stderr, code := s.explain(t, raw); code != 0 || !strings.Contains(out, "dev@example.com") {
		t.Errorf("code %d %s\n%s", code, stderr, out)
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"gitea"}, "there is no preset \"gitea\": sigbox ca presets lists"},
		{[]string{"keycloak"}, "url is missing: preset keycloak needs the address of the realm"},
		{[]string{"keycloak", "https://sso.example.com"}, "want PARAMETER=VALUE"},
		{[]string{"keycloak", "url=https://sso.example.com", "realm=x"}, "realm is for nothing"},
		{[]string{"keycloak", "url=https://sso.example.com", "certificates=/none.pem"}, "certificates: open /none.pem"},
	} {
		if _, stderr, code := run(t, append([]string{"ca", "presets"}, tc.args...)...); code != 1 || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: code %d %s, want %s", tc.args, code, stderr, tc.want)
		}
	}
}
