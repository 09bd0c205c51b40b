package tsa_test

import (
	"context"
	"crypto"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tsa"
)

// guarded is an authority whose clock, time that has passed and reference are in a test's hands.
type guarded struct {
	start   time.Time
	clock   *clock.Manual
	passed  time.Duration
	trip    time.Duration // how long the reference takes
	reading tsa.Reading
	failure error
	guard   *tsa.Guard
	tsa     *tsa.Authority
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{start: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	g.clock = clock.NewManual(g.start)
	g.reading.Now = g.start
	g.guard = tsa.NewGuard(g.clock, func() time.Duration { return g.passed }, func(context.Context) (tsa.Reading, error) {
		g.passed += g.trip
		return g.reading, g.failure
	}, slog.New(slog.DiscardHandler))
	chain, err := tsa.NewChain(g.clock, "sigbox")
	if err != nil {
		t.Fatal(err)
	}
	g.tsa, err = tsa.New(tsa.Config{Key: chain.Leaf.Key, Chain: chain.Certificates(), Clock: g.clock, Trust: g.guard.Check})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// pass lets time pass for everybody.
func (g *guarded) pass(d time.Duration) {
	g.clock.Advance(d)
	g.passed += d
	g.reading.Now = g.reading.Now.Add(d)
}

// TestGuard: each row is one thing that happens to the clocks after a comparison that found them right, and
// whether the authority stamps then.
func TestGuard(t *testing.T) {
	for _, tc := range []struct {
		name string
		does func(t *testing.T, g *guarded)
		want string // what the refusal says; "" for a stamp
	}{
		{"nothing", func(*testing.T, *guarded) {}, ""},
		{"time passes", func(_ *testing.T, g *guarded) { g.pass(50 * time.Minute) }, ""},
		{"a step ahead", func(_ *testing.T, g *guarded) { g.clock.Advance(2 * time.Second) }, "the clock was set by 2s"},
		{"a step back", func(_ *testing.T, g *guarded) { g.clock.Advance(-1100 * time.Millisecond) }, "the clock was set by -1.1s"},
		{"a step within the accuracy", func(_ *testing.T, g *guarded) { g.clock.Advance(900 * time.Millisecond) }, ""},
		{"a step that is undone", func(_ *testing.T, g *guarded) { g.clock.Advance(time.Hour); g.clock.Advance(-time.Hour) }, ""},
		{"a step to the year 2050", func(_ *testing.T, g *guarded) { g.clock.Set(time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)) }, "time source not trusted"},
		{"a step to 1970", func(_ *testing.T, g *guarded) { g.clock.Set(time.Unix(0, 0)) }, "time source not trusted"},
		{"the machine slept", func(_ *testing.T, g *guarded) { // its own count of time stood still
			g.clock.Advance(time.Minute)
			g.reading.Now = g.reading.Now.Add(time.Minute)
		}, "the clock was set by 1m0s"},
		{"the machine slept, and a comparison finds the clock right", func(t *testing.T, g *guarded) {
			g.clock.Advance(time.Minute)
			g.reading.Now = g.reading.Now.Add(time.Minute)
			g.guard.Compare(t.Context())
		}, ""},
		{"ahead of the reference", func(t *testing.T, g *guarded) {
			g.reading.Now = g.start.Add(-1500 * time.Millisecond)
			g.guard.Compare(t.Context())
		}, "the clock is 1.5s ahead of the reference"},
		{"behind the reference", func(t *testing.T, g *guarded) { g.reading.Now = g.start.Add(time.Minute); g.guard.Compare(t.Context()) }, "the clock is 1m0s behind the reference"},
		{"half a second off the reference", func(t *testing.T, g *guarded) {
			g.reading.Now = g.start.Add(500 * time.Millisecond)
			g.guard.Compare(t.Context())
		}, ""},
		{"off by less than the way took", func(t *testing.T, g *guarded) {
			g.trip = 800 * time.Millisecond
			g.reading.Now = g.start.Add(1700 * time.Millisecond) // 1.3 s from the middle of the way
			g.guard.Compare(t.Context())
			g.clock.Advance(g.trip)
		}, ""},
		{"wrong, and right again", func(t *testing.T, g *guarded) {
			g.reading.Now = g.start.Add(time.Minute)
			g.guard.Compare(t.Context())
			g.reading.Now = g.start
			g.guard.Compare(t.Context())
		}, ""},
		{"behind what is on record", func(t *testing.T, g *guarded) {
			g.reading.Latest = g.start.Add(3 * time.Second)
			g.guard.Compare(t.Context())
		}, "the clock is 3s behind what is on record"},
		{"little behind what another replica recorded", func(t *testing.T, g *guarded) {
			g.reading.Latest = g.start.Add(time.Second)
			g.guard.Compare(t.Context())
		}, ""},
		{"the reference is away for a while", func(t *testing.T, g *guarded) {
			g.failure = errors.New("away")
			g.pass(59 * time.Minute)
			g.guard.Compare(t.Context())
		}, ""},
		{"the reference is away for an hour", func(t *testing.T, g *guarded) {
			g.failure = errors.New("away")
			g.pass(61 * time.Minute)
			g.guard.Compare(t.Context())
		}, "the reference has not answered for 1h1m0s"},
		{"the reference answers too slowly for an hour", func(t *testing.T, g *guarded) {
			g.pass(61 * time.Minute)
			g.trip = 3 * time.Second
			g.guard.Compare(t.Context())
		}, "the reference has not answered for"},
		{"away, and the clock is set", func(t *testing.T, g *guarded) {
			g.failure = errors.New("away")
			g.pass(time.Minute)
			g.clock.Advance(-time.Minute)
			g.guard.Compare(t.Context())
		}, "the clock was set by -1m0s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newGuarded(t)
			g.guard.Compare(t.Context())
			tc.does(t, g)
			resp, err := g.tsa.Stamp(t.Context(), tsa.Request{Hash: crypto.SHA256, Digest: digest(crypto.SHA256)})
			if tc.want == "" {
				if err != nil || resp == nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, tsa.ErrTime) || resp != nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %s", err, tc.want)
			}
			if _, wrong := g.guard.State(); wrong == nil && !strings.Contains(tc.want, "time source") {
				t.Error("the guard says that nothing is wrong")
			}
		})
	}
}

// TestGuardBeforeItsFirstComparison: what nobody has looked at is not trusted.
func TestGuardBeforeItsFirstComparison(t *testing.T) {
	g := newGuarded(t)
	g.failure = errors.New("away")
	g.guard.Compare(t.Context())
	if err := g.guard.Check(g.start); !errors.Is(err, tsa.ErrTime) || !strings.Contains(err.Error(), "has not been compared") {
		t.Error(err)
	}
}

// TestGuardRuns: a reference that is away when the process starts is asked again soon, and less often afterwards.
func TestGuardRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began, asked := time.Now(), 0
		guard := tsa.NewGuard(clock.System{}, func() time.Duration { return time.Since(began) }, func(context.Context) (tsa.Reading, error) {
			if asked++; asked < 3 {
				return tsa.Reading{}, errors.New("away")
			}
			return tsa.Reading{Now: time.Now()}, nil
		}, slog.New(slog.DiscardHandler))
		done := make(chan error)
		go func() { done <- guard.Run(ctx) }()
		time.Sleep(3500 * time.Millisecond)
		if err := guard.Check(time.Now()); err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Second)
		cancel()
		if err := <-done; err != nil || asked != 5 {
			t.Errorf("asked %d times in 23.5 s, want 5; %v", asked, err)
		}
	})
}
