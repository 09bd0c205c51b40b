package profile

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sigbox/sigbox/oidc"
)

// Claims of good tokens, as the real issuers write them.
func githubClaims() map[string]any {
	return map[string]any{
		"sub": "repo:octo-org/octo-repo:environment:prod", "job_workflow_ref": "octo-org/tools/.github/workflows/sign.yml@refs/tags/v1",
		"sha": "3f786850e387550fdab836ed7e6dc881de23001b", "event_name": "workflow_dispatch", "repository": "octo-org/octo-repo",
		"workflow": "Release 🚀", "ref": "refs/heads/main", "job_workflow_sha": "89e6c98d92887913cadf06b2adb97f26cde4849b",
		"runner_environment": "github-hosted", "repository_id": "65", "repository_owner": "octo-org", "repository_owner_id": "12",
		"repository_visibility": "public", "workflow_ref": "octo-org/octo-repo/.github/workflows/release.yml@refs/heads/main",
		"workflow_sha": "2b66fd261ee5c6cfc8de7fa466bab600bcfe4f69", "run_id": "1234567890", "run_attempt": "2", "actor": "octocat", "environment": "prod",
	}
}

func gitlabClaims() map[string]any {
	return map[string]any{
		"sub": "project_path:group/project:ref_type:branch:ref:main", "project_path": "group/project", "project_id": "22", "pipeline_source": "push",
		"pipeline_id": "5", "ci_config_ref_uri": "gitlab.com/group/project//.gitlab-ci.yml@refs/heads/main", "ci_config_sha": "aaa",
		"namespace_path": "group", "namespace_id": "7", "job_id": "99", "ref": "main", "ref_type": "branch", "sha": "bbb",
		"runner_environment": "gitlab-hosted", "runner_id": 1, "project_visibility": "public",
	}
}

func k8sClaims() map[string]any {
	return map[string]any{"sub": "system:serviceaccount:build:signer", "kubernetes.io": map[string]any{
		"namespace": "build", "serviceaccount": map[string]any{"name": "signer", "uid": "x"}, "pod": map[string]any{"name": "p"}}}
}

func person() map[string]any {
	return map[string]any{"sub": "CgZ1c2VyEgRnaXRo", "email": "dev@example.com", "email_verified": true}
}

func with(base map[string]any, over map[string]any) map[string]any {
	out := maps.Clone(base)
	for k, v := range over {
		if v == gone {
			delete(out, k)
		} else {
			out[k] = v
		}
	}
	return out
}

// gone removes a claim; nil is the JSON null.
const gone = "\x00gone"

// TestEqualsUpstream: tokens that must be accepted, and become the same bytes as with Fulcio.
func TestEqualsUpstream(t *testing.T) {
	cfg, up := configs(t, []byte(testConfig))
	codefresh := map[string]any{"sub": "account:a:pipeline:p", "account_id": "aid", "account_name": "acme", "pipeline_id": "pid", "pipeline_name": "proj/pipe", "workflow_id": "wid"}
	for _, tc := range []struct {
		name, host string
		claims     map[string]any
	}{
		{"email", "email", person()},
		{"email verified as text", "email", with(person(), map[string]any{"email_verified": "true"})},
		{"email with every character an atom may have", "email", with(person(), map[string]any{"email": "a.B9!#$%&'*+/=?^_`{|}~-@sub-1.Example.com"})},
		{"email, verification skipped", "unverified", with(person(), map[string]any{"email_verified": gone})},
		{"email, issuer from a claim", "dex", with(person(), map[string]any{"federated_claims": map[string]any{"connector_id": "https://github.com/login/oauth"}})},
		{"github-workflow", "github", githubClaims()},
		{"github-workflow, branch that needs escaping", "github", with(githubClaims(), map[string]any{
			"ref": "refs/heads/fix#12 größe", "workflow_ref": "o/r/.github/workflows/a.yml@refs/heads/fix#12 größe",
			"job_workflow_ref": "o/r/.github/workflows/a.yml@refs/heads/fix#12 größe"})},
		{"github-workflow, emoji with a joiner", "github", with(githubClaims(), map[string]any{"workflow": "👩‍💻 CI"})},
		{"uri", "uri", map[string]any{"sub": "https://users.example.com/u/1"}},
		{"uri with query and fragment", "uri", map[string]any{"sub": "https://users.example.com/u?id=1#me"}},
		{"spiffe", "spiffe", map[string]any{"sub": "spiffe://example.com/ns/prod/sa/signer"}},
		{"spiffe, the trust domain itself", "spiffe", map[string]any{"sub": "spiffe://example.com"}},
		{"username", "username", map[string]any{"sub": "somebody"}},
		{"username beyond ASCII", "username", map[string]any{"sub": "größe"}},
		{"kubernetes", "k8s", k8sClaims()},
		{"chainguard", "chainguard", map[string]any{"sub": "fdd5bd5f/ce2d1a"}},
		{"chainguard with an e-mail address", "chainguard", with(person(), map[string]any{"sub": "fdd5bd5f"})},
		{"gitlab, branch", "gitlab", gitlabClaims()},
		{"gitlab, tag, optional claims missing", "gitlab", with(gitlabClaims(), map[string]any{"ref_type": "tag", "ci_config_sha": gone, "project_visibility": gone})},
		{"buildkite", "buildkite", map[string]any{"sub": "organization:acme:pipeline:p", "organization_slug": "acme", "pipeline_slug": "p"}},
		{"codefresh", "codefresh", codefresh},
		{"codefresh on a platform of its own", "codefresh", with(codefresh, map[string]any{"platform_url": "https://cf.example.org", "scm_ref": "main", "scm_repo_url": "https://github.com/a/b", "runner_environment": "hosted"})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			iss := "https://" + tc.host + ".example.com"
			tc.claims["iss"] = iss
			got, err := ours(t, cfg, iss, tc.claims)
			if err != nil {
				t.Fatal(err)
			}
			want, err := upstream(t, up, typeOf(t, cfg, iss), tc.claims)
			if err != nil {
				t.Fatalf("upstream refuses: %v", err)
			}
			compare(t, got, want)
			if got.Subject != tc.claims["sub"] || got.SANText == "" || got.Issuer == "" {
				t.Errorf("identity = %+v", got)
			}
		})
	}
}

func typeOf(t testing.TB, cfg *oidc.Config, iss string) oidc.Type {
	t.Helper()
	for _, i := range cfg.Issuers {
		if i.URL == iss {
			return i.Type
		}
	}
	t.Fatalf("no issuer %s", iss)
	return ""
}

// TestPublicTemplates runs the public instance's own templates on both sides.
func TestPublicTemplates(t *testing.T) {
	cfg, up := configs(t, publicConfig(t))
	circle := map[string]any{"sub": "org/1/project/2/user/3", "oidc.circleci.com/project-id": "proj", "oidc.circleci.com/pipeline-id": "pipe",
		"oidc.circleci.com/pipeline-definition-id": "def", "oidc.circleci.com/workflow-id": "wf", "oidc.circleci.com/job-id": "job",
		"oidc.circleci.com/vcs-ref": "refs/heads/main", "oidc.circleci.com/vcs-origin": "github.com/a/b", "oidc.circleci.com/ssh-rerun": false}
	buildkiteJob := map[string]any{"sub": "organization:acme:pipeline:p", "organization_slug": "acme", "pipeline_slug": "p", "build_number": 42,
		"job_id": "018-abc", "runner_environment": "self-hosted", "build_commit": "abc", "build_source": "webhook"}
	for _, tc := range []struct {
		name, iss string
		claims    map[string]any
	}{
		{"GitHub", "https://token.actions.githubusercontent.com", githubClaims()},
		{"GitHub without environment", "https://token.actions.githubusercontent.com", with(githubClaims(), map[string]any{"environment": gone})},
		{"GitHub, branch with a #", "https://token.actions.githubusercontent.com", with(githubClaims(), map[string]any{"job_workflow_ref": "o/r/a.yml@refs/heads/fix#12 x"})},
		{"GitHub, claim that looks like a template", "https://token.actions.githubusercontent.com", with(githubClaims(), map[string]any{"workflow": "{{.url}}{{printf \"%1000000d\" 1}}"})},
		{"GitLab", "https://gitlab.com", gitlabClaims()},
		{"GitLab, tag", "https://gitlab.com", with(gitlabClaims(), map[string]any{"ref_type": "tag"})},
		{"Codefresh", "https://oidc.codefresh.io", map[string]any{"sub": "s", "account_id": "aid", "account_name": "acme", "pipeline_id": "pid", "pipeline_name": "proj/pipe", "workflow_id": "wid"}},
		{"Buildkite, a number", "https://agent.buildkite.com", buildkiteJob},
		{"CircleCI", "https://oidc.circleci.com", circle},
		{"CircleCI, a boolean as text, claims missing under index", "https://oidc.circleci.com", with(circle, map[string]any{"oidc.circleci.com/ssh-rerun": true, "oidc.circleci.com/vcs-ref": gone})},
		{"Chainguard", "https://issuer.enforce.dev", map[string]any{"sub": "a/b"}},
		{"Dex", "https://oauth2.sigstore.dev/auth", with(person(), map[string]any{"federated_claims": map[string]any{"connector_id": "https://accounts.google.com"}})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.claims["iss"] = tc.iss
			got, err := ours(t, cfg, tc.iss, tc.claims)
			if err != nil {
				t.Fatal(err)
			}
			want, err := upstream(t, up, typeOf(t, cfg, tc.iss), tc.claims)
			if err != nil {
				t.Fatalf("upstream refuses: %v", err)
			}
			compare(t, got, want)
		})
	}
}

// The hard-coded GitHub mapping is what the public template makes, but for .23.
func TestGitHubTemplateEqualsType(t *testing.T) {
	public, _ := configs(t, publicConfig(t))
	hard, _ := configs(t, []byte("oidc-issuers:\n  https://token.actions.githubusercontent.com: {client-id: sigstore, type: github-workflow}\n"))
	iss := "https://token.actions.githubusercontent.com"
	a, err := ours(t, public, iss, with(githubClaims(), map[string]any{"environment": gone}))
	if err != nil {
		t.Fatal(err)
	}
	b, err := ours(t, hard, iss, githubClaims())
	if err != nil {
		t.Fatal(err)
	}
	if a.SANText != b.SANText || !slices.EqualFunc(a.Extensions, b.Extensions, equal) {
		t.Errorf("template\n%stype\n%s", list(a.Extensions), list(b.Extensions))
	}
}

// Whatever we accept, upstream accepts and states with the same bytes.
func TestAcceptedIsUpstreams(t *testing.T) {
	cfg, up := configs(t, []byte(testConfig))
	public, upPublic := configs(t, publicConfig(t))
	nasty := rapid.OneOf(
		rapid.StringMatching(`[a-z./@#?%:!\\ -]{1,20}`), rapid.StringMatching(`([a-z]{1,5}[./@]){1,4}[a-z]{1,4}`),
		rapid.SampledFrom([]string{"", "..", "../..", "//evil.example", "@evil.example/x", "%2e%2e/x", "a b", "ü", "a\nb", "\u202e", "{{.url}}", "?x", "#y", ":80", "<nil>"}), rapid.StringN(0, 20, -1))
	accepted := 0
	try := func(t *rapid.T, cfg *oidc.Config, iss string, claims map[string]any, theirs func() (stated, error)) {
		claims["iss"] = iss
		got, err := ours(&testing.T{}, cfg, iss, claims)
		if err != nil {
			if !errors.Is(err, oidc.ErrToken) {
				t.Fatalf("error of another class: %v", err)
			}
			return
		}
		accepted++
		want, err := theirs()
		if err != nil {
			t.Fatalf("we accept %q, upstream refuses: %v", claims, err)
		}
		if got.Challenge != want.Challenge || !equal(got.SAN, want.SAN) || !slices.EqualFunc(got.Extensions, want.Extensions, equal) {
			t.Fatalf("claims %q\nours %x\n%supstream %x\n%s", claims, got.SAN.Value, list(got.Extensions), want.SAN.Value, list(want.Extensions))
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		var iss string
		var claims map[string]any
		c, u := cfg, up
		switch rapid.IntRange(0, 6).Draw(rt, "type") {
		case 0:
			iss = "https://email.example.com"
			claims = with(person(), map[string]any{"email": rapid.OneOf(nasty, rapid.StringMatching(`[A-Za-z0-9!#$%&'*+/=?^_{|}~.-]{1,12}@[A-Za-z0-9.-]{1,12}`)).Draw(rt, "email")})
		case 1:
			iss, claims = "https://github.example.com", githubClaims()
		case 2:
			iss, claims, c, u = "https://token.actions.githubusercontent.com", githubClaims(), public, upPublic
		case 3:
			iss, claims, c, u = "https://gitlab.com", gitlabClaims(), public, upPublic
		case 4:
			iss = "https://uri.example.com"
			claims = map[string]any{"sub": rapid.SampledFrom([]string{"https://users.example.com", "https://users.example.com/", ""}).Draw(rt, "base") + nasty.Draw(rt, "rest")}
		case 5:
			iss = "https://spiffe.example.com"
			claims = map[string]any{"sub": rapid.SampledFrom([]string{"spiffe://example.com/", "spiffe://example.com", ""}).Draw(rt, "base") + nasty.Draw(rt, "rest")}
		case 6:
			iss = "https://username.example.com"
			claims = map[string]any{"sub": nasty.Draw(rt, "sub")}
		}
		if len(claims) > 3 {
			names := slices.Sorted(maps.Keys(claims))
			for range rapid.IntRange(0, 3).Draw(rt, "changes") {
				claims[rapid.SampledFrom(names).Draw(rt, "claim")] = nasty.Draw(rt, "value")
			}
		}
		if claims["sub"] == "" { // the verifier refuses it before
			claims["sub"] = "s"
		}
		try(rt, c, iss, claims, func() (stated, error) { return upstream(t, u, typeOf(t, c, iss), claims) })
	})
	if accepted == 0 {
		t.Error("nothing was accepted: the property was not tried")
	}
}

// The table and the configuration's list of types and extensions agree.
func TestTablesAreComplete(t *testing.T) {
	for _, typ := range oidc.Types() {
		if mappings[typ] == nil {
			t.Errorf("type %s may be configured and has no mapping", typ)
		}
		if upstreamMapping(typ) == nil {
			t.Errorf("type %s is not compared with upstream", typ)
		}
	}
	if got, want := len(numbers), len(oidc.ExtensionNames()); got != want {
		t.Errorf("%d numbers, %d names", got, want)
	}
	for i, name := range oidc.ExtensionNames() {
		if i > 0 && numbers[name] <= numbers[oidc.ExtensionNames()[i-1]] {
			t.Errorf("extension %s has no number or is out of order", name)
		}
	}
}

func FuzzFromToken(f *testing.F) {
	cfg, _ := configs(f, []byte(testConfig))
	for _, c := range []map[string]any{githubClaims(), gitlabClaims(), k8sClaims(), person()} {
		raw, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, 0)
	}
	f.Fuzz(func(t *testing.T, raw []byte, n int) {
		tok := &oidc.Token{IssuerURL: "https://x.example.com", Subject: "s"}
		dec := json.NewDecoder(strings.NewReader(string(raw)))
		dec.UseNumber()
		if dec.Decode(&tok.Claims) != nil || n < 0 {
			return
		}
		tok.Issuer = cfg.Issuers[n%len(cfg.Issuers)]
		id, err := FromToken(tok)
		if err == nil && (id.SANText == "" || len(id.SAN.Value) == 0 || len(id.Extensions) < 3) {
			t.Fatalf("accepted as %+v", id)
		}
		if err != nil && !errors.Is(err, oidc.ErrToken) {
			t.Fatalf("error of another class: %v", err)
		}
	})
}
