package rules

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/ca/profile"
	"github.com/sigbox/sigbox/oidc"
)

const ci = "https://ci.example.com"

func known(t testing.TB) *oidc.Config {
	t.Helper()
	c := &oidc.Config{}
	for _, i := range []oidc.Issuer{
		{URL: ci, Audience: "sigstore", Type: oidc.TypeGitHub},
		{URL: "https://free.example.com", Audience: "sigstore", Type: oidc.TypeEmail},
		{URL: "https://*.runners.example.com", Meta: true, Audience: "sigstore", Type: oidc.TypeEmail},
	} {
		if err := c.Add(i); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// set is the rules of an issuer with these expressions, named by their place: 1, 2, ...
func set(t testing.TB, issuer string, allow ...string) *Set {
	t.Helper()
	text := fmt.Sprintf("%q:\n", issuer)
	for n, a := range allow {
		text += fmt.Sprintf("  - {name: \"%d\", reason: \"ask team %d\", allow: %q}\n", n+1, n+1, a)
	}
	s, err := Parse("rules.yaml", []byte(text), known(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func token(t testing.TB, iss, more string) *oidc.Token {
	t.Helper()
	tok, err := known(t).Unverified([]byte(fmt.Sprintf(`{"iss":%q,"sub":"somebody"%s}`, iss, more)))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestDecide has a row for each way to a decision. rule is the one that denies, "" for allowed.
func TestDecide(t *testing.T) {
	const claims = `,"ref":"refs/heads/main","groups":["dev","release"],"run":7,"part":0.5,"big":9007199254740993,"huge":1e400,"no":null,"k8s":{"ns":"prod"},"long":"` // closed below
	long := claims + strings.Repeat("a", 20000) + `"`
	for _, tc := range []struct {
		name  string
		allow []string
		rule  string
		err   string // of an evaluation that failed
	}{
		{"equal", []string{`claims.ref == "refs/heads/main"`}, "", ""},
		{"not equal", []string{`claims.ref == "refs/heads/x"`}, "1", ""},
		{"all must allow", []string{`true`, `claims.ref == "x"`, `true`}, "2", ""},
		{"the first that does not decides", []string{`true`, `false`, `false`}, "2", ""},
		{"a claim that is missing", []string{`claims.repository == "a"`}, "1", "no such key"},
		{"a claim asked for first", []string{`!has(claims.repository) || claims.repository == "a"`}, "", ""},
		{"a claim that is null", []string{`claims.no == "a"`}, "1", ""},
		{"a member of a list", []string{`"release" in claims.groups`}, "", ""},
		{"not a member", []string{`"admin" in claims.groups`}, "1", ""},
		{"nested", []string{`claims.k8s.ns == "prod"`}, "", ""},
		{"integer", []string{`claims.run == 7 && claims.run < 8`}, "", ""},
		{"fraction", []string{`claims.part < 1.0`}, "", ""},
		{"integer that no double holds", []string{`claims.big == 9007199254740993`}, "", ""},
		{"the one beside it", []string{`claims.big == 9007199254740992`}, "1", ""},
		{"number out of range is no number", []string{`claims.huge > 1`}, "1", "no such overload"},
		{"wrong type", []string{`claims.run.startsWith("7")`}, "1", "no such overload"},
		{"the name that would be certified", []string{`san.endsWith("@example.com")`}, "", ""},
		{"issuer and subject", []string{`issuer == "` + ci + `" && subject == "somebody"`}, "", ""},
		{"regular expression", []string{`claims.ref.matches("^refs/heads/(main|release-[0-9]+)$")`}, "", ""},
		{"too costly a text function", []string{`claims.long.contains(claims.long)`}, "1", "cost"},
		{"too many rounds", []string{`claims.groups.all(v0, claims.groups.all(v1, claims.groups.all(v2, claims.groups.all(v3, claims.groups.all(v4, claims.groups.all(v5, claims.groups.all(v6, claims.groups.all(v7, claims.groups.all(v8, claims.groups.all(v9, claims.groups.all(v10, claims.groups.all(v11, claims.groups.all(v12, claims.groups.all(v13, claims.groups.all(v14, claims.groups.all(v15, v0 + v15 != claims.ref))))))))))))))))`}, "1", "cost"},
		{"an error beside what decides", []string{`claims.nothing == 1 || true`}, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			grant, err := set(t, ci, tc.allow...).Decide(token(t, ci, long), profile.Identity{SANText: "dev@example.com"})
			var denied *DeniedError
			if errors.As(err, &denied) == (len(grant.Rules) > 0) {
				t.Errorf("what goes on record: %+v, %v", grant, err)
			}
			if !errors.As(err, &denied) {
				if tc.rule != "" || err != nil {
					t.Errorf("got %v, want denied by %s", err, tc.rule)
				}
				return
			}
			if denied.Rule != tc.rule || denied.Reason != "ask team "+tc.rule {
				t.Errorf("%+v, want rule %q", denied, tc.rule)
			}
			if (denied.Err != nil) != (tc.err != "") || tc.err != "" && !strings.Contains(denied.Err.Error(), tc.err) {
				t.Errorf("evaluation: %v, want %q", denied.Err, tc.err)
			}
		})
	}
}

// TestWhoseRules: an issuer without rules is not restricted, one that was not known when the rules were
// read is, and a pattern's rules are those of all issuers that it stands for.
func TestWhoseRules(t *testing.T) {
	later, err := Parse("rules.yaml", nil, &oidc.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		rules  *Set
		issuer string
		denied bool
	}{
		{"no file", nil, ci, false},
		{"another issuer's", set(t, ci, "false"), "https://free.example.com", false},
		{"its own", set(t, ci, "false"), ci, true},
		{"an issuer that came later", later, ci, true},
		{"the pattern's", set(t, "https://*.runners.example.com", "false"), "https://a.runners.example.com", true},
	} {
		if _, err := tc.rules.Decide(token(t, tc.issuer, ""), profile.Identity{}); (err != nil) != tc.denied {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// TestGrant: the hash of an issuer's rules is of what counts in them, in their order. Each row changes one
// thing of the file.
func TestGrant(t *testing.T) {
	const file = ci + `:
  - name: "a<b"
    allow: claims.ref == "x" && true
    reason: ask
  - {name: second, allow: "true", reason: ask too}
`
	want := sha256.Sum256([]byte(`{"issuer":"https://ci.example.com","rules":[{"name":"a<b","allow":"claims.ref == \"x\" && true","reason":"ask"},{"name":"second","allow":"true","reason":"ask too"}]}`))
	another := "https://free.example.com:\n  - {name: n, allow: 'false', reason: r}\n"
	for _, tc := range []struct {
		name, old, now string
		same           bool
	}{
		{"nothing", "", "", true},
		{"a comment", "  - {name", "  # of all\n  - {name", true},
		{"the way of writing", `"a<b"`, `'a<b'`, true},
		{"another issuer's rules", ci + ":", another + ci + ":", true},
		{"a name", "a<b", "a<c", false},
		{"an expression", `"x"`, `"y"`, false},
		{"a reason", "ask too", "ask two", false},
		{"a rule less", "  - {name: second, allow: \"true\", reason: ask too}\n", "", false},
		{"the order", "  - name: \"a<b\"", "  - {name: third, allow: \"true\", reason: r}\n  - name: \"a<b\"", false},
		{"the issuer", ci, "https://free.example.com", false},
	} {
		s, err := Parse("rules.yaml", []byte(strings.Replace(file, tc.old, tc.now, 1)), known(t))
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		issuer := ci
		if tc.name == "the issuer" {
			issuer = tc.now
		}
		g, err := s.Decide(token(t, issuer, `,"ref":"`+map[bool]string{true: "y", false: "x"}[tc.name == "an expression"]+`"`), profile.Identity{})
		if err != nil || (g.RulesSHA256 == want) != tc.same || !reflect.DeepEqual(g, s.Issuers()[issuer]) {
			t.Errorf("%s: %x, %v", tc.name, g.RulesSHA256, err)
		}
		if tc.same && !slices.Equal(g.Rules, []string{"a<b", "second"}) {
			t.Errorf("%s: rules %q", tc.name, g.Rules)
		}
	}
}

// TestParseRefuses has a row for each thing that must show when the file is loaded.
func TestParseRefuses(t *testing.T) {
	one := func(allow string) string {
		return ci + ":\n  - {name: n, reason: r, allow: " + fmt.Sprintf("%q", allow) + "}\n"
	}
	for _, tc := range []struct{ name, text, want string }{
		{"issuer that nobody has", strings.Replace(one("true"), ci, ci+"/", 1), "rules.yaml:1: issuer \"https://ci.example.com/\" is not configured"},
		{"issuer twice", one("true") + one("true"), "rules.yaml:3: https://ci.example.com is there twice"},
		{"no list", ci + ": {}\n", "want a list of 1 to 100 rules"},
		{"empty list", ci + ": []\n", "want a list of 1 to 100 rules"},
		{"too many", ci + ": [" + strings.Repeat("{name: a, allow: 'true', reason: r},", 101) + "]\n", "want a list of 1 to 100 rules"},
		{"a list of issuers", "- a\n", "want issuers, each with a list of rules"},
		{"a rule that is text", ci + ": [x]\n", "want a rule with name, allow and reason"},
		{"unknown key", ci + ": [{name: a, allow: 'true', reason: r, deny: x}]\n", "deny: there is no such key"},
		{"no name", ci + ": [{allow: 'true', reason: r}]\n", "a rule has no name"},
		{"no allow", ci + ": [{name: a, reason: r}]\n", "a rule has no allow"},
		{"no reason", ci + ": [{name: a, allow: 'true'}]\n", "a rule has no reason"},
		{"name twice", ci + ": [{name: a, allow: 'true', reason: r}, {name: a, allow: 'true', reason: r}]\n", `the name "a" is taken`},
		{"reason of two lines", ci + ": [{name: a, allow: 'true', reason: \"a\\nb\"}]\n", "reason: want one line"},
		{"two documents", one("true") + "---\na: b\n", "more than one document"},
		{"not YAML", "a: [", "rules.yaml: yaml"},
		{"too large", strings.Repeat("#", maxFile+1), "larger than"},
		{"empty expression", one(" "), "is empty"},
		{"no expression", one("claims.a =="), "is no CEL expression"},
		{"unknown variable", one("token.a == 1"), "undeclared reference to 'token'"},
		{"not true or false", one("claims.verified"), "yields dyn: want true or false"},
		{"a number", one("1"), "yields int"},
		{"too long", one(strings.Repeat(" ", maxExpression) + "true"), "is no CEL expression"},
		{"too deep", one(strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100)), "is no CEL expression"},
		{"too many nodes", one("true" + strings.Repeat("||true", 600)), "is no CEL expression"},
		{"bad regular expression", one(`san.matches("(")`), "invalid matches argument"},
		{"large regular expression", one(`san.matches("(a{30}){30}{2}")`), "is no CEL expression"},
		{"regular expression of a claim", one(`san.matches(claims.pattern)`), "gives matches a pattern that is not written out"},
		{"the clock", one(`now() > timestamp("2026-01-01T00:00:00Z")`), "undeclared reference to 'now'"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse("rules.yaml", []byte(tc.text), known(t))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func BenchmarkDecide(b *testing.B) {
	s := set(b, ci, `claims.ref == "refs/heads/main"`, `claims.repository.startsWith("example/")`, `claims.ref.matches("^refs/heads/[a-z]+$")`)
	tok := token(b, ci, `,"ref":"refs/heads/main","repository":"example/app"`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Decide(tok, profile.Identity{}); err != nil {
			b.Fatal(err)
		}
	}
}
