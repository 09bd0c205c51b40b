package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// record writes what a test measured to $SIGBOX_FIGURES/NAME.json, with what it takes to repeat
// it. Without that variable nothing is written.
func record(t *testing.T, name string, started time.Time, figures map[string]any) {
	t.Helper()
	dir := os.Getenv("SIGBOX_FIGURES")
	if dir == "" {
		return
	}
	commit, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").Output()
	if err != nil {
		t.Fatalf("which commit is measured: %v", err)
	}
	text, err := json.MarshalIndent(map[string]any{
		"test":    t.Name(),
		"commit":  strings.TrimSpace(string(commit)),
		"started": started.UTC().Format(time.RFC3339),
		"seconds": time.Since(started).Seconds(),
		"machine": map[string]any{"cpus": runtime.NumCPU(), "go": runtime.Version(), "os": runtime.GOOS + "/" + runtime.GOARCH},
		"figures": figures,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// milliseconds are samples as they were taken, for a JSON file.
func milliseconds(samples []time.Duration) []float64 {
	out := make([]float64, len(samples))
	for i, d := range samples {
		out[i] = float64(d.Microseconds()) / 1000
	}
	return out
}
