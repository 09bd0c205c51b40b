package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/fleet"
	"github.com/sigbox/sigbox/internal/pgtest"
)

var shapes = []fleet.Shape{fleet.OneProcess, fleet.ThreeProcesses, fleet.Replicated}

func shapeRow(s fleet.Shape) string {
	return "the first rows, to rekor-cli's, against `sigbox serve`: " + s.Name
}

// TestShapes runs the table against `sigbox serve` in each of its shapes. One fleet serves all rows of
// a shape.
func TestShapes(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.Name, func(t *testing.T) {
			defer cell(t, "all", shapeRow(s), 0)()
			allRows(t, startFleet(t, s, pgtest.Start(t).URL("postgres")))
		})
	}
}

// allRows runs the rows against a fleet: those that restart it come after the others.
func allRows(t *testing.T, f *fleet.Fleet) {
	t.Run("rows", func(t *testing.T) {
		for _, c := range scenarios {
			if !c.restarts() {
				c.onFleet(t, f, true)
			}
		}
	})
	for _, c := range scenarios {
		if c.restarts() {
			c.onFleet(t, f, false)
		}
	}
}

// startFleet runs a new fleet on a database of its own, with a guard in another server.
func startFleet(t *testing.T, s fleet.Shape, database string) *fleet.Fleet {
	t.Helper()
	return startFleetWith(t, s, database, nil)
}

// startFleetWith is startFleet with a configuration that change has changed.
func startFleetWith(t *testing.T, s fleet.Shape, database string, change func(map[string]any)) *fleet.Fleet {
	t.Helper()
	return startFleetOf(t, s, fleet.Options{Database: database, Change: change})
}

// startFleetOf is startFleet with options: those that every fleet has are filled in.
func startFleetOf(t *testing.T, s fleet.Shape, o fleet.Options) *fleet.Fleet {
	t.Helper()
	dir := t.TempDir()
	o.Binary, o.Dir, o.Env = world.sigbox, filepath.Join(dir, "sigbox"), append(newRig(t, dir).base(), o.Env...)
	o.Guard = pgtest.Start(t).URL("postgres")
	f, err := s.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(f.Log())
		}
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// visit returns a rig of a fleet, with directories of its own.
func visit(t *testing.T, f *fleet.Fleet) *rig {
	t.Helper()
	r := newRig(t, t.TempDir())
	r.issuer, r.mirror, r.rekor = f.URLs["issuer"], f.URLs["tuf"]+"/tuf", f.URLs["tlog"]
	r.again = func(ctx context.Context) error { return f.Restart(ctx) }
	r.exportTrust(t)
	return r
}

func (s scenario) onFleet(t *testing.T, f *fleet.Fleet, parallel bool) {
	for log := 1; log <= 2; log++ {
		if log == 2 && s.v1only {
			continue
		}
		t.Run(fmt.Sprintf("%s/v%d", s.name(), log), func(t *testing.T) {
			if parallel {
				t.Parallel()
			}
			started := time.Now()
			s.play(t, visit(t, f), log, world.registry)
			fmt.Printf("ok %5.1f s  %s: %s, Rekor v%d\n", time.Since(started).Seconds(), f.Name, s.name(), log)
		})
	}
}

func (s scenario) restarts() bool { return strings.Contains(s.script, "\nrestart\n") }
