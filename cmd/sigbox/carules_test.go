package main

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// withRules writes rules for the site's workflows.
func (s *tokenSite) withRules(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(s.dir, "rules.yaml")
	writeText(t, file, ciURL+":\n"+text)
	s.args = append(s.args, "--rules", file)
}

const branchRules = `  - {name: our repositories, allow: 'claims.repository.startsWith("example/")', reason: only repositories of example may sign}
  - {name: main only, allow: 'claims.ref == "refs/heads/main"', reason: sign from main}
`

// TestExplainTokenRules: which rule decides, what the caller reads, and whose rules do not count.
func TestExplainTokenRules(t *testing.T) {
	s := newTokenSite(t)
	s.withRules(t, branchRules)
	mail := map[string]any{"iss": mailURL, "email": "dev@example.com", "email_verified": true}
	for _, tc := range []struct{ name, raw, want, refused string }{
		{"allowed", s.token(t, nil), "rules pass all 2 of the issuer allow it", ""},
		{"denied", s.token(t, map[string]any{"ref": "refs/heads/x"}), `rules FAIL rule "main only" of issuer ` + ciURL + ` does not allow it`, "rules"},
		{"denied by a claim that is missing, which the name does not need", s.token(t, map[string]any{"ref": nil}), "", "name"},
		{"expired and denied", s.token(t, map[string]any{"ref": "refs/heads/x", "exp": 1}), "rules FAIL", "exp, rules"},
		{"another issuer", s.token(t, mail), "rules pass the issuer has none", ""},
	} {
		out, stderr, code := s.explain(t, tc.raw)
		if got := line(out, "rules"); !strings.HasPrefix(got, tc.want) || (code == 0) != (tc.refused == "") || tc.refused != "" && !strings.HasSuffix(stderr, "refused: "+tc.refused+"\n") {
			t.Errorf("%s: exit code %d, %q, want %q and %q\n%s%s", tc.name, code, got, tc.want, tc.refused, out, stderr)
		}
	}
	if out, _, _ := s.explain(t, s.token(t, map[string]any{"ref": "refs/heads/x"})); line(out, "the") != "the caller reads: sign from main" {
		t.Errorf("%s", out)
	}
}

// TestTestRules has a row for each way that a case can end.
func TestTestRules(t *testing.T) {
	s := newTokenSite(t)
	s.withRules(t, branchRules)
	const claims = `iss: https://ci.example.com, sub: s, event_name: push, sha: "1", workflow: w, job_workflow_ref: example/app/w.yml@refs/heads/main,
    job_workflow_sha: "1", runner_environment: x, repository_id: "1", repository_owner: example, repository_owner_id: "2",
    workflow_ref: example/app/w.yml@r, workflow_sha: "1", run_id: "7", run_attempt: "1", repository_visibility: private`
	sum := sha256.Sum256([]byte(`{"issuer":"` + ciURL + `","rules":[{"name":"our repositories","allow":"claims.repository.startsWith(\"example/\")","reason":"only repositories of example may sign"},{"name":"main only","allow":"claims.ref == \"refs/heads/main\"","reason":"sign from main"}]}`))
	for _, tc := range []struct {
		name, repository, ref, want string
		code                        int
		line                        string
		stderr                      string
	}{
		{"allowed as wanted", "example/app", "refs/heads/main", "want: allowed", 0, "ok c allowed allowed", ""},
		{"denied as wanted", "example/app", "refs/heads/x", "want: denied, rule: main only", 0, "ok c denied by main only denied by main only", ""},
		{"denied, not wanted", "example/app", "refs/heads/x", "want: allowed", 1, "WRONG c denied by main only allowed", ""},
		{"allowed, not wanted", "example/app", "refs/heads/main", "want: denied, rule: main only", 1, "WRONG c allowed denied by main only", ""},
		{"denied by another rule", "other/app", "refs/heads/x", "want: denied, rule: main only", 1, "WRONG c denied by our repositories denied by main only", ""},
		{"no name can be made", "''", "refs/heads/main", "want: allowed", 1, "WRONG c refused before the rules:", ""},
		{"no such verdict", "example/app", "refs/heads/main", "want: maybe", 1, "", "want is allowed or denied, not \"maybe\""},
		{"denied by what", "example/app", "refs/heads/main", "want: denied", 1, "", "rule names the rule that denies"},
		{"a key that is not known", "example/app", "refs/heads/main", "want: allowed, wants: x", 1, "", "field wants not found"},
	} {
		file := filepath.Join(t.TempDir(), "cases.yaml")
		writeText(t, file, "- {name: c, claims: {"+claims+", repository: "+tc.repository+", ref: "+tc.ref+"}, "+tc.want+"}\n")
		out, stderr, code := run(t, append([]string{"ca", "test-rules", file}, s.args...)...)
		if got := line(out, strings.SplitN(tc.line, " ", 2)[0]); code != tc.code || !strings.HasPrefix(got, tc.line) || !strings.Contains(stderr, tc.stderr) {
			t.Errorf("%s: exit code %d, %q, want %q and %q\n%s%s", tc.name, code, got, tc.line, tc.stderr, out, stderr)
		}
		if tc.line != "" && !strings.HasSuffix(out, fmt.Sprintf("\nrules of %s: SHA-256 %x\n", ciURL, sum)) {
			t.Errorf("%s: want %x, which records name:\n%s", tc.name, sum, out)
		}
	}
	s.withRules(t, "  - {name: n, allow: claims.ref, reason: r}\n")
	if _, stderr, code := s.explain(t, s.token(t, nil)); code != 1 || !strings.Contains(stderr, "rules.yaml:2: allow yields dyn") {
		t.Errorf("wrong rules: exit code %d\n%s", code, stderr)
	}
}
