package pgstore_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/storetest"
)

// impatient has short timeouts.
func impatient(c *pg.Config) {
	c.Writers = 1
	c.LockTimeout, c.StatementTimeout, c.IdleTimeout, c.CommitTimeout = 500*time.Millisecond, time.Second, 500*time.Millisecond, time.Second
}

// TestConnectionLostAtCommit breaks the network when nothing is left but the last batch, which moves
// the current set and commits. Whether it arrived or not, the publication is there in the end, once.
func TestConnectionLostAtCommit(t *testing.T) {
	for name, tc := range map[string]struct {
		request   bool // what breaks; else it is the answer
		how       pgtest.Verdict
		committed bool
	}{
		"COMMIT is lost": {true, pgtest.Cut, false},
		"half of COMMIT is lost, and the rest hangs": {true, pgtest.Half, false},
		"COMMIT hangs":               {true, pgtest.Hold, false},
		"the answer is lost":         {false, pgtest.Cut, true},
		"half of the answer is lost": {false, pgtest.Half, true},
		"the answer hangs":           {false, pgtest.Hold, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := pgtest.Shared(t)
			database := newDatabase(t, server)
			proxy := server.Proxy(t)
			cfg := storetest.Config(t, openStore(t, server.URL(database)))
			if err := tuf.New(cfg).Create(t.Context(), storetest.List("old")); err != nil {
				t.Fatal(err)
			}
			healthy := cfg
			calls := &counted{Store: openStore(t, proxy.Through(t, server.URL(database)), impatient)}
			cfg.Store = calls
			r := tuf.New(cfg)
			if _, err := r.Publish(t.Context(), storetest.List("2")); err != nil { // prepares every statement
				t.Fatal(err)
			}
			calls.n.Store(0)
			proxy.Set(atCommit(tc.request, tc.how))
			changed, err := r.Publish(t.Context(), storetest.List("3"))
			if err != nil || !changed {
				t.Fatalf("publish: changed %v, %v", changed, err)
			}
			if f, _ := r.Published().Target("a"); string(f.Bytes) != "3" {
				t.Errorf("target is %q", f.Bytes)
			}
			if n := calls.n.Load(); (n == 1) != tc.committed {
				t.Errorf("the set was made %d times; the test breaks something else than it says", n)
			}
			again := tuf.New(healthy)
			if err := again.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			if v := again.Published().Versions(); v != (tuf.Versions{Root: 1, Targets: 3, Snapshot: 3, Timestamp: 3}) {
				t.Errorf("versions %+v", v)
			}
		})
	}
}

// counted counts how often a set is made.
type counted struct {
	tuf.Store
	n atomic.Int64
}

func (c *counted) Update(ctx context.Context, f func(tuf.Release) (tuf.Release, error)) error {
	return c.Store.Update(ctx, func(cur tuf.Release) (tuf.Release, error) {
		c.n.Add(1)
		return f(cur)
	})
}

// atCommit breaks the one connection whose last batch passes, or its answer: the batch that moves the
// current set is the first that follows one with metadata in it.
func atCommit(request bool, how pgtest.Verdict) pgtest.Rule {
	var state atomic.Int64 // 1: metadata have passed; 2: the last batch has; 3: broken
	return func(fromClient bool, data []byte) pgtest.Verdict {
		switch {
		case fromClient && state.Load() == 0 && bytes.Contains(data, []byte(`"signatures"`)):
			state.Store(1)
		case fromClient && state.Load() == 1:
			state.Store(2)
			if request {
				state.Store(3)
				return how
			}
		case !fromClient && state.CompareAndSwap(2, 3):
			return how
		}
		return pgtest.Forward
	}
}

// TestDatabaseAway takes the database away for good at COMMIT. The publisher is told that it is not
// known what became of the set; what is there later is whole either way, and the next one follows.
func TestDatabaseAway(t *testing.T) {
	for name, request := range map[string]bool{"COMMIT is lost": true, "the answer is lost": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := pgtest.Shared(t)
			database := newDatabase(t, server)
			proxy := server.Proxy(t)
			cfg := storetest.Config(t, openStore(t, proxy.Through(t, server.URL(database)), impatient))
			r := tuf.New(cfg)
			if err := r.Create(t.Context(), storetest.List("old")); err != nil {
				t.Fatal(err)
			}
			cut := atCommit(request, pgtest.Cut)
			var gone atomic.Bool
			proxy.Set(func(fromClient bool, data []byte) pgtest.Verdict {
				if gone.Load() || cut(fromClient, data) == pgtest.Cut {
					gone.Store(true)
					return pgtest.Cut
				}
				return pgtest.Forward
			})
			if _, err := r.Publish(t.Context(), storetest.List("new")); !errors.Is(err, pg.ErrUnknownOutcome) {
				t.Errorf("publish: %v", err)
			}
			if f, _ := r.Published().Target("a"); string(f.Bytes) != "old" {
				t.Errorf("shows %q, which may not be there", f.Bytes)
			}
			proxy.Set(nil)
			want, versions := "new", tuf.Versions{Root: 1, Targets: 2, Snapshot: 2, Timestamp: 2}
			if request {
				want, versions = "old", tuf.Versions{Root: 1, Targets: 1, Snapshot: 1, Timestamp: 1}
			}
			if err := r.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if f, _ := r.Published().Target("a"); string(f.Bytes) != want || r.Published().Versions() != versions {
				t.Errorf("shows %q of %+v, want %q", f.Bytes, r.Published().Versions(), want)
			}
			if _, err := r.Publish(t.Context(), storetest.List("next")); err != nil || r.Published().Versions().Timestamp != versions.Timestamp+1 {
				t.Errorf("the next one: %+v, %v", r.Published().Versions(), err)
			}
		})
	}
}
