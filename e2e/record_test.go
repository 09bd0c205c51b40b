package e2e

import (
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/record"
)

// keep writes what a test measured to $SIGBOX_FIGURES/NAME.json.
func keep(t *testing.T, name string, started time.Time, figures map[string]any) {
	t.Helper()
	if err := record.Write(name, t.Name(), started, figures); err != nil {
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
