package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the tests compare with")

// golden compares a text with a file, or writes it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what it would be made to be now; run this test with -update and look at what changes\n%s", path, firstDifference(got, string(want)))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "now:  " + g[i] + "\nfile: " + w[i]
		}
	}
	return "one is longer"
}

func TestReference(t *testing.T) {
	golden(t, "../../../../docs/reference/configuration.md", Reference())
}

// TestEveryKeyIsExplained: what the page and the command say comes from comments that must be there.
func TestEveryKeyIsExplained(t *testing.T) {
	if len(Keys()) < 60 {
		t.Errorf("%d keys: the structs are not read", len(Keys()))
	}
	for _, k := range Keys() {
		if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s has no comment that is a sentence: %q", k.Path, k.Doc)
		}
		text, err := Explain(k.Path)
		if err != nil || !strings.Contains(text, k.Doc) {
			t.Errorf("explain %s: %v\n%s", k.Path, err, text)
		}
	}
	for _, tc := range []struct{ key, want string }{
		{"tlog.pol", "did you mean tlog.poll?"},
		{"poll", "there is tlog.poll"},
		{"nonsense", "lists the first ones"},
	} {
		if _, err := Explain(tc.key); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("explain %s: %v, want %q", tc.key, err, tc.want)
		}
	}
	all, err := Explain("")
	if err != nil || !strings.Contains(all, "  public_url") || strings.Contains(all, "tlog.poll") {
		t.Errorf("explain: %v\n%s", err, all)
	}
	item, err := Explain("tlog.rekor_v1.shards[0].tree_id")
	if err != nil || !strings.Contains(item, "at least 1; required in its section") {
		t.Errorf("explain an item: %v\n%s", err, item)
	}
}

// TestShow: what is shown is a configuration again, the same one, and has every default in it.
func TestShow(t *testing.T) {
	c, err := Parse("/etc/sigbox/sigbox.yaml", []byte(Example))
	if err != nil {
		t.Fatal(err)
	}
	shown := c.Show()
	golden(t, "testdata/show.yaml", shown)
	again, err := Parse("/elsewhere/sigbox.yaml", []byte(shown))
	if err != nil {
		t.Fatal(err)
	}
	if again.Show() != shown {
		t.Errorf("shown again it is:\n%s", again.Show())
	}
	none, err := Parse("x", []byte("public_url: http://x\ntlog: {database: 'host=/run', guard: none, rekor_v2: {key: x}}"))
	if err != nil || !strings.Contains(none.Show(), "\n  guard: none\n") || !none.TLog.Guard.None {
		t.Errorf("guard: none is shown as %v\n%v", none.Show(), err)
	}
}
