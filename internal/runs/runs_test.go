package runs

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func row(what string, log int, version string) Row {
	return Row{
		What: what, Log: log, Version: version, Date: "2026-11-26", Commit: strings.Repeat("c", 40), Outcome: "yes",
		Commands: []Command{{Line: `x > "y" & z`, Does: Sign, Output: strings.Repeat("a", 64)}},
	}
}

// TestWrite: part of the tests replaces its own rows and no others, and all of them replace everything.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	write := func(all bool, rows ...Row) []string {
		t.Helper()
		var r Results
		for _, one := range rows {
			r.Add("x", one)
		}
		if err := r.Write(dir, all); err != nil {
			t.Fatal(err)
		}
		f, err := Read(os.DirFS(dir), "x")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, one := range f.Rows {
			got = append(got, one.What+" "+one.Version)
		}
		return got
	}
	for _, tc := range []struct {
		what string
		got  []string
		want []string
	}{
		{"new", write(false, row("b", 1, "v1"), row("a", 2, "v1"), row("a", 1, "v1")), []string{"a v1", "a v1", "b v1"}},
		{"one again", write(false, row("a", 2, "v2")), []string{"a v1", "a v2", "b v1"}},
		{"one more", write(false, row("c", 0, "v2")), []string{"a v1", "a v2", "b v1", "c v2"}},
		{"everything", write(true, row("a", 1, "v3")), []string{"a v3"}},
		{"one in two parts", write(true, row("a", 1, "v4"), row("a", 1, "v4")), []string{"a v4"}},
	} {
		if !slices.Equal(tc.got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.what, tc.got, tc.want)
		}
	}
	raw, err := os.ReadFile(dir + "/x.json")
	if err != nil || !strings.Contains(string(raw), `"x > \"y\" & z"`) {
		t.Errorf("commands cannot be read: %s, %v", raw, err)
	}
	if err := os.WriteFile(dir+"/x.json", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	var r Results
	r.Add("x", row("a", 1, "v3"))
	if err := r.Write(dir, false); err == nil {
		t.Error("a broken file was written over")
	}
}

// TestEmbedded: every file that this program holds can be read.
func TestEmbedded(t *testing.T) {
	list, err := os.ReadDir("results")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		f, err := Read(Embedded(), name)
		if err != nil {
			t.Error(err)
		}
		for _, r := range f.Rows {
			if strings.Contains(r.Commit, "dirty") {
				t.Errorf("%s: row %q was run with changes that no commit has", name, r.What)
			}
		}
	}
}
