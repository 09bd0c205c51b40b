package clients

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/record"
)

// storms are the figures of one client, in docs/figures/NAME.json.
type storms struct {
	name string
	record.File[stormFigures]
}

type stormFigures struct {
	Storms []record.Storm `json:"storms"`
}

// least is how many verifications a storm on the page has: fewer show little.
const least = 1000

// readStorms reads what `make proof` has measured: a file for each client, docs/figures/storm-CLIENT.json.
func readStorms(t *testing.T) (all []storms) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "..", "docs", "figures", "storm-*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("figures of storms: %d files, %v", len(files), err)
	}
	for _, path := range files {
		f, err := record.Read[stormFigures](path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, storms{strings.TrimSuffix(filepath.Base(path), ".json"), f})
	}
	return all
}

// writeStorms writes the section about storms. Figures of a changed tree or of a small storm are an error.
func writeStorms(b *strings.Builder, all []storms) error {
	if len(all) == 0 {
		return nil
	}
	b.WriteString("\n## Storms of verifications\n\nAs when a cluster comes up: many at the same time, with signatures in a registry on the same machine. A cosign or a tester is a " +
		"process for each;\na Kyverno has a file of pods, each with another image. Down means that nobody answers but the registry. " +
		"Requests are those of the whole storm;\nsignatures are how often the registry gave one out, where that was counted. Rows of storms below that have no line here were run with few.\n\n" +
		"| client | version | trust | instance | verifications | processes, at once | seconds | admitted | requests to the mirror | to logs and authorities | signatures read |\n" +
		"|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, s := range all {
		if len(s.Commit) != 40 || len(s.Figures.Storms) == 0 {
			return fmt.Errorf("docs/figures/%s.json is of commit %q and has %d storms", s.name, s.Commit, len(s.Figures.Storms))
		}
		for _, f := range s.Figures.Storms {
			if f.Verifications < least || f.Logs != 0 {
				return fmt.Errorf("docs/figures/%s.json: %s, %s: %d verifications, %d requests to logs: want at least %d and none", s.name, f.Client, f.What, f.Verifications, f.Logs, least)
			}
			b.WriteString(stormLine(f))
		}
	}
	for _, s := range all {
		fmt.Fprintf(b, "\n[%s.json](figures/%s.json): commit %.12s, %s, %.0f seconds in all, %d CPUs.\n", s.name, s.name, s.Commit, s.Started, s.Seconds, s.Machine.CPUs)
	}
	return nil
}

func stormLine(f record.Storm) string {
	instance, mirror, logs, signatures := "up", fmt.Sprint(f.Mirror), fmt.Sprint(f.Logs), "–"
	if f.Down {
		instance, mirror, logs = "down", "–", "–"
	}
	if f.Registry > 0 {
		signatures = fmt.Sprint(f.Registry)
	}
	if each := f.Mirror / f.Processes; f.Mirror > 0 {
		mirror = fmt.Sprintf("%d, %d by each process", f.Mirror, each)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %d | %d, %d | %.0f | %d | %s | %s | %s |\n", f.Client, f.Version, escape(f.What), instance,
		f.Verifications, f.Processes, f.AtOnce, f.Seconds, f.Passed, mirror, logs, signatures)
}

// TestStorms: what the page refuses to say, and what it says.
func TestStorms(t *testing.T) {
	good := record.Storm{Client: "x", Version: "v1", What: "y", Verifications: 1000, Processes: 25, AtOnce: 25, Seconds: 9, Passed: 1000, Mirror: 50, Registry: 1001}
	for name, tc := range map[string]struct {
		change      func(*storms)
		want, fails string
	}{
		"as it is":       {func(*storms) {}, "| x | v1 | y | up | 1000 | 25, 25 | 9 | 1000 | 50, 2 by each process | 0 | 1001 |", ""},
		"down":           {func(s *storms) { s.Figures.Storms[0].Down, s.Figures.Storms[0].Mirror = true, 0 }, "| down | 1000 | 25, 25 | 9 | 1000 | – | – | 1001 |", ""},
		"small":          {func(s *storms) { s.Figures.Storms[0].Verifications = 999 }, "", "999 verifications"},
		"asks a log":     {func(s *storms) { s.Figures.Storms[0].Logs = 1 }, "", "1 requests to logs"},
		"a changed tree": {func(s *storms) { s.Commit += "-dirty" }, "", "-dirty"},
		"empty":          {func(s *storms) { s.Figures.Storms = nil }, "", "0 storms"},
	} {
		s := storms{name: "z"}
		s.Commit, s.Figures.Storms = strings.Repeat("c", 40), []record.Storm{good}
		tc.change(&s)
		var b strings.Builder
		err := writeStorms(&b, []storms{s})
		if (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) || !strings.Contains(b.String(), tc.want) {
			t.Errorf("%s: %v\n%s", name, err, b.String())
		}
	}
}
