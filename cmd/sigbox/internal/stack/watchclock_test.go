package stack

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	capgstore "github.com/sigbox/sigbox/ca/pgstore"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tsa"
)

// TestGuardClock: the clock of a served timestamp authority is held to that of its database, and what is wrong
// with it is in /readyz and in the metrics.
func TestGuardClock(t *testing.T) {
	server := pgtest.Shared(t)
	url := server.URL(server.Database(t))
	if err := pg.Migrate(t.Context(), url, "ca"); err != nil {
		t.Fatal(err)
	}
	db, err := pg.Open(t.Context(), pg.Config{URL: url + "&role=sigbox_ca_writer", Schema: "ca"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	for _, tc := range []struct {
		name    string
		off     time.Duration
		trusted float64
		ready   string
		check   string // the beginning of what /readyz says; milliseconds of the way to the database aside
	}{
		{"right", 0, 1, "ok", "ok"},
		{"an hour ahead", time.Hour, 0, "degraded", "time source not trusted: the clock is "},
		{"a minute behind", -time.Minute, 0, "degraded", "time source not trusted: the clock is "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &Server{clock: shifted(tc.off), log: slog.New(slog.DiscardHandler), registry: newRegistry()}
			g := s.guardClock(t.Context(), capgstore.New(db))
			if err := g.Check(s.clock.Now()); (err == nil) != (tc.trusted == 1) || err != nil && !errors.Is(err, tsa.ErrTime) {
				t.Error(err)
			}
			ready := s.report(t.Context())
			if got := ready.Checks["tsa clock"]; !strings.HasPrefix(got, tc.check) || ready.Status != tc.ready {
				t.Errorf("/readyz says %s, %q, want %s, %q", ready.Status, got, tc.ready, tc.check)
			}
			metrics, err := s.registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			seen := 0
			for _, m := range metrics {
				switch m.GetName() {
				case "sigbox_tsa_clock_trusted":
					seen++
					if v := m.GetMetric()[0].GetGauge().GetValue(); v != tc.trusted {
						t.Errorf("trusted %v", v)
					}
				case "sigbox_tsa_clock_offset_seconds":
					seen++
					if v := m.GetMetric()[0].GetGauge().GetValue(); v < tc.off.Seconds()-1 || v > tc.off.Seconds()+1 {
						t.Errorf("offset %v, want about %s", v, tc.off)
					}
				}
			}
			if seen != 2 || len(s.runs) != 1 {
				t.Errorf("%d metrics, %d loops", seen, len(s.runs))
			}
		})
	}
}

// shifted is the machine's clock, off by so much.
type shifted time.Duration

func (s shifted) Now() time.Time { return clock.System{}.Now().Add(time.Duration(s)) }
