package clients

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

const origin = "https://sigstore.example.com"

// trust is what an instance at origin publishes.
func trust(t *testing.T) Trust {
	t.Helper()
	now := time.Now()
	r := tuftest.Repository(t, tuftest.Config(t, clock.NewManual(now)), tuftest.Material(t, origin, now))
	return Published(r.Published(), origin+"/tuf")
}

func instance(t *testing.T, c Choices) *Instance {
	t.Helper()
	i, err := FromTrust(trust(t), c)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func all(t *testing.T) []*Client {
	t.Helper()
	list, err := All()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// wanted are the consumers that issue 5 names, and none is forgotten.
var wanted = []string{
	"cosign-2", "cosign-3", "rekor-cli", "github-actions", "gitlab-ci", "jenkins", "tekton", "tekton-chains", "flux", "kubewarden", "ratify",
	"containers-image", "gitsign", "policy-controller", "kyverno", "sigstore-js", "sigstore-go", "sigstore-python", "sigstore-java",
}

func TestEveryConsumerIsThere(t *testing.T) {
	var names []string
	for _, c := range all(t) {
		names = append(names, c.Name)
	}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			t.Errorf("there is no consumers/%s.txt", name)
		}
	}
}

// TestFiles: everything that is written for an instance is what its name says, for the instance, and says
// what it needs.
func TestFiles(t *testing.T) {
	i := instance(t, Choices{})
	for _, c := range all(t) {
		r, err := c.Render(i)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(r.Files) != len(c.files) {
			t.Errorf("%s: %d of %d files are blank for a whole instance", c.Name, len(c.files)-len(r.Files), len(c.files))
		}
		if len(c.Cannot) == 0 {
			t.Errorf("%s: it cannot be that there is nothing that it cannot do", c.Name)
		}
		var everything strings.Builder
		for _, f := range r.Files {
			everything.WriteString(f.Text)
			if err := check(t, f); err != nil {
				t.Errorf("%s: %s: %v\n%s", c.Name, f.Path, err, f.Text)
			}
		}
		for _, name := range c.Needs {
			if _, err := i.needed(name); err != nil {
				t.Errorf("%s needs %s: %v", c.Name, name, err)
			}
		}
		for _, m := range regexp.MustCompile(`sigbox-trust/([\w./-]*\w)`).FindAllStringSubmatch(everything.String(), -1) {
			own := slices.ContainsFunc(r.Files, func(f File) bool { return f.Path == m[1] })
			if !own && !slices.Contains(c.Needs, m[1]) {
				t.Errorf("%s: its files refer to %s, which is not among what it needs", c.Name, m[1])
			}
		}
	}
}

// claim is what looks like a version of a client or a day.
var claim = regexp.MustCompile(`\bv?[0-9]+\.[0-9]+\.[0-9]+\b|\b20[0-9][0-9]-[01][0-9]-[0-3][0-9]\b`)

// claims returns the versions and days that a consumer's file names by itself.
func claims(text string) []string {
	return slices.DeleteFunc(claim.FindAllString(text, -1), func(s string) bool { return s == "127.0.0" })
}

// TestNoVersionWithoutARun: a template says no version by itself, and the one that a result file would give
// is not to be had without it.
func TestNoVersionWithoutARun(t *testing.T) {
	names, err := fs.Glob(consumers, "consumers/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	shared, err := fs.Glob(consumers, "consumers/shared/*")
	names = append(names, shared...)
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		raw, err := fs.ReadFile(consumers, name)
		if err != nil {
			t.Fatal(err)
		}
		if found := claims(string(raw)); len(found) > 0 {
			t.Errorf("%s names %q: what was run is said by {{version \"NAME\"}}, from the result file", name, found)
		}
	}
	for text, want := range map[string]int{
		"cosign v3.1.3": 1, "Kyverno 1.19.1 of 2026-11-26": 2, "policy.sigstore.dev/v1alpha1": 0, "actions/checkout@v4": 0, "bundle.v0.3+json": 0, "http://127.0.0.1": 0,
	} {
		if got := claims(text); len(got) != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	c, err := parse(consumers, "nobody", "title: x\ngroup: library\nabout: x\n-- a.sh --\n# {{version \"nobody\"}}\n")
	if err != nil {
		t.Fatal(err)
	}
	if r, err := c.Render(instance(t, Choices{})); err == nil || !strings.Contains(err.Error(), "no run of nobody is on record") {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestEvidence(t *testing.T) {
	row := func(date, version string) string {
		return `{"what": "sign", "log": 1, "version": "` + version + `", "date": "` + date + `", "commit": "` + strings.Repeat("a", 40) +
			`", "outcome": "yes", "commands": [{"line": "x", "exit": 0, "output": "` + strings.Repeat("b", 64) + `"}]}`
	}
	c := &Client{Name: "x", Parts: []Part{{"a.sh", "z", "sign"}, {"b.sh", "z", "other"}, {"c.sh", "nobody", "sign"}}}
	z := &fstest.MapFile{Data: []byte(`{"client": "z", "rows": [` + row("2026-11-02", "v9") + `]}`)}
	for name, tc := range map[string]struct{ file, want, fails string }{
		"no file":         {"", NotRun, ""},
		"parts":           {"", NotRun + "; a.sh: z v9, 2026-11-02", ""},
		"newest row":      {`{"client": "x", "rows": [` + row("2026-11-02", "v2") + `,` + strings.Replace(row("2026-11-01", "v1"), `"log": 1`, `"log": 2`, 1) + `]}`, "v2, run on 2026-11-02", ""},
		"a row twice":     {`{"client": "x", "rows": [` + row("2026-11-02", "v2") + `,` + row("2026-11-01", "v1") + `]}`, "", "twice"},
		"of another":      {`{"client": "y", "rows": [` + row("2026-11-02", "v2") + `]}`, "", `the file is of "y"`},
		"no rows":         {`{"client": "x", "rows": []}`, "", "0 rows"},
		"no version":      {`{"client": "x", "rows": [` + row("2026-11-02", "") + `]}`, "", "it lacks"},
		"no such thing":   {`{"client": "x", "tested": true, "rows": [` + row("2026-11-02", "v2") + `]}`, "", "unknown field"},
		"no output":       {`{"client": "x", "rows": [` + strings.Replace(row("2026-11-02", "v2"), strings.Repeat("b", 64), "", 1) + `]}`, "", "SHA-256"},
		"another Rekor":   {`{"client": "x", "rows": [` + strings.Replace(row("2026-11-02", "v2"), `"log": 1`, `"log": 3`, 1) + `]}`, "", "no Rekor v3"},
		"without command": {`{"client": "x", "rows": [` + regexp.MustCompile(`\[.*\]`).ReplaceAllString(row("2026-11-02", "v2"), "[]") + `]}`, "", "no commands"},
	} {
		results := fstest.MapFS{}
		if name == "parts" {
			results["z.json"] = z
		}
		if tc.file != "" {
			results["x.json"] = &fstest.MapFile{Data: []byte(tc.file)}
		}
		got, err := c.evidence(results)
		if got != tc.want || (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestParse(t *testing.T) {
	head := "title: x\ngroup: library\nabout: x\n"
	for name, tc := range map[string]struct{ text, want string }{
		"whole":              {head + "no v2: why\n-- a/b.sh --\n. {{.Mirror | sh}}\n", ""},
		"no files":           {head, "no files"},
		"no title":           {"group: library\nabout: x\n-- a --\n", "wants title"},
		"no such group":      {"title: x\ngroup: other\nabout: x\n-- a --\n", "a group of command line"},
		"unknown key":        {head + "version: v1\n-- a --\n", `"version" is no key`},
		"a key twice":        {head + "title: y\n-- a --\n", `"title" is no key, or is there twice`},
		"no such column":     {head + "no v3: why\n-- a --\n", `"no v3" is no key`},
		"a column twice":     {head + "no v2: why\npartly v2: why\n-- a --\n", "there twice"},
		"an empty value":     {head + "cannot:\n-- a --\n", "has no value"},
		"a path upwards":     {head + "-- ../a --\n", "not the path of a file"},
		"an absolute path":   {head + "-- /etc/a --\n", "not the path of a file"},
		"a path twice":       {head + "-- a --\nx\n-- a --\n", "there twice"},
		"broken template":    {head + "-- a --\n{{.Mirror\n", "unclosed action"},
		"printed bare":       {head + "-- a --\n{{.Mirror}}\n", "does not say how it is quoted"},
		"quoted, then bare":  {head + "-- a --\n{{.Mirror | sh | printf \"%s\"}}\n", "does not say how it is quoted"},
		"bare in a range":    {head + "-- a --\n{{range .Logs}}{{.URL}}{{end}}\n", "does not say how it is quoted"},
		"bare in an else":    {head + "-- a --\n{{if .TSA}}{{else}}{{.Mirror}}{{end}}\n", "does not say how it is quoted"},
		"bare in a with":     {head + "-- a --\n{{with .TSA}}{{.}}{{end}}\n", "does not say how it is quoted"},
		"another template":   {head + "-- a --\n{{define \"b\"}}{{.Mirror}}{{end}}{{template \"b\" .}}\n", "call no other"},
		"from another file":  {head + "-- a.sh from sign.sh --\n", ""},
		"from no file":       {head + "-- a.sh from missing.sh --\n", "file does not exist"},
		"from upwards":       {head + "-- a.sh from ../cosign-3.txt --\n", "want PATH"},
		"text twice":         {head + "-- a.sh from sign.sh --\nx\n", "has a text of its own"},
		"some other word":    {head + "-- a.sh raw --\n", "want PATH"},
		"verbatim":           {head + "-- a.sh verbatim --\n{{.Mirror}}\n", ""},
		"a literal":          {head + "-- a.sh --\n{{\"{{\"}}\n", ""},
		"half a part":        {head + "part: a | b\n-- a --\n", "want PATH"},
		"a number":           {head + "-- a.sh --\n{{1}}\n", "does not say how it is quoted"},
		"a variable is made": {head + "-- a --\n{{$x := .Mirror}}{{$x | yaml}}\n", ""},
	} {
		_, err := parse(consumers, "x", tc.text)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFromTrust(t *testing.T) {
	good := trust(t)
	with := func(change func(*Trust)) Trust {
		c := good
		c.Targets = map[string][]byte{}
		for name, raw := range good.Targets {
			c.Targets[name] = raw
		}
		change(&c)
		return c
	}
	for name, tc := range map[string]struct {
		trust   Trust
		want    string
		choices Choices
	}{
		"whole":              {good, "", Choices{}},
		"all chosen":         {good, "", Choices{Image: "registry.example.com:5000/a/b", Identity: "o'brien+ci@example.com", Issuer: "https://example.com/a%20b"}},
		"expression, image":  {good, "image", Choices{Image: "a${{x}}"}},
		"quote, image":       {good, "image", Choices{Image: "a'b"}},
		"blank, identity":    {good, "identity", Choices{Identity: "a b"}},
		"two lines, issuer":  {good, "issuer", Choices{Issuer: "https://a\nb"}},
		"long identity":      {good, "identity", Choices{Identity: strings.Repeat("a", 301)}},
		"no CT key":          {with(func(c *Trust) { delete(c.Targets, "ctfe.pub") }), "lacks the CA's chain", Choices{}},
		"no signing config":  {with(func(c *Trust) { delete(c.Targets, "signing_config.v0.2.json") }), "target signing_config.v0.2.json", Choices{}},
		"no trusted root":    {with(func(c *Trust) { c.Targets["trusted_root.json"] = []byte("[]") }), "target trusted_root.json", Choices{}},
		"expression in URL":  {with(func(c *Trust) { c.Mirror = origin + "/${{secrets.X}}" }), "cannot hold safely", Choices{}},
		"substitution":       {with(func(c *Trust) { c.Mirror = origin + "/$(id)" }), "cannot hold safely", Choices{}},
		"password":           {with(func(c *Trust) { c.Mirror = "https://me:secret@example.com" }), "cannot hold safely", Choices{}},
		"no URL":             {with(func(c *Trust) { c.Mirror = "file:///etc" }), "cannot hold safely", Choices{}},
		"issuer, a backtick": {with(func(c *Trust) { replace(c, "signing_config.v0.2.json", `"oidcUrls": \[\s*\{\s*"url": "`, "$0`id`") }), "issuer is at", Choices{}},
	} {
		_, err := FromTrust(tc.trust, tc.choices)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func replace(c *Trust, target, pattern, by string) {
	c.Targets[target] = regexp.MustCompile(pattern).ReplaceAll(c.Targets[target], []byte(strings.Replace(by, "$0", "${0}", 1)))
}

// TestWrite: what is written is what was rendered, with what it needs; a second time too.
func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b", "out")
	i := instance(t, Choices{Dir: dir})
	c, err := Find(all(t), "cosign-3")
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Render(i)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		names, err := r.Write(i, dir)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Clone(c.Needs)
		for _, f := range r.Files {
			want = append(want, f.Path)
			raw, err := os.ReadFile(filepath.Join(dir, f.Path))
			if err != nil || string(raw) != f.Text {
				t.Errorf("%s: %v", f.Path, err)
			}
		}
		if !reflect.DeepEqual(names, want) {
			t.Errorf("wrote %q, want %q", names, want)
		}
	}
	if out, err := exec.Command("sh", "-c", `. "$1" && printf %s "$TUF_ROOT_JSON"`, "sh", filepath.Join(dir, "env-cosign3.sh")).Output(); err != nil || string(out) != filepath.Join(dir, "root.json") {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := r.Write(i, filepath.Join(dir, "root.json")); err == nil {
		t.Error("a file is taken for a directory")
	}
	if _, err := Find(all(t), "cosign"); err == nil || !strings.Contains(err.Error(), "cosign-3") {
		t.Errorf("%v", err)
	}
	missing := &Rendered{Client: &Client{Needs: []string{"missing.json"}}}
	if _, err := missing.Write(i, dir); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestIssuers: what operators are to add is what the authority reads, and certificates say what the pipelines
// verify.
func TestIssuers(t *testing.T) {
	i, seen := instance(t, Choices{}), 0
	for _, c := range all(t) {
		r, err := c.Render(i)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Files {
			if f.Path != "issuers.yaml" {
				continue
			}
			seen++
			if _, err := oidc.ParseConfig(f.Path, []byte(f.Text)); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
		}
	}
	if seen < 4 {
		t.Errorf("only %d files were seen", seen)
	}
}
