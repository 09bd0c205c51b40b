package profile

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/oidc"
)

// TestRefuses: each row is one thing wrong with an otherwise good token. upstream says whether Fulcio
// refuses it too: where it does not, the row is ours on purpose (doc.go).
func TestRefuses(t *testing.T) {
	cfg, up := configs(t, []byte(testConfig+ciTestConfig))
	email := func(address string) map[string]any { return with(person(), map[string]any{"email": address}) }
	gh := func(name string, v any) map[string]any { return with(githubClaims(), map[string]any{name: v}) }
	sub := func(s string) map[string]any { return map[string]any{"sub": s} }
	ci := func(name string, v any) map[string]any {
		return with(map[string]any{"sub": "s", "path": "a/b", "note": "n"}, map[string]any{name: v})
	}
	k8s := func(namespace, name any) map[string]any {
		return map[string]any{"sub": "s", "kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]any{"name": name}}}
	}
	const too, ourOwn = true, false // refused by upstream too, or by us only

	for _, tc := range []struct {
		name, host string
		claims     map[string]any
		want       oidc.Reason
		upstream   bool
	}{
		{"email missing", "email", with(person(), map[string]any{"email": gone}), oidc.ReasonEmail, too},
		{"email null", "email", with(person(), map[string]any{"email": nil}), oidc.ReasonEmail, too},
		{"email a list", "email", with(person(), map[string]any{"email": []string{"a@example.com"}}), oidc.ReasonEmail, too},
		{"email empty", "email", email(""), oidc.ReasonEmail, too},
		{"email without a dot in its domain", "email", email("a@b"), oidc.ReasonEmail, too},
		{"email without @", "email", email("example.com"), oidc.ReasonEmail, too},
		{"email with two @", "email", email("a@b@example.com"), oidc.ReasonEmail, too},
		{"email, quoted local part", "email", email(`"a b"@example.com`), oidc.ReasonEmail, too},
		{"email, comment", "email", email("a(b)@example.com"), oidc.ReasonEmail, too},
		{"email, display name", "email", email(`"x" <a@example.com>`), oidc.ReasonEmail, too},
		{"email, dot at the end", "email", email("a@example.com."), oidc.ReasonEmail, ourOwn},
		{"email, dot at the start", "email", email(".a@example.com"), oidc.ReasonEmail, too},
		{"email, two dots", "email", email("a..b@example.com"), oidc.ReasonEmail, too},
		{"email, address literal", "email", email("a@[127.0.0.1]"), oidc.ReasonEmail, too},
		{"email, bare address", "email", email("a@127.0.0.1"), oidc.ReasonEmail, too},
		{"email, hyphen at the edge of a label", "email", email("a@-example.com"), oidc.ReasonEmail, too},
		{"email, one-letter domain", "email", email("a@example.c"), oidc.ReasonEmail, ourOwn},
		{"email, local part of 65 bytes", "email", email(strings.Repeat("a", 65) + "@example.com"), oidc.ReasonEmail, ourOwn},
		{"email, label of 64 bytes", "email", email("a@" + strings.Repeat("b", 64) + ".com"), oidc.ReasonEmail, ourOwn},
		{"email of 255 bytes", "email", email("a@" + strings.Repeat("b.", 124) + "comic"), oidc.ReasonEmail, ourOwn},
		{"email of a megabyte of parentheses", "email", email(strings.Repeat("(", 1<<20)), oidc.ReasonEmail, too},
		{"email, NUL", "email", email("a\x00@example.com"), oidc.ReasonEmail, too},
		{"email, line break", "email", email("a@example.com\r\nx"), oidc.ReasonEmail, too},
		{"email, space in front", "email", email(" a@example.com"), oidc.ReasonEmail, too},
		{"email, tab", "email", email("a\t@example.com"), oidc.ReasonEmail, too},
		{"email, Cyrillic a", "email", email("\u0430dmin@example.com"), oidc.ReasonEmail, too},
		{"email, right-to-left override", "email", email("a\u202e@example.com"), oidc.ReasonEmail, too},
		{"email, zero-width space", "email", email("a\u200b@example.com"), oidc.ReasonEmail, too},
		{"email, combining accent", "email", email("a\u0301@example.com"), oidc.ReasonEmail, too},
		{"email, full-width @", "email", email("a\uff20example.com"), oidc.ReasonEmail, too},
		{"email, domain beyond ASCII", "email", email("a@größe.example"), oidc.ReasonEmail, too},
		{"email_verified false", "email", with(person(), map[string]any{"email_verified": false}), oidc.ReasonUnverified, too},
		{"email_verified false as text", "email", with(person(), map[string]any{"email_verified": "false"}), oidc.ReasonUnverified, too},
		{"email_verified missing", "email", with(person(), map[string]any{"email_verified": gone}), oidc.ReasonUnverified, too},
		{"email_verified null", "email", with(person(), map[string]any{"email_verified": nil}), oidc.ReasonUnverified, too},
		{"email_verified 1", "email", with(person(), map[string]any{"email_verified": 1}), oidc.ReasonUnverified, too},
		{"email_verified TRUE", "email", with(person(), map[string]any{"email_verified": "TRUE"}), oidc.ReasonUnverified, too},
		{"email_verified True", "email", with(person(), map[string]any{"email_verified": "True"}), oidc.ReasonUnverified, ourOwn},
		{"issuer-claim absent", "dex", person(), oidc.ReasonClaim, too},
		{"issuer-claim of a wrong type", "dex", with(person(), map[string]any{"federated_claims": "x"}), oidc.ReasonClaim, too},
		{"issuer-claim a number", "dex", with(person(), map[string]any{"federated_claims": map[string]any{"connector_id": 7}}), oidc.ReasonClaim, ourOwn},

		{"github: claim missing", "github", gh("run_attempt", gone), oidc.ReasonClaim, too},
		{"github: claim empty", "github", gh("job_workflow_ref", ""), oidc.ReasonClaim, too},
		{"github: claim a number", "github", gh("run_id", 7), oidc.ReasonClaim, too},
		{"github: claim an object", "github", gh("sha", map[string]any{}), oidc.ReasonClaim, too},
		{"github: line break in a claim", "github", gh("workflow", "a\nb"), oidc.ReasonClaim, ourOwn},
		{"github: NUL in a claim", "github", gh("ref", "a\x00b"), oidc.ReasonClaim, ourOwn},
		{"github: bidirectional override in a claim", "github", gh("workflow", "a\u202eb"), oidc.ReasonClaim, ourOwn},
		{"github: claim of 1 KiB + 1", "github", gh("workflow", strings.Repeat("w", 1025)), oidc.ReasonClaim, ourOwn},
		{"github: broken escape, upstream certifies https://github.com/", "github", gh("job_workflow_ref", "o/r/a.yml@refs/heads/100%zz"), oidc.ReasonSAN, ourOwn},
		{"github: escape beside another alphabet, upstream decodes it", "github", gh("job_workflow_ref", "o/r/a.yml@refs/heads/ü%41"), oidc.ReasonSAN, ourOwn},
		{"github: dot segments, upstream certifies another workflow", "github", gh("job_workflow_ref", "o/r/../../other/repo/a.yml@refs/heads/main"), oidc.ReasonSAN, ourOwn},
		{"github: empty segment, upstream cleans it away", "github", gh("job_workflow_ref", "o//r/a.yml@refs/heads/main"), oidc.ReasonSAN, ourOwn},
		{"subject with a line break", "github", gh("sub", "a\nb"), oidc.ReasonSubject, ourOwn},

		{"uri: another scheme", "uri", sub("http://users.example.com/u"), oidc.ReasonSAN, too},
		{"uri: javascript", "uri", sub("javascript:alert(1)"), oidc.ReasonSAN, too},
		{"uri: another host", "uri", sub("https://evil.example/u"), oidc.ReasonSAN, too},
		{"uri: host with a suffix", "uri", sub("https://users.example.com.evil.example/u"), oidc.ReasonSAN, too},
		{"uri: user information", "uri", sub("https://users.example.com@evil.example/u"), oidc.ReasonSAN, too},
		{"uri: user information before the right host", "uri", sub("https://evil.example@users.example.com/u"), oidc.ReasonSAN, ourOwn},
		{"uri: port", "uri", sub("https://users.example.com:8443/u"), oidc.ReasonSAN, ourOwn},
		{"uri: host in capitals", "uri", sub("https://Users.example.com/u"), oidc.ReasonSAN, too},
		{"uri: scheme in capitals", "uri", sub("HTTPS://users.example.com/u"), oidc.ReasonSAN, ourOwn},
		{"uri: no host", "uri", sub("https:///u"), oidc.ReasonSAN, too},
		{"uri: no scheme", "uri", sub("//users.example.com/u"), oidc.ReasonSAN, too},
		{"uri: backslash", "uri", sub(`https://users.example.com\@evil.example/`), oidc.ReasonSAN, too},
		{"uri: tab inside", "uri", sub("https://users.example.com/a\tb"), oidc.ReasonSubject, too},
		{"uri: space, which would be rewritten", "uri", sub("https://users.example.com/a b"), oidc.ReasonSAN, ourOwn},
		{"uri: IPv6 zone", "uri", sub("https://[fe80::1%25eth0]/u"), oidc.ReasonSAN, too},

		{"spiffe: another trust domain", "spiffe", sub("spiffe://example.org/a"), oidc.ReasonSAN, too},
		{"spiffe: capitals", "spiffe", sub("spiffe://Example.com/a"), oidc.ReasonSAN, too},
		{"spiffe: scheme in capitals", "spiffe", sub("SPIFFE://example.com/a"), oidc.ReasonSAN, too},
		{"spiffe: empty segment", "spiffe", sub("spiffe://example.com//a"), oidc.ReasonSAN, too},
		{"spiffe: dot segment", "spiffe", sub("spiffe://example.com/a/../b"), oidc.ReasonSAN, too},
		{"spiffe: slash at the end", "spiffe", sub("spiffe://example.com/a/"), oidc.ReasonSAN, too},
		{"spiffe: query", "spiffe", sub("spiffe://example.com/a?b"), oidc.ReasonSAN, too},
		{"spiffe: port", "spiffe", sub("spiffe://example.com:80/a"), oidc.ReasonSAN, too},
		{"spiffe: too long", "spiffe", sub("spiffe://example.com/" + strings.Repeat("a", 2048)), oidc.ReasonSubject, ourOwn},

		{"username: exclamation mark", "username", sub("a!b"), oidc.ReasonSAN, too},
		{"username: an address", "username", sub("a@example.com"), oidc.ReasonSAN, too},
		{"username: nearly an address", "username", sub("a@b"), oidc.ReasonSAN, ourOwn},
		{"username: control character", "username", sub("a\x07"), oidc.ReasonSubject, ourOwn},
		{"username of 10 KiB", "username", sub(strings.Repeat("a", 10<<10)), oidc.ReasonSubject, ourOwn},

		{"kubernetes: claim missing", "k8s", sub("s"), oidc.ReasonClaim, ourOwn},
		{"kubernetes: claim a string", "k8s", map[string]any{"sub": "s", "kubernetes.io": "x"}, oidc.ReasonClaim, too},
		{"kubernetes: namespace with a slash", "k8s", k8s("a/serviceaccounts/b", "c"), oidc.ReasonClaim, ourOwn},
		{"kubernetes: no account", "k8s", k8s("a", ""), oidc.ReasonClaim, ourOwn},
		{"kubernetes: old and new claims disagree", "k8s", with(k8sClaims(), map[string]any{"kubernetes.io/serviceaccount/namespace": "other"}), oidc.ReasonClaim, ourOwn},
		{"kubernetes: subject disagrees", "k8s", with(k8sClaims(), map[string]any{"sub": "system:serviceaccount:build:other"}), oidc.ReasonClaim, ourOwn},

		{"chainguard: unverified address", "chainguard", with(person(), map[string]any{"email_verified": false}), oidc.ReasonUnverified, too},
		{"gitlab: ref_type of another kind", "gitlab", with(gitlabClaims(), map[string]any{"ref_type": "commit"}), oidc.ReasonClaim, too},
		{"gitlab: runner_id missing", "gitlab", with(gitlabClaims(), map[string]any{"runner_id": gone}), oidc.ReasonClaim, too},
		{"gitlab: runner_id is text", "gitlab", with(gitlabClaims(), map[string]any{"runner_id": "1"}), oidc.ReasonClaim, too},
		{"gitlab: reference with a scheme", "gitlab", with(gitlabClaims(), map[string]any{"ci_config_ref_uri": "http://evil.example/x"}), oidc.ReasonSAN, ourOwn},
		{"gitlab: user information", "gitlab", with(gitlabClaims(), map[string]any{"ci_config_ref_uri": "gitlab.com@evil.example/x"}), oidc.ReasonSAN, ourOwn},
		{"buildkite: claim missing", "buildkite", map[string]any{"sub": "s", "organization_slug": "a"}, oidc.ReasonClaim, too},
		{"codefresh: no account name, upstream leaves it out of the path", "codefresh", map[string]any{"sub": "s", "account_id": "a", "pipeline_id": "p", "pipeline_name": "n", "workflow_id": "w"}, oidc.ReasonClaim, ourOwn},
		{"codefresh: platform that is no URL", "codefresh", map[string]any{"sub": "s", "account_id": "a", "account_name": "c", "pipeline_id": "p", "pipeline_name": "n", "workflow_id": "w", "platform_url": "evil"}, oidc.ReasonSAN, ourOwn},

		{"ci: claim of the name missing", "ci", ci("path", gone), oidc.ReasonClaim, too},
		{"ci: claim of the name empty", "ci", ci("path", ""), oidc.ReasonClaim, ourOwn},
		{"ci: claim of the name null", "ci", ci("path", nil), oidc.ReasonClaim, ourOwn},
		{"ci: claim of an extension missing", "ci", ci("note", gone), oidc.ReasonClaim, too},
		{"ci: claim an object", "ci", ci("note", map[string]any{"a": 1}), oidc.ReasonClaim, ourOwn},
		{"ci: claim a list", "ci", ci("note", []string{"a"}), oidc.ReasonClaim, ourOwn},
		{"ci: claim beyond 2^53", "ci", ci("note", json.Number("9007199254740993")), oidc.ReasonClaim, ourOwn},
		{"ci: claim beyond a float", "ci", ci("note", json.Number("1e400")), oidc.ReasonClaim, too},
		{"ci: claim with a line break", "ci", ci("note", "a\nb"), oidc.ReasonClaim, ourOwn},
		{"ci: claim of 1 MiB", "ci", ci("note", strings.Repeat("a", 1<<20)), oidc.ReasonClaim, ourOwn},
		{"ci: claim replaces the default host", "ci", ci("url", "https://evil.example"), oidc.ReasonClaim, ourOwn},
		{"ci: host continued by a claim", "open", ci("path", ".evil.example/x"), oidc.ReasonSAN, ourOwn},
		{"ci: host turned into user information by a claim", "open", ci("path", "@evil.example/x"), oidc.ReasonSAN, ourOwn},
		{"ci: port from a claim", "open", ci("path", ":8443/x"), oidc.ReasonSAN, ourOwn},
		{"ci: user information where the claim is the host", "free", ci("path", "good.example@evil.example/x"), oidc.ReasonSAN, ourOwn},
		{"ci: no host where the claim is the host", "free", ci("path", "/x"), oidc.ReasonSAN, ourOwn},
		{"ci: name that is no URI", "bare", ci("path", "a b:c"), oidc.ReasonSAN, too},
		{"ci: name without a host", "bare", ci("path", "plain"), oidc.ReasonSAN, ourOwn},
		{"ci: host beyond ASCII", "free", ci("path", "größe.example/x"), oidc.ReasonSAN, too},
		{"ci: host with an empty label", "free", ci("path", "a..example/x"), oidc.ReasonSAN, too},
	} {
		t.Run(tc.name, func(t *testing.T) {
			iss := "https://" + tc.host + ".example.com"
			tc.claims["iss"] = iss
			got, err := ours(t, cfg, iss, tc.claims)
			te, ok := err.(*oidc.TokenError)
			if !ok || te.Reason != tc.want {
				t.Fatalf("got %+v, %v; want reason %s", got, err, tc.want)
			}
			if len(te.Error()) > 600 {
				t.Errorf("error text of %d bytes", len(te.Error()))
			}
			if _, err := upstream(t, up, typeOf(t, cfg, iss), tc.claims); (err != nil) != tc.upstream {
				t.Errorf("upstream: %v; the row says it refuses: %v", err, tc.upstream)
			}
		})
	}
}

// ciTestConfig continues testConfig.
const ciTestConfig = `
  https://ci.example.com: {issuer-url: "https://ci.example.com", client-id: sigstore, type: ci-provider, ci-provider: ci}
  https://open.example.com: {issuer-url: "https://open.example.com", client-id: sigstore, type: ci-provider, ci-provider: open}
  https://free.example.com: {issuer-url: "https://free.example.com", client-id: sigstore, type: ci-provider, ci-provider: free}
  https://bare.example.com: {issuer-url: "https://bare.example.com", client-id: sigstore, type: ci-provider, ci-provider: bare}
  https://may.example.com: {issuer-url: "https://may.example.com", client-id: sigstore, type: ci-provider, ci-provider: may}
ci-issuer-metadata:
  ci:
    default-template-values: {url: "https://good.example", environment: ""}
    extension-templates: {build-trigger: note, deployment-environment: environment}
    subject-alternative-name-template: "{{ .url }}/{{ .path }}"
  open:
    default-template-values: {url: "https://good.example"}
    subject-alternative-name-template: "{{ .url }}{{ .path }}"
  free:
    subject-alternative-name-template: "https://{{ .path }}"
  bare:
    subject-alternative-name-template: path
  may:
    default-template-values: {url: "https://good.example"}
    claims-may-override: [url]
    subject-alternative-name-template: "{{ .url }}/{{ .path }}"
`

// Defaults and claims of one name: who wins.
func TestDefaultsAndClaims(t *testing.T) {
	cfg, _ := configs(t, []byte(testConfig+ciTestConfig))
	for _, tc := range []struct {
		name, host string
		claims     map[string]any
		san        string
	}{
		{"the default", "ci", map[string]any{"sub": "s", "path": "a", "note": "n"}, "https://good.example/a"},
		{"a claim equal to the default", "ci", map[string]any{"sub": "s", "path": "a", "note": "n", "url": "https://good.example"}, "https://good.example/a"},
		{"a claim that may override", "may", map[string]any{"sub": "s", "path": "a", "url": "https://other.example"}, "https://other.example/a"},
	} {
		id, err := ours(t, cfg, "https://"+tc.host+".example.com", tc.claims)
		if err != nil || id.SANText != tc.san {
			t.Errorf("%s: %q, %v; want %q", tc.name, id.SANText, err, tc.san)
		}
	}
	// An empty default marks an optional claim: the claim wins, and without it the extension is left out.
	for env, want := range map[any]int{"prod": 1, nil: 0} {
		id, err := ours(t, cfg, "https://ci.example.com", map[string]any{"sub": "s", "path": "a", "note": "n", "environment": env})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, e := range id.Extensions {
			if e.Id[len(e.Id)-1] == 23 {
				n++
			}
		}
		if n != want {
			t.Errorf("environment %v: %d extensions .23, want %d", env, n, want)
		}
	}
}

// The one place where accepted tokens differ from upstream's bytes (doc.go).
func TestLargeNumbersAreReadable(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "999999": "999999", "1234567": "1234567", "9007199254740991": "9007199254740991", "1e3": "1000", "-5": "-5", "0.5": "0.5", "1.50": "1.5",
	} {
		if got, err := number(json.Number(in)); err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"9007199254740993", "1e16", "1e400", "1e999999999", "-1e400"} {
		if got, err := number(json.Number(in)); err == nil {
			t.Errorf("%s = %q, want an error", in, got)
		}
	}
}

// The development issuer's tokens name a person, a workflow or a client.
func TestAlternatives(t *testing.T) {
	cfg := &oidc.Config{}
	iss := "http://127.0.0.1:8080"
	if err := cfg.Add(oidc.Issuer{URL: iss, Audience: "sigstore", Type: oidc.TypeEmail,
		Alternatives: []oidc.Type{oidc.TypeGitHub, oidc.TypeURI}, SubjectDomain: iss}); err != nil {
		t.Fatal(err)
	}
	for want, claims := range map[string]map[string]any{
		"dev@example.com": person(),
		"https://github.com/octo-org/tools/.github/workflows/sign.yml@refs/tags/v1": githubClaims(),
		iss + "/clients/ci": {"sub": iss + "/clients/ci"},
	} {
		if id, err := ours(t, cfg, iss, claims); err != nil || id.SANText != want {
			t.Errorf("%q, %v; want %q", id.SANText, err, want)
		}
	}
	if id, err := ours(t, cfg, iss, map[string]any{"sub": "anybody"}); err == nil {
		t.Errorf("a token that names nobody became %q", id.SANText)
	}
	if id, err := ours(t, cfg, iss, with(githubClaims(), map[string]any{"email": "dev@example.com"})); err == nil {
		t.Errorf("an unverified address fell through to another type: %q", id.SANText)
	}
	if got := fmt.Sprint(cfg.PublicConfiguration()); !strings.Contains(got, "email") {
		t.Error(got)
	}
}
