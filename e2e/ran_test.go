package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/clients"
	"github.com/sigbox/sigbox/e2e/internal/matrix"
	"github.com/sigbox/sigbox/e2e/internal/ran"
	"github.com/sigbox/sigbox/internal/record"
	"github.com/sigbox/sigbox/internal/runs"
)

// resultsVar names the directory that result files are written to, usually ../internal/runs/results. Without
// it nothing is wrapped and nothing is written.
const resultsVar = "SIGBOX_RESULTS"

// recorded are the clients whose commands are noted: by the variable of scripts that holds the path, the name
// that `sigbox clients` has.
var recorded = map[string]string{
	"COSIGN3": "cosign-3", "COSIGN2": "cosign-2", "REKORCLI": "rekor-cli",
	"GITSIGN": "gitsign", "TESTER": "policy-controller", "KYVERNO": "kyverno",
	"JS": "sigstore-js/node", "JSCLI": "sigstore-js/sigstore",
	"GOSIGN": "sigstore-go/sigstore-go-signing", "GOVERIFY": "sigstore-go/sigstore-go-verification",
	"PYTHON": "sigstore-python", "JAVA": "sigstore-java/java",
}

// released are the versions of the recorded clients.
var released = map[string]string{
	"cosign-3": clients.Cosign3.Version, "cosign-2": clients.Cosign2.Version, "rekor-cli": clients.RekorCLI.Version,
	"gitsign": clients.Gitsign.Version, "policy-controller": clients.Tester.Version, "kyverno": clients.Kyverno.Version,
	"sigstore-js": clients.SigstoreJS.Version, "sigstore-go": clients.SigstoreGoSign.Version, "sigstore-python": clients.SigstorePython.Version,
	"sigstore-java": clients.SigstoreJava.Version,
}

// results collects rows.
type results struct {
	mu   sync.Mutex
	rows runs.Results
}

// wrapped returns the path that scripts get for a client: of its program, or of its wrapper.
func (r *rig) wrapped(t *testing.T, variable, program string) string {
	t.Helper()
	if world.results == nil || recorded[variable] == "" {
		return program
	}
	dir := filepath.Join(filepath.Dir(r.work), "ran")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path, err := ran.Wrap(dir, world.self, r.notes(), recorded[variable], program)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (r *rig) notes() string { return filepath.Join(filepath.Dir(r.work), "ran.ndjson") }

// rowName is what the results of a client call a row about whose client, which is "" where it is about several.
func rowName(client, whose, what string) string {
	if whose == "" || strings.ToLower(strings.ReplaceAll(whose, " ", "-")) == client {
		return what
	}
	return whose + ": " + what
}

// keepRun adds what the clients did on this rig since the last call to the results, as a row of the table
// that has passed.
func (r *rig) keepRun(t *testing.T, whose, what string, log int, outcome matrix.Cell) {
	t.Helper()
	if world.results == nil || t.Failed() {
		return
	}
	notes, err := ran.Read(r.notes(), r.kept)
	if err != nil {
		t.Fatal(err)
	}
	r.kept += len(notes)
	byClient := map[string][]runs.Command{}
	for _, n := range notes {
		byClient[n.Client] = append(byClient[n.Client], n.Command)
	}
	commit, err := record.Commit()
	if err != nil {
		t.Fatal(err)
	}
	world.results.mu.Lock()
	defer world.results.mu.Unlock()
	for client, commands := range byClient {
		world.results.rows.Add(client, runs.Row{
			What: rowName(client, whose, what), Log: log, Version: released[client], Date: time.Now().UTC().Format(time.DateOnly), Commit: commit,
			Outcome: string(outcome), Commands: commands,
		})
	}
}

// dropRun leaves out of the results what was run on this rig since the last call: what came before a row.
func (r *rig) dropRun(t *testing.T) {
	t.Helper()
	if world.results == nil {
		return
	}
	notes, err := ran.Read(r.notes(), r.kept)
	if err != nil {
		t.Fatal(err)
	}
	r.kept += len(notes)
}

func TestRowName(t *testing.T) {
	for _, tc := range []struct{ client, whose, want string }{
		{"cosign-3", "cosign 3", "x"},
		{"kyverno", "Kyverno", "x"},
		{"cosign-3", "Kyverno", "Kyverno: x"},
		{"cosign-3", "cosign 2 → 3", "cosign 2 → 3: x"},
		{"cosign-3", "", "x"},
	} {
		if got := rowName(tc.client, tc.whose, "x"); got != tc.want {
			t.Errorf("%s, a row of %q: %q, want %q", tc.client, tc.whose, got, tc.want)
		}
	}
}
