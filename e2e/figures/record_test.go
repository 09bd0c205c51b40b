package figures

import (
	"slices"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/record"
)

// keep writes what a test measured to $SIGBOX_FIGURES/NAME.json. Only the real plan's figures are
// worth it.
func keep[T any](t *testing.T, name string, started time.Time, figures T) {
	t.Helper()
	if !world.full || t.Failed() {
		return
	}
	if err := record.Write(name, t.Name(), started, figures); err != nil {
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
