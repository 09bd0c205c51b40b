package tlog_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/memstore"
)

var errGuard = errors.New("guard: no space")

// fakeGuard is a guard of one log that can be out of order.
type fakeGuard struct {
	broken atomic.Bool

	mu    sync.Mutex
	mark  tlog.Mark
	moves int
}

func (g *fakeGuard) Last(context.Context, string) (tlog.Mark, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mark, nil
}

func (g *fakeGuard) size() int64 {
	m, _ := g.Last(context.Background(), "")
	return m.Size
}

func (g *fakeGuard) Advance(_ context.Context, from tlog.Mark, to checkpoint.Signed, proof [][]byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken.Load() {
		return errGuard
	}
	if from != g.mark {
		return tlog.ErrGuardMoved
	}
	if from.Size > 0 {
		if err := logtest.VerifyConsistency(from.Size, to.Size, proof, from.Root, to.Root); err != nil {
			return err
		}
	}
	g.mark = tlog.Mark{Size: to.Size, Root: to.Root}
	g.moves++
	return nil
}

// creepingGuard is moved by other processes, to one mark after the other, whenever it is to be moved.
type creepingGuard struct {
	fakeGuard
	others []tlog.Mark
	asked  int
}

func (g *creepingGuard) Advance(ctx context.Context, from tlog.Mark, to checkpoint.Signed, proof [][]byte) error {
	g.asked++
	if len(g.others) > 0 {
		g.mark, g.others = g.others[0], g.others[1:]
		return tlog.ErrGuardMoved
	}
	return g.fakeGuard.Advance(ctx, from, to, proof)
}

// TestCreepingGuard: however often others move the guard to heads before ours, ours is held in the end. A
// guard that says so and does not move is not asked for ever.
func TestCreepingGuard(t *testing.T) {
	const n = 12
	store, cfg := memstore.New(), logtest.Config(t)
	create(t, store, cfg)
	log := logtest.Open(t, store, cfg)
	marks := make([]tlog.Mark, n+1)
	for i := range marks {
		if i > 0 {
			logtest.Fill(t, log, i-1, i)
		}
		root, err := log.Root(t.Context(), int64(i))
		if err != nil {
			t.Fatal(err)
		}
		marks[i] = tlog.Mark{Size: int64(i), Root: root}
	}
	for name, c := range map[string]struct {
		others []tlog.Mark
		held   bool
	}{
		"one by one":     {marks[2 : n-1], true},
		"to ours":        {marks[2:], true},
		"does not move":  {slices.Repeat(marks[1:2], 100), false},
		"back and forth": {slices.Repeat([]tlog.Mark{marks[1], marks[2]}, 100), false},
	} {
		t.Run(name, func(t *testing.T) {
			guard := &creepingGuard{others: slices.Clone(c.others)}
			guard.mark = marks[1]
			with := cfg
			with.Guard = guard
			_, err := tlog.Open(t.Context(), store, with)
			if (err == nil) != c.held || c.held && guard.mark != marks[n] || guard.asked > n+3 {
				t.Errorf("%v; the guard is at size %d after %d questions", err, guard.mark.Size, guard.asked)
			}
		})
	}
}

func size(t testing.TB, log tlog.Log) int64 {
	t.Helper()
	cp, err := log.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return cp.Size
}

// A guard that cannot be written keeps the head from readers, and further history from being
// made, until it can.
func TestBrokenGuardHoldsBackTheHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := &fakeGuard{}
		store, cfg := memstore.New(), logtest.Config(t, func(c *tlog.Config) { c.Guard = guard })
		create(t, store, cfg, logtest.Entry("seed"))
		log := logtest.Open(t, store, cfg)
		guard.broken.Store(true)
		for _, e := range []logtest.Entry{"a", "b"} {
			if _, err := log.Append(t.Context(), e); !errors.Is(err, tlog.ErrUnavailable) || !errors.Is(err, errGuard) {
				t.Errorf("append %s: %v", e, err)
			}
		}
		if n := size(t, log); n != 1 {
			t.Errorf("readers see %d entries, the guard holds 1", n)
		}
		if _, err := log.Leaf(t.Context(), 1); !errors.Is(err, tlog.ErrNotFound) {
			t.Errorf("a leaf that is not published: %v", err)
		}
		if _, err := log.Find(t.Context(), logtest.Entry("a").Identity()); !errors.Is(err, tlog.ErrNotFound) {
			t.Errorf("an entry that is not published is found: %v", err)
		}
		if h, err := store.Head(t.Context()); err != nil || h.Size != 2 {
			t.Errorf("the database has %d entries, want 2: history was made that the guard does not hold", h.Size)
		}
		time.Sleep(2 * time.Second)
		if n := size(t, log); n != 1 {
			t.Errorf("readers see %d entries, the guard holds 1", n)
		}
		guard.broken.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := size(t, log); n != 2 || guard.size() != 2 {
			t.Errorf("readers see %d entries, the guard holds %d; want 2", n, guard.size())
		}
		if r, err := log.Append(t.Context(), logtest.Entry("a")); err != nil || !r.Duplicate || r.Leaf.Index != 1 {
			t.Errorf("append a again: %+v, %v", r.Leaf, err)
		}
		if err := log.Health(); err != nil {
			t.Error(err)
		}
	})
}

// A process that died between COMMIT and the guard leaves a guard behind; the next one moves it.
func TestGuardBehindIsAdvanced(t *testing.T) {
	guard := &fakeGuard{}
	store, cfg := memstore.New(), logtest.Config(t)
	create(t, store, cfg, numbered(0, 300)...)
	for _, to := range []int{310, 600} { // the first time the guard does not know the log
		cfg.Guard = nil
		e := mustOpen(t, store, cfg)
		stop := logtest.Start(t, e)
		logtest.Fill(t, e, to-10, to)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		cfg.Guard = guard
		e = mustOpen(t, store, cfg)
		if n := size(t, e); guard.size() != n {
			t.Errorf("the guard holds %d, readers see %d", guard.size(), n)
		}
	}
	guard.broken.Store(true)
	cfg.Guard = nil
	e := mustOpen(t, store, cfg)
	stop := logtest.Start(t, e)
	logtest.Fill(t, e, 700, 701)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	cfg.Guard = guard
	if _, err := tlog.Open(t.Context(), store, cfg); !errors.Is(err, errGuard) {
		t.Errorf("open with a guard that is behind and cannot be written: %v", err)
	}
}

// A guard that knows the origin means that there was a database.
func TestCreateUnderAGuardThatRemembers(t *testing.T) {
	guard := &fakeGuard{}
	cfg := logtest.Config(t, func(c *tlog.Config) { c.Guard = guard })
	first := memstore.New()
	create(t, first, cfg, logtest.Entry("seed"))
	mustOpen(t, first, cfg)
	second := memstore.New()
	if err := tlog.Create(t.Context(), second, cfg, nil); !errors.Is(err, tlog.ErrRollback) {
		t.Errorf("create: %v", err)
	}
	if _, err := second.Describe(t.Context()); !errors.Is(err, tlog.ErrNotFound) {
		t.Errorf("the log was created: %v", err)
	}
}

// Every batch moves the guard once, with a proof made in memory.
func TestGuardMovesOncePerBatch(t *testing.T) {
	guard := &fakeGuard{}
	store := &counting{Store: memstore.New()}
	cfg := logtest.Config(t, func(c *tlog.Config) { c.Guard = guard })
	create(t, store, cfg, numbered(0, 700)...)
	log := logtest.Open(t, store, cfg)
	store.reads, guard.moves = 0, 0
	for i := range 20 {
		if _, err := log.Append(t.Context(), logtest.Numbered(700+i)); err != nil {
			t.Fatal(err)
		}
	}
	if guard.moves != 20 || store.reads != 0 {
		t.Errorf("%d moves and %d reads for 20 batches; want 20 and 0", guard.moves, store.reads)
	}
}
