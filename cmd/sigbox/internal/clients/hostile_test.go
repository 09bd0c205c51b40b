package clients

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// evil is text that every language of our files reads something into. Were any of it run, there would be a
// file called PWNED.
const evil = `e'; touch PWNED; '"; touch PWNED; "$(touch PWNED)` + "`touch PWNED`" + `\" # : - & * ! | > < { } [ ] % @ {{.X}} \u0041 \é`

// values are what stands in every field of an Instance that is text and is no PEM: of a harmless and of a
// hostile instance.
type values struct{ harmless, hostile string }

// poison sets every such field, those of lists too, and returns the values. dir is not touched.
func poison(i *Instance, hostile bool) (list []values) {
	var walk func(v reflect.Value, name string)
	walk = func(v reflect.Value, name string) {
		switch v.Kind() {
		case reflect.Struct:
			for f := range v.NumField() {
				if v.Type().Field(f).IsExported() {
					walk(v.Field(f), name+v.Type().Field(f).Name)
				}
			}
		case reflect.Slice:
			for n := range v.Len() {
				walk(v.Index(n), fmt.Sprint(name, n))
			}
		case reflect.String:
			if strings.HasSuffix(name, "PEM") || v.String() == "" {
				return
			}
			val := values{"MARK" + name + "KRAM", evil + name}
			list = append(list, val)
			if hostile {
				v.SetString(val.hostile)
			} else {
				v.SetString(val.harmless)
			}
		}
	}
	walk(reflect.ValueOf(i).Elem(), "")
	return list
}

// TestHostileNames: whatever an instance and its user are called, the files keep their structure, and the
// names come out of them as they were.
func TestHostileNames(t *testing.T) {
	harmless, hostile := instance(t, Choices{Dir: "/trust"}), instance(t, Choices{Dir: "/trust"})
	*hostile = *harmless // the same keys
	hostile.CAs, hostile.TSAs, hostile.Logs, hostile.CTLogs = slices.Clone(harmless.CAs), slices.Clone(harmless.TSAs), slices.Clone(harmless.Logs), slices.Clone(harmless.CTLogs)
	list := poison(harmless, false)
	poison(hostile, true)
	if len(list) < 15 {
		t.Fatalf("only %d fields were found", len(list))
	}
	for _, c := range all(t) {
		a, err := c.Render(harmless)
		if err != nil {
			t.Error(err)
			continue
		}
		b, err := c.Render(hostile)
		if err != nil {
			t.Error(err)
			continue
		}
		for n := range a.Files {
			name := c.Name + ": " + a.Files[n].Path
			if err := check(t, b.Files[n]); err != nil {
				t.Errorf("%s: %v\n%s", name, err, b.Files[n].Text)
				continue
			}
			docsA, docsB := documents(t, a.Files[n]), documents(t, b.Files[n])
			if docsA != nil {
				same(t, name, docsA, docsB, list)
			} else if got, want := b.Files[n].Text, a.Files[n].Text; !matches(got, want, list) {
				t.Errorf("%s: a name came out as something else:\n%s", name, got)
			}
		}
	}
}

// documents is what a reader of YAML or JSON sees; nil for other kinds.
func documents(t *testing.T, f File) any {
	t.Helper()
	switch kind(f.Path) {
	case "yaml":
		docs, err := readYAML(f.Text)
		if err != nil {
			t.Fatal(err)
		}
		return docs
	case "json":
		var v any
		if err := json.Unmarshal([]byte(f.Text), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	return nil
}

// same compares what was read of the harmless and of the hostile instance.
func same(t *testing.T, where string, a, b any, list []values) {
	t.Helper()
	switch a := a.(type) {
	case map[string]any:
		m, ok := b.(map[string]any)
		if !ok || len(m) != len(a) {
			t.Errorf("%s: other keys: %v", where, b)
			return
		}
		for k := range a {
			v, ok := m[spoken(k, list)]
			if !ok {
				t.Errorf("%s: %s is missing in %v", where, k, slices.Sorted(maps.Keys(m)))
				continue
			}
			same(t, where+"."+k, a[k], v, list)
		}
	case []any:
		l, ok := b.([]any)
		if !ok || len(l) != len(a) {
			t.Errorf("%s: another list: %v", where, b)
			return
		}
		for n := range a {
			same(t, fmt.Sprintf("%s[%d]", where, n), a[n], l[n], list)
		}
	case string:
		s, ok := b.(string)
		if inner, err := readYAML(a); ok && err == nil && len(inner) == 1 {
			if m, isMap := inner[0].(map[string]any); isMap { // a file in a file
				other, err := readYAML(s)
				if err != nil {
					t.Errorf("%s: %v", where, err)
					return
				}
				same(t, where, []any{m}, other, list)
				return
			}
		}
		if ok && strings.HasPrefix(a, "^") { // a pattern that stands for one text
			ok = onlyMatches(s, spoken(strings.Trim(a, "^$"), list))
		} else {
			ok = ok && matches(s, a, list)
		}
		if !ok {
			t.Errorf("%s: a name came out as something else:\n%v\nwant\n%s", where, b, a)
		}
	default:
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: %v, want %v", where, b, a)
		}
	}
}

// onlyMatches says whether pattern matches the text, and not where more stands around it.
func onlyMatches(pattern, text string) bool {
	re, err := regexp.Compile(pattern)
	return err == nil && re.MatchString(text) && !re.MatchString("x"+text) && !re.MatchString(text+"x")
}

// spoken is a text of the harmless instance with the hostile names in it.
func spoken(text string, list []values) string {
	for _, v := range list {
		text = strings.ReplaceAll(text, v.harmless, v.hostile)
	}
	return text
}

// matches says whether got is the text of the harmless instance with the hostile names in it: as they are, or
// quoted in one of our ways, since a shell's script can stand in a YAML scalar.
func matches(got, harmless string, list []values) bool {
	way := func(quote func(string) (string, error)) bool {
		want := harmless
		for _, v := range list {
			q, err := quote(v.hostile)
			plain, err2 := quote(v.harmless)
			if err != nil || err2 != nil {
				return false
			}
			want = strings.ReplaceAll(want, plain, q)
		}
		return got == want
	}
	b64 := func(s string) (string, error) { return base64.StdEncoding.EncodeToString([]byte(s)), nil }
	asIs := func(s string) (string, error) { return s, nil }
	return way(asIs) || way(sh) || way(groovy) || way(scalar) || way(b64) || mixed(got, harmless, list)
}

// mixed compares scripts in which printf made longer words of names: both are split into shell words by a
// shell.
func mixed(got, harmless string, list []values) bool {
	a, errA := words(harmless)
	b, errB := words(got)
	if errA != nil || errB != nil || len(a) != len(b) {
		return false
	}
	for n := range a {
		if b[n] == spoken(a[n], list) {
			continue
		}
		if !strings.HasPrefix(a[n], "^") || !onlyMatches(b[n], spoken(strings.Trim(a[n], "^$"), list)) {
			return false
		}
	}
	return true
}

// words are the words of a script, quotes taken off. It knows single quotes, and double quotes in which we
// print nothing, and comments; what we print is in single quotes or plain.
func words(script string) (list []string, err error) {
	var word strings.Builder
	in, begun := byte(0), false
	for n := 0; n < len(script); n++ {
		switch c := script[n]; {
		case in == '\'' || in == '"':
			if c == in {
				in = 0
			} else {
				word.WriteByte(c)
			}
		case c == '\'' || c == '"':
			in, begun = c, true
		case c == '\\' && n+1 < len(script):
			n++
			word.WriteByte(script[n])
			begun = true
		case c == '#' && !begun:
			for n+1 < len(script) && script[n+1] != '\n' {
				n++
			}
		case strings.IndexByte(" \t\n", c) >= 0:
			if begun {
				list = append(list, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	if in != 0 {
		return nil, fmt.Errorf("a quote is not closed")
	}
	return append(list, word.String()), nil
}

// TestHostileScripts runs every script of a hostile instance, in a directory whose name is hostile, with
// programs that do nothing.
func TestHostileScripts(t *testing.T) {
	base := t.TempDir()
	bin, cwd := filepath.Join(base, "bin"), filepath.Join(base, "cwd")
	for _, d := range []string{bin, cwd} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"cosign", "rekor-cli", "openssl", "gitsign", "git", "kubectl", "kyverno", "policy-controller-tester", "sigstore", "npx", "npm", "node", "sha256sum", "cut", "ratify", "flux", "kwctl", "podman", "skopeo", "curl", "java", "python3", "install", "tkn", "helm", "tester", "sigbox", "mkdir", "tar", "sleep", "tail", "sigstore-go-signing", "sigstore-go-verification"} {
		if err := os.WriteFile(filepath.Join(bin, p), []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"touch", "mktemp", "rm", "base64"} {
		real, err := exec.LookPath(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(real, filepath.Join(bin, p)); err != nil {
			t.Fatal(err)
		}
	}
	scripts := 0
	for _, c := range all(t) {
		dir := filepath.Join(base, strings.ReplaceAll(evil, "/", "")+c.Name)
		i := instance(t, Choices{Dir: dir})
		poison(i, true)
		r, err := c.Render(i)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := r.Write(i, dir); err != nil {
			t.Error(err)
			continue
		}
		for _, f := range r.Files {
			if kind(f.Path) != "sh" {
				continue
			}
			scripts++
			cmd := exec.CommandContext(t.Context(), "/bin/sh", filepath.Join(dir, f.Path), "example.com/a@sha256:b", "sbom", "identity", "issuer")
			cmd.Dir, cmd.Env = cwd, []string{"PATH=" + bin, "HOME=" + cwd}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %v: %s", c.Name, f.Path, err, out)
			}
			if _, err := os.Stat(filepath.Join(cwd, "PWNED")); err == nil {
				t.Fatalf("%s: %s ran what was a name:\n%s", c.Name, f.Path, f.Text)
			}
		}
	}
	if scripts < 4 {
		t.Errorf("only %d scripts were run", scripts)
	}
}

// TestQuoting: what each function makes of a value, and that it refuses what its language cannot hold.
func TestQuoting(t *testing.T) {
	for _, tc := range []struct {
		f        func(string) (string, error)
		in, want string // want "" is a refusal
	}{
		{sh, "https://a.example/b", "https://a.example/b"},
		{sh, "", "''"},
		{sh, "it's", `'it'\''s'`},
		{sh, "a b", "'a b'"},
		{sh, "~/x", "'~/x'"},
		{sh, "a\nb", ""},
		{sh, "a\x00b", ""},
		{sh, "a\x7fb", ""},
		{scalar, "a\nb", `"a\nb"`},
		{scalar, `"\`, `"\"\\"`},
		{scalar, "<&>", `"<&>"`},
		{scalar, "\x7f\u0085\u2028\ufeff", `"\u007f\u0085\u2028\ufeff"`},
		{groovy, `it's \n $x`, `'it\'s \\n $x'`},
		{groovy, "a\nb", ""},
		{gitValue, `a "b" \c # é ; d`, `"a \"b\" \\c # é ; d"`},
		{gitValue, "a\nb", ""},
		{func(s string) (string, error) { return pemBlock(2, s) }, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", ""},
		{func(s string) (string, error) { return pemBlock(2, s) }, "no PEM", ""},
		{func(s string) (string, error) { return pemBlock(2, s) }, "-----BEGIN PUBLIC KEY-----\nX: y\n\nAAAA\n-----END PUBLIC KEY-----\n", "-----BEGIN PUBLIC KEY-----\n  AAAA\n  -----END PUBLIC KEY-----"},
		{func(s string) (string, error) { return pemBlock(2, s) }, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\nmore", ""},
	} {
		got, err := tc.f(tc.in)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%q: %q, %v; want %q", tc.in, got, err, tc.want)
		}
	}
}
