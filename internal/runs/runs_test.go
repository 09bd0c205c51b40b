package runs

import (
	"os"
	"path/filepath"
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

// TestRowsAreOfTheTable: what the files hold is what the README's table, which the end-to-end tests compare with what
// they find, still says: a row that no test has any more, or whose outcome has changed, is to be run again.
func TestRowsAreOfTheTable(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	type key struct {
		client, what string
		log          int
	}
	outcomes := map[key][]string{}
	names, err := filepath.Glob("results/*.json")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for i := range names {
		names[i] = strings.TrimSuffix(filepath.Base(names[i]), ".json")
	}
	for line := range strings.Lines(string(readme)) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) != 4 {
			continue
		}
		whose, what := cells[0], cells[1]
		for _, client := range names {
			as := []string{what, whose + ": " + what}
			if strings.ToLower(strings.ReplaceAll(whose, " ", "-")) == client {
				as = as[:1]
			}
			for _, name := range as {
				for log, outcome := range []string{cells[2], cells[2], cells[3]} {
					k := key{client, name, log}
					outcomes[k] = append(outcomes[k], outcome)
				}
			}
		}
	}
	for _, client := range names {
		f, err := Read(Embedded(), client)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range f.Rows {
			if want := outcomes[key{client, r.What, r.Log}]; !slices.Contains(want, r.Outcome) {
				t.Errorf("%s, Rekor v%d: %q was %q, and the README says %q", client, r.Log, r.What, r.Outcome, want)
			}
		}
	}
}
