package profile

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/fulcio/pkg/config"

	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/oidc/presets"
)

const presetFixtures = "../../oidc/presets/testdata/"

// claimSet is what an issuer publishes of its tokens, for a configuration that has it.
type claimSet struct {
	name    string
	fixture presetFixture
	ours    *oidc.Config
	theirs  *config.FulcioConfig
}

// claimSets has an issuer of every type, and every template of the presets and of the public instance.
func claimSets(t *testing.T) (sets []claimSet) {
	t.Helper()
	add := func(name, file string, configuration func(f presetFixture) []byte) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := claimSet{name: name + " of " + filepath.Base(file)}
		if err := json.Unmarshal(raw, &s.fixture); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		s.ours, s.theirs = configs(t, configuration(s.fixture))
		sets = append(sets, s)
	}
	for _, row := range []struct {
		typ        oidc.Type
		file, more string
	}{
		{oidc.TypeEmail, presetFixtures + "google.json", ""},
		{oidc.TypeEmail, presetFixtures + "entra-id.json", ", skip-email-verification: true"},
		{oidc.TypeEmail, "testdata/claims/dex.json", ", issuer-claim: $.federated_claims.connector_id"},
		{oidc.TypeGitHub, presetFixtures + "github.json", ""},
		{oidc.TypeURI, presetFixtures + "jenkins.json", `, subject-domain: "https://jenkins.example.com"`},
		{oidc.TypeSPIFFE, presetFixtures + "spiffe.json", ", spiffe-trust-domain: example.com"},
		{oidc.TypeUsername, "testdata/claims/username.json", ", subject-domain: example.com"},
		{oidc.TypeKubernetes, presetFixtures + "kubernetes.json", ""},
		{oidc.TypeChainguard, "testdata/claims/chainguard.json", ""},
		{oidc.TypeGitLab, presetFixtures + "gitlab.json", ""},
		{oidc.TypeBuildkite, presetFixtures + "buildkite.json", ""},
		{oidc.TypeCodefresh, "testdata/claims/codefresh.json", ""},
	} {
		add(string(row.typ), row.file, func(f presetFixture) []byte {
			return fmt.Appendf(nil, "oidc-issuers:\n  %s: {issuer-url: %[1]q, client-id: sigstore, type: %s%s}\n", f.Claims["iss"], row.typ, row.more)
		})
	}
	add("the public instance's template", "testdata/claims/codefresh.json", func(presetFixture) []byte { return publicConfig(t) })
	list, err := presets.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		add("the template of the preset", presetFixtures+p.Name+".json", func(f presetFixture) []byte {
			raw, err := p.Configuration(f.Parameters)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		})
		if last := len(sets) - 1; sets[last].ours.Issuers[0].Type != oidc.TypeCIProvider {
			sets = sets[:last] // its type is above
		}
	}
	return sets
}

// stricter are the causes for which we refuse tokens that upstream takes (docs/design/0005, doc.go): what our
// refusal says, and of which sets.
var stricter = []struct{ sets, says string }{
	{`.*`, `(claim|subject).*unprintable character|issuer-claim .* not a fit string`},
	{`.*`, `longer than (1024|254) bytes`},
	{`(github|gitlab|codefresh)-.*|chainguard.*`, `holds an empty or a dot segment`},
	{`(github|gitlab|codefresh)-.*|chainguard.*`, `holds a % that is no escape`},
	{`kubernetes .*`, `names no namespace and service account`},
	{`kubernetes .*`, `claims kubernetes.io and sub disagree`},
	{`uri .*|the template .*`, `does not read back as itself`},
	{`(gitlab|codefresh)-.*|the .*template .*`, `has no scheme, no host`},
	{`(gitlab|codefresh)-.*|the .*template .*`, `host that is neither a name nor an address`},
	{`chainguard.*`, `email is not a verified address`}, // it is, and not printable
	{`username .*`, `looks like an e-mail address`},
	{`codefresh-workflow .*`, `claim (account|pipeline)_name is missing or empty`},
	{`the .*template .*`, `which the name is made of, is missing or empty`},
	{`the .*template .*`, `no claim and no default named|map has no entry for key`}, // null, where upstream writes <nil>
	{`the .*template .*`, `is an object or an array`},
	{`the .*template .*`, `would replace a default`},
}

// null is the one claim that becomes something else here than upstream: none.
const null = "a null claim counts as missing"

// saysNil says whether upstream has certified a null claim as text.
func saysNil(s stated) bool {
	return slices.ContainsFunc(append(s.Extensions, s.SAN), func(e pkix.Extension) bool {
		return bytes.Contains(e.Value, []byte("<nil>")) || bytes.Contains(e.Value, []byte("%3Cnil%3E"))
	})
}

// TestMutatedClaims changes each claim of what each issuer publishes, one at a time and in many ways: the
// certificate is upstream's to the byte, or neither issues one, or we do not, for a cause that is listed. Never
// is it only upstream that refuses.
func TestMutatedClaims(t *testing.T) {
	var mu sync.Mutex
	met := map[string]bool{}
	t.Run("sets", func(t *testing.T) {
		for _, s := range claimSets(t) {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				for _, cause := range s.try(t) {
					mu.Lock()
					met[cause] = true
					mu.Unlock()
				}
			})
		}
	})
	for _, row := range stricter {
		if !met[row.says] {
			t.Errorf("nothing is refused any more by us alone with %q", row.says)
		}
	}
	if !met[null] {
		t.Error("upstream writes <nil> no more")
	}
}

// try changes the claims of a set and returns the causes of what we alone refuse.
func (s claimSet) try(t *testing.T) (causes []string) {
	src := s.fixture.Source
	if day, err := time.Parse(time.DateOnly, src.Read); err != nil || day.Year() < 2026 || src.Document == "" || src.URL == "" || src.Version == "" {
		t.Errorf("the fixture does not say what it was written from: %+v", src)
	}
	iss := fmt.Sprint(s.fixture.Claims["iss"])
	typ := typeOf(t, s.ours, iss)
	got, err := ours(t, s.ours, iss, s.fixture.Claims)
	if err != nil || got.SANText != s.fixture.SAN {
		t.Fatalf("as it is published: %s, %v; want %s", got.SANText, err, s.fixture.SAN)
	}
	for _, path := range paths(s.fixture.Claims) {
		for name, m := range mutations {
			claims, ok := mutate(s.fixture.Claims, path, m)
			if !ok {
				continue
			}
			where := strings.Join(path, ".") + ": " + name
			got, err := ours(t, s.ours, iss, claims)
			want, theirs := upstream(t, s.theirs, typ, claims)
			switch {
			case err != nil && !errors.Is(err, oidc.ErrToken):
				t.Errorf("%s: error of another class: %v", where, err)
			case err == nil && theirs != nil:
				t.Errorf("%s: we certify %s, upstream refuses: %v", where, got.SANText, theirs)
			case err != nil && theirs == nil:
				n := slices.IndexFunc(stricter, func(row struct{ sets, says string }) bool {
					return regexp.MustCompile(`\A(`+row.sets+`)\z`).MatchString(s.name) && regexp.MustCompile(row.says).MatchString(err.Error())
				})
				if n < 0 {
					t.Errorf("%s: refused by us alone, for no cause that is listed: %v", where, err)
				} else {
					causes = append(causes, stricter[n].says)
				}
			case err == nil && name == "null" && saysNil(want):
				causes = append(causes, null)
			case err == nil:
				compare(t, got, want)
			}
			if t.Failed() {
				t.Fatalf("%s (the first of maybe many)", where)
			}
		}
	}
	return causes
}

// paths lists the claims of a token and the members of those that are objects, but for those that go-oidc
// reads, for both sides.
func paths(claims map[string]any) (out [][]string) {
	for name, v := range claims {
		if slices.Contains([]string{"iss", "aud", "exp", "iat", "nbf", "at_hash", "nonce"}, name) {
			continue
		}
		out = append(out, []string{name})
		if m, ok := v.(map[string]any); ok {
			for _, p := range paths(m) {
				out = append(out, append([]string{name}, p...))
			}
		}
	}
	slices.SortFunc(out, slices.Compare)
	return out
}

// mutation returns what a claim becomes; false where it is not for such a claim.
type mutation func(v any) (any, bool)

func to(v any) mutation { return func(any) (any, bool) { return v, true } }

// edit changes a claim that is text.
func edit(f func(string) string) mutation {
	return func(v any) (any, bool) {
		s, ok := v.(string)
		if !ok {
			return nil, false
		}
		return f(s), true
	}
}

func behind(more string) mutation { return edit(func(s string) string { return s + more }) }

var mutations = map[string]mutation{
	"gone": to(gone), "null": to(nil), "empty": to(""), "a word": to("x"), "a number": to(7), "zero": to(0), "true": to(true), "false": to(false), "true as text": to("true"),
	"an object": to(map[string]any{}), "an object of text": to(map[string]any{"a": "b"}), "an object of numbers": to(map[string]any{"a": 1}), "a list": to([]any{}), "a list of text": to([]any{"a"}),
	"a space": behind(" "), "a line": behind("\n"), "NUL": behind("\x00"), "right to left": behind("\u202e"), "not ASCII": behind("ü"), "too long": behind(strings.Repeat("a", 1025)),
	"a slash": behind("/"), "a slash before": edit(func(s string) string { return "/" + s }), "dots": behind("/../x"), "a query": behind("?x"), "a fragment": behind("#x"),
	"an escape": behind("%41"), "a broken escape": behind("%zz"), "a host": behind("@evil.example/x"), "a port": behind(":80"), "an exclamation mark": behind("!"),
	"capitals": edit(strings.ToUpper), "a template": behind("{{.sub}}"),
}

// mutate changes one claim of a copy of claims. A subject stays text, which the verifier has seen to.
func mutate(claims map[string]any, path []string, m mutation) (map[string]any, bool) {
	out := with(claims, nil)
	if len(path) > 1 {
		inner, ok := mutate(claims[path[0]].(map[string]any), path[1:], m)
		out[path[0]] = inner
		return out, ok
	}
	v, ok := m(claims[path[0]])
	if s, isText := v.(string); path[0] == "sub" && (!isText || s == "" || s == gone) {
		return nil, false
	}
	out[path[0]] = v
	if v == gone {
		delete(out, path[0])
	}
	return out, ok
}
