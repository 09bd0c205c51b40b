package tsa

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
)

// Reading is what another clock says.
type Reading struct {
	Now    time.Time // its time
	Latest time.Time // the latest time that is on record there; zero for none
}

// Reference asks another clock: that of the database which all replicas share.
type Reference func(ctx context.Context) (Reading, error)

// The bounds of a Guard.
const (
	maxSkew       = Accuracy         // between the clock and the reference, beyond what the way there took
	maxStep       = Accuracy         // of the clock against the time that has passed
	maxBehind     = 2 * time.Second  // the clock may lie behind what is on record, for replicas differ
	maxRoundTrip  = 2 * time.Second  // of a comparison that says something
	compareEvery  = 10 * time.Second // while Run runs
	firstCompare  = time.Second      // as long as the reference has not answered
	compareWithin = 5 * time.Second
	referenceAge  = time.Hour // how long a comparison counts
)

// Guard says whether a clock may be stamped from. It is compared with another clock every ten seconds, and
// in between with the time that has passed: a step shows before the next comparison, and after one that
// finds the clock right again it counts again. What is not certain does not count: a reference that has
// not answered for an hour is none. It is safe for concurrent use.
type Guard struct {
	clock     clock.Clock
	elapsed   func() time.Duration
	reference Reference
	log       *slog.Logger

	mu        sync.Mutex
	wrong     error // why the last comparison found the clock wrong; nil: it did not
	compared  bool
	at        time.Time     // the clock at the last comparison that found it right
	atElapsed time.Duration // and how much time had passed
	offset    time.Duration // of the clock at the last comparison; positive: it is ahead
}

// NewGuard returns a guard of a clock. elapsed is the time that has passed since some moment, as a clock
// counts it that nobody sets. Before its first comparison nothing is trusted.
func NewGuard(c clock.Clock, elapsed func() time.Duration, reference Reference, log *slog.Logger) *Guard {
	return &Guard{clock: c, elapsed: elapsed, reference: reference, log: log}
}

// Run compares the clock until ctx ends.
func (g *Guard) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(g.pause()):
			g.Compare(ctx)
		}
	}
}

// pause is the time until the next comparison: short as long as there was none, for nothing is stamped.
func (g *Guard) pause() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.compared {
		return firstCompare
	}
	return compareEvery
}

// Compare asks the reference once. A failure to ask changes nothing but the age of what is known.
func (g *Guard) Compare(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, compareWithin)
	defer cancel()
	began, now := g.elapsed(), g.clock.Now()
	r, err := g.reference(ctx)
	ended := g.elapsed()
	if trip := ended - began; err == nil && trip > maxRoundTrip {
		err = fmt.Errorf("the answer took %s, which says too little", trip.Round(time.Millisecond))
	}
	if err != nil {
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			g.log.WarnContext(ctx, "the clock could not be compared", "error", err)
		}
		return
	}
	half := (ended - began) / 2
	offset := now.Add(half).Sub(r.Now)
	wrong := compare(now, offset, half, r.Latest)
	g.mu.Lock()
	before := g.wrong
	g.compared, g.wrong, g.offset = true, wrong, offset
	if wrong == nil {
		g.at, g.atElapsed = now, began
	}
	g.mu.Unlock()
	switch {
	case wrong != nil && before == nil:
		g.log.ErrorContext(ctx, "TIME SOURCE NOT TRUSTED: nothing is stamped until the clock is right", "error", wrong, "offset", offset)
	case wrong == nil && before != nil:
		g.log.InfoContext(ctx, "the clock is right again", "offset", offset)
	}
}

// compare says what is wrong with a clock that differs from the reference by offset, give or take margin.
func compare(now time.Time, offset, margin time.Duration, latest time.Time) error {
	switch {
	case offset > maxSkew+margin:
		return fmt.Errorf("%w: the clock is %s ahead of the reference", ErrTime, offset.Round(time.Millisecond))
	case -offset > maxSkew+margin:
		return fmt.Errorf("%w: the clock is %s behind the reference", ErrTime, (-offset).Round(time.Millisecond))
	case now.Before(latest.Add(-maxBehind)):
		return fmt.Errorf("%w: the clock is %s behind what is on record", ErrTime, latest.Sub(now).Round(time.Millisecond))
	}
	return nil
}

// Check says whether a reading of the clock may be stamped. Its error wraps [ErrTime].
func (g *Guard) Check(now time.Time) error {
	passed := g.elapsed()
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.compared:
		return fmt.Errorf("%w: the clock has not been compared with the reference yet", ErrTime)
	case g.wrong != nil:
		return g.wrong
	case passed-g.atElapsed > referenceAge:
		return fmt.Errorf("%w: the reference has not answered for %s", ErrTime, (passed - g.atElapsed).Round(time.Second))
	}
	// Round strips the monotonic reading that the system's clock carries: with it the difference would be
	// what has passed, whatever the clock was set to.
	step := now.Round(0).Sub(g.at.Round(0)) - (passed - g.atElapsed)
	if step.Abs() > maxStep {
		return fmt.Errorf("%w: the clock was set by %s", ErrTime, step.Round(time.Millisecond))
	}
	return nil
}

// State returns what is wrong with the clock now, nil for nothing, and its offset when it was last
// compared, positive where it was ahead.
func (g *Guard) State() (offset time.Duration, wrong error) {
	wrong = g.Check(g.clock.Now())
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.offset, wrong
}
