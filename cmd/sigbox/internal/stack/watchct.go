package stack

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/clock"
)

// watchedCT remembers how the last use of the CT log went.
type watchedCT struct {
	ca.SCTSource
	clock   clock.Clock
	last    atomic.Pointer[ctFailure] // nil: well
	seconds prometheus.Histogram
	failed  prometheus.Counter
}

type ctFailure struct {
	ended bool
	since time.Time
}

func watchCT(from ca.SCTSource, c clock.Clock, reg prometheus.Registerer) *watchedCT {
	w := &watchedCT{
		SCTSource: from, clock: c,
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sigbox_ca_ct_seconds", Help: "How long the CT log took to promise an entry.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "sigbox_ca_ct_failures_total", Help: "Precertificates that the CT log did not take."}),
	}
	reg.MustRegister(w.seconds, w.failed)
	return w
}

// AddPreChainEarly implements ca.EarlySCTSource: it is the way that an authority takes.
func (w *watchedCT) AddPreChainEarly(ctx context.Context, chain []*x509.Certificate) (sct []byte, shown func(context.Context) error, err error) {
	began := time.Now()
	sct, wait, err := ca.Submit(ctx, w.SCTSource, chain)
	if err != nil {
		return nil, nil, w.done(began, err)
	}
	return sct, func(ctx context.Context) error { return w.done(began, wait(ctx)) }, nil
}

// done counts a use of the log, and returns how it went.
func (w *watchedCT) done(began time.Time, err error) error {
	if err == nil {
		w.seconds.Observe(time.Since(began).Seconds())
	} else {
		w.failed.Inc()
	}
	w.note(err)
	return err
}

// note remembers how a use of the log went.
func (w *watchedCT) note(err error) {
	switch {
	case err == nil:
		w.last.Store(nil)
		return
	case errors.Is(err, context.Canceled): // a client that went away says nothing of the log
		return
	}
	f := &ctFailure{ended: errors.Is(err, ca.ErrLogEnded), since: w.clock.Now()}
	if before := w.last.Load(); before != nil {
		f.since = before.since
	}
	w.last.Store(f)
}

// err says what is wrong with the log, as far as the last use of it tells.
func (w *watchedCT) err() error {
	switch f := w.last.Load(); {
	case f == nil:
		return nil
	case f.ended:
		return errors.New("is frozen, and no certificate is issued without it")
	default:
		return fmt.Errorf("has taken no precertificate since %s; the log lines say why", f.since.UTC().Format(time.RFC3339))
	}
}

// valid says whether all certificates of a chain are valid at a time.
func valid(chain []*x509.Certificate, now time.Time) error {
	for _, c := range chain {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return fmt.Errorf("%q is valid from %s to %s", c.Subject, c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	return nil
}
