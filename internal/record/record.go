package record

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// File is what one test measured.
type File[T any] struct {
	Test    string  `json:"test"`
	Commit  string  `json:"commit"` // with "-dirty" where files were changed
	Started string  `json:"started"`
	Seconds float64 `json:"seconds"`
	Machine Machine `json:"machine"`
	Figures T       `json:"figures"`
}

// Machine is where everything ran, load included.
type Machine struct {
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
	OS   string `json:"os"`
}

// Write writes $SIGBOX_FIGURES/NAME.json. Without that variable nothing is written.
func Write[T any](name, test string, started time.Time, figures T) error {
	dir := os.Getenv("SIGBOX_FIGURES")
	if dir == "" {
		return nil
	}
	commit, err := Commit()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(File[T]{
		Test: test, Commit: commit, Started: started.UTC().Format(time.RFC3339), Seconds: time.Since(started).Seconds(),
		Machine: Machine{runtime.NumCPU(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}, Figures: figures,
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".json"), append(text, '\n'), 0o644)
}

// Read reads a file that Write has written.
func Read[T any](path string) (f File[T], err error) {
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, &f)
	}
	return f, err
}

// Commit says which commit is measured.
func Commit() (string, error) {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").Output()
	if err != nil {
		return "", fmt.Errorf("which commit is measured: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
