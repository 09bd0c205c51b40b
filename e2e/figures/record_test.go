package figures

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

// File is what one test measured, with what it takes to repeat it.
type File[T any] struct {
	Test    string  `json:"test"`
	Commit  string  `json:"commit"`
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

// record writes a File to $SIGBOX_FIGURES/NAME.json. Only the real plan's figures are worth it.
func record[T any](t *testing.T, name string, started time.Time, figures T) {
	t.Helper()
	dir := os.Getenv("SIGBOX_FIGURES")
	if dir == "" || !world.full || t.Failed() {
		return
	}
	text, err := json.MarshalIndent(File[T]{
		Test: t.Name(), Commit: world.commit, Started: started.UTC().Format(time.RFC3339), Seconds: time.Since(started).Seconds(),
		Machine: Machine{runtime.NumCPU(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}, Figures: figures,
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

// Latency is in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// newLatency takes percentiles by nearest rank.
func newLatency(all []time.Duration) Latency {
	if len(all) == 0 {
		return Latency{}
	}
	slices.Sort(all)
	at := func(percent int) float64 {
		rank := (len(all)*percent + 99) / 100
		return float64(all[max(rank, 1)-1].Microseconds()) / 1000
	}
	return Latency{P50: at(50), P90: at(90), P99: at(99), Max: at(100)}
}

// median returns the element in the middle by a measure.
func median[T any](all []T, measure func(T) float64) T {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b T) int {
		switch {
		case measure(a) < measure(b):
			return -1
		case measure(a) > measure(b):
			return 1
		}
		return 0
	})
	return sorted[len(sorted)/2]
}
