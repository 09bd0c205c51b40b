package stack

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	capgstore "github.com/sigbox/sigbox/ca/pgstore"
	"github.com/sigbox/sigbox/tsa"
)

// guardClock watches the clock that timestamps are made from, against that of the database and what the
// replicas have recorded there. It has been compared once when this returns, if the database answers.
func (s *Server) guardClock(ctx context.Context, records *capgstore.Store) *tsa.Guard {
	began := time.Now() // of which only the monotonic reading counts
	g := tsa.NewGuard(s.clock, func() time.Duration { return time.Since(began) }, func(ctx context.Context) (tsa.Reading, error) {
		now, latest, err := records.Times(ctx)
		return tsa.Reading{Now: now, Latest: latest}, err
	}, s.log)
	g.Compare(ctx)
	s.runs = append(s.runs, g.Run)
	// Not unavailable: it may be the database's clock that is wrong, for all replicas.
	s.health.add("tsa clock", "degraded", func(context.Context) error {
		_, err := g.State()
		return err
	})
	s.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sigbox_tsa_clock_trusted", Help: "1 where timestamps are made, 0 where the clock is not known to be right and none is.",
		}, func() float64 {
			if _, err := g.State(); err != nil {
				return 0
			}
			return 1
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sigbox_tsa_clock_offset_seconds", Help: "How far the clock was ahead of the database's when they were last compared; negative: behind.",
		}, func() float64 {
			offset, _ := g.State()
			return offset.Seconds()
		}))
	return g
}
