package figures

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Variable names the directory that figures are written to. Without it nothing is written.
const Variable = "SIGBOX_FIGURES"

// Record writes figures of a test that began at started to $SIGBOX_FIGURES/NAME.json.
func Record(t testing.TB, name string, started time.Time, figures map[string]any) {
	t.Helper()
	dir := os.Getenv(Variable)
	if dir == "" {
		return
	}
	if err := write(filepath.Join(dir, name+".json"), t.Name(), started, figures); err != nil {
		t.Fatalf("write figures: %v", err)
	}
}

func write(path, test string, started time.Time, figures map[string]any) error {
	commit, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").Output()
	if err != nil {
		return fmt.Errorf("which commit is measured: %w", err)
	}
	text, err := json.MarshalIndent(map[string]any{
		"test":    test,
		"commit":  strings.TrimSpace(string(commit)),
		"started": started.UTC().Format(time.RFC3339),
		"seconds": time.Since(started).Seconds(),
		"machine": map[string]any{"cpus": runtime.NumCPU(), "go": runtime.Version(), "os": runtime.GOOS + "/" + runtime.GOARCH},
		"figures": figures,
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// Milliseconds are samples as they were taken.
func Milliseconds(samples []time.Duration) []float64 {
	out := make([]float64, len(samples))
	for i, d := range samples {
		out[i] = float64(d.Microseconds()) / 1000
	}
	return out
}
