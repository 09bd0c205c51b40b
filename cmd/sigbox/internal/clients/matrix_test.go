package clients

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sigbox/sigbox/internal/runs"
)

var update = flag.Bool("update", false, "write ../../../../docs/clients.md anew")

// TestMatrix compares docs/clients.md with the results of the runs and the reasons of the consumers. With
// -update it writes the page.
func TestMatrix(t *testing.T) {
	page := filepath.Join("..", "..", "..", "..", "docs", "clients.md")
	want, err := Matrix(all(t), runs.Embedded(), readStorms(t))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have, err := os.ReadFile(page); err != nil || string(have) != want {
		t.Errorf("%s is not what the results say (%v): run `go test ./cmd/sigbox/internal/clients -run TestMatrix -update`, and commit both", page, err)
	}
}

// TestResultsHaveConsumers: a result file that belongs to nobody would be shown nowhere.
func TestResultsHaveConsumers(t *testing.T) {
	files, err := filepath.Glob("../../../../internal/runs/results/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, err := Find(all(t), strings.TrimSuffix(filepath.Base(f), ".json")); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestCells(t *testing.T) {
	run := func(log int, c runs.Command) *fstest.MapFile {
		c.Line, c.Output = "x", strings.Repeat("a", 64)
		dir := t.TempDir()
		var r runs.Results
		r.Add("x", runs.Row{What: "y", Log: log, Version: "v1", Date: "2026-11-26", Commit: strings.Repeat("c", 40), Outcome: "yes", Commands: []runs.Command{c}})
		if err := r.Write(dir, true); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(dir, "x.json"))
		if err != nil {
			t.Fatal(err)
		}
		return &fstest.MapFile{Data: raw}
	}
	no := func(columns ...string) map[string]Gap {
		m := map[string]Gap{}
		for _, c := range columns {
			m[c] = Gap{Why: "because"}
		}
		return m
	}
	verify := runs.Command{Does: runs.Verify}
	for name, tc := range map[string]struct {
		file        *fstest.MapFile
		gaps        map[string]Gap
		want, fails string
	}{
		"nothing on record":     {nil, nil, "| written, not run | not run (1) | not run (1) | not run (1) | not run (1) | not run (1) | not run (1) |", ""},
		"nothing, and a reason": {nil, no("sign"), "| written, not run | no (1) | not run (2) | not run (2) | not run (2) | not run (2) | not run (2) |", ""},
		"nothing, but partly":   {nil, map[string]Gap{"v2": {Partly: true, Why: "because"}}, "| not run (1) | not run (2) |", ""},
		"seen on v1":            {run(1, verify), no("sign", "attest", "offline", "v2"), "| v1, run on 2026-11-26 | no (1) | yes | no (1) | no (1) | yes | no (1) |", ""},
		"seen on v2":            {run(2, verify), no("sign", "attest", "offline", "v1"), "| no (1) | yes | no (1) | no (1) | no (1) | yes |", ""},
		"seen, but partly":      {run(1, verify), map[string]Gap{"verify": {Partly: true, Why: "so"}, "sign": {Why: "b"}, "attest": {Why: "b"}, "offline": {Why: "b"}, "v2": {Why: "b"}}, "| no (1) | partly (2) | no (1) |", ""},
		"offline":               {run(1, runs.Command{Does: runs.Verify, Offline: true}), no("sign", "attest", "v2"), "| no (1) | yes | no (1) | yes | yes | no (1) |", ""},
		"failed":                {run(1, runs.Command{Does: runs.Verify, Exit: 1}), no("sign", "attest", "offline", "v1", "v2"), "", "no run of verify and no reason"},
		"no reason":             {run(1, verify), no("sign", "attest", "offline"), "", "no run of v2 and no reason"},
		"a reason that is past": {run(1, verify), no("sign", "verify", "attest", "offline", "v2"), "", "a run has done it"},
	} {
		results := fstest.MapFS{}
		if tc.file != nil {
			results["x.json"] = tc.file
		}
		page, err := Matrix([]*Client{{Name: "x", Title: "X", Gaps: tc.gaps}}, results, nil)
		if (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) || !strings.Contains(page, tc.want) {
			t.Errorf("%s: %v\n%s", name, err, page)
		}
	}
}
