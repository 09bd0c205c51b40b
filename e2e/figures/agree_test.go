package figures

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Agree are the figures of TestAgrees.
type Agree struct {
	Pairs []Pair `json:"pairs"`
}

// Pair is one measurement with two tools, several times in turns: rates a second, and how far the
// medians are apart.
type Pair struct {
	What       string    `json:"what"`
	Clients    int       `json:"clients"`
	Requests   int       `json:"requests"`
	Ours       []float64 `json:"sigbox_bench"`
	Theirs     []float64 `json:"shared_bench"`
	Difference float64   `json:"difference"` // of the medians; 0.1 is 10 %
}

const mayDiffer = 0.10

// TestAgrees holds `sigbox bench` against the load tools of ../shared/bench, which others wrote: both
// load the same server in turns, and their medians must be within 10 %.
func TestAgrees(t *testing.T) {
	tools := sharedBench()
	if _, err := os.Stat(tools); err != nil || !world.full {
		fmt.Printf("figures: %s NOT RUN: it takes `make figures`, and the load tools in %s (or SIGBOX_SHARED_BENCH)\n", t.Name(), tools)
		return
	}
	started := time.Now()
	logbench, certbench := buildTool(t, tools, "logbench"), buildTool(t, tools, "certbench")
	i := newInstance(t, "", 0)
	i.up(t)
	url := i.running.URL
	token := i.sigbox(t, "token", "--url", url, "--email", "bench@example.com")
	var f Agree
	for _, row := range []struct {
		what              string
		clients, requests int
		theirs            []string
	}{
		{"rekor-v1", 1, 1500, []string{logbench, "-api", "v1", "-url", url}},
		{"rekor-v1", 32, 12_000, []string{logbench, "-api", "v1", "-url", url}},
		{"rekor-v2", 32, 12_000, []string{logbench, "-api", "v2", "-url", url}},
		{"fulcio", 16, 3000, []string{certbench, "-url", url, "-token", token, "-sub", "bench@example.com"}},
	} {
		row.requests = int(float64(row.requests) * world.span.Seconds() / proof.span.Seconds())
		p := Pair{What: row.what, Clients: row.clients, Requests: row.requests}
		n, c := strconv.Itoa(row.requests), strconv.Itoa(row.clients)
		for range 7 {
			p.Ours = append(p.Ours, i.ourRate(t, "bench", row.what, "--url", url, "-n", n, "-c", c, "--json", "-"))
			p.Theirs = append(p.Theirs, theirRate(t, append(slices.Clone(row.theirs), "-n", n, "-c", c)))
		}
		same := func(f float64) float64 { return f }
		ours, theirs := median(p.Ours, same), median(p.Theirs, same)
		p.Difference = (ours - theirs) / theirs
		say("%s, %d clients: sigbox bench %.0f/s, shared bench %.0f/s: %+.1f %% (of %.0f and %.0f)", p.What, p.Clients, ours, theirs, 100*p.Difference, p.Ours, p.Theirs)
		f.Pairs = append(f.Pairs, p)
	}
	keep(t, "agree", started, f) // whatever they say
	for _, p := range f.Pairs {
		if p.Difference > mayDiffer || p.Difference < -mayDiffer {
			t.Errorf("%s, %d clients: the medians are %.1f %% apart", p.What, p.Clients, 100*p.Difference)
		}
	}
}

// sharedBench is where the load tools are that others wrote.
func sharedBench() string {
	if dir := os.Getenv("SIGBOX_SHARED_BENCH"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "..", "shared", "bench")
}

// buildTool builds one of the load tools, each of which is a module.
func buildTool(t *testing.T, tools, name string) string {
	t.Helper()
	path := filepath.Join(world.tmp, name)
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Dir, cmd.Env = filepath.Join(tools, name), append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}

var printed = regexp.MustCompile(`(?:entries|certs)/s=([0-9.]+)`)

// theirRate runs one of the load tools and returns the rate that it prints.
func theirRate(t *testing.T, command []string) float64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	m := printed.FindSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(command, " "), err, out, stderr.String())
	}
	r, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sigbox runs a command of the binary and returns its standard output.
func (i *testInstance) sigbox(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	cmd.Env = i.env()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sigbox %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// ourRate runs sigbox bench and returns the rate that it reports.
func (i *testInstance) ourRate(t *testing.T, args ...string) float64 {
	t.Helper()
	var l Load
	if err := json.Unmarshal([]byte(i.sigbox(t, args...)), &l); err != nil {
		t.Fatal(err)
	}
	return l.PerSecond
}
