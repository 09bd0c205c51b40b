package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// appendNamed appends n entries of a name, one after the other.
func appendNamed(t testing.TB, log tlog.Log, name string, n int) {
	t.Helper()
	for i := range n {
		if _, err := log.Append(t.Context(), logtest.Entry(fmt.Sprint(name, " ", i))); err != nil {
			t.Fatal(err)
		}
	}
}

// newRolledBack makes a log of 310 entries that the guard remembers, and a backup with 300.
func newRolledBack(t testing.TB, f Fixture) (cfg tlog.Config, backup Fixture, log *tlog.Engine, stop func() error) {
	cfg = logtest.Config(t, func(c *tlog.Config) { c.Guard = newGuard() })
	newLog(t, f, cfg, 300)
	backup = f.Backup(t)
	log, stop = open(t, f.Store, cfg)
	appendNamed(t, log, "lost", 10)
	return cfg, backup, log, stop
}

// testRollback restores a backup: the log that opens it reads, and neither writes nor signs.
func testRollback(t *testing.T, f Fixture) {
	cfg, backup, _, stop := newRolledBack(t, f)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	signed := false
	cfg.Hook = func(p string) error {
		signed = signed || p == tlog.PointHeadSigned
		return nil
	}
	restored, stopRestored := open(t, backup.Store, cfg)
	for _, size := range []string{"300", "310"} {
		if err := restored.Health(); err == nil || !strings.Contains(err.Error(), size) {
			t.Errorf("health does not say %s: %v", size, err)
		}
	}
	if cp, err := restored.Checkpoint(t.Context()); err != nil || cp.Size != 300 {
		t.Errorf("checkpoint %+v, %v", cp.Checkpoint, err)
	}
	wantHalted(t, restored, stopRestored, tlog.ErrRollback)
	if signed {
		t.Error("a head was signed")
	}
	// The database that was not rolled back goes on.
	cfg.Hook = nil
	again, _ := open(t, f.Another(t), cfg)
	appendNamed(t, again, "on", 1)
}

// diverted is a store that comes to write to another database, as after a fail-over.
type diverted struct {
	tlog.Store
	to atomic.Pointer[Fixture]
}

func (d *diverted) now() tlog.Store {
	if to := d.to.Load(); to != nil {
		return to.Store
	}
	return d.Store
}

func (d *diverted) Head(ctx context.Context) (tlog.Head, error) { return d.now().Head(ctx) }
func (d *diverted) Update(ctx context.Context, wanted [][32]byte, f func(tlog.Tx) (*tlog.Batch, error)) error {
	return d.now().Update(ctx, wanted, f)
}

// testRollbackRunning takes the last entries away under a process that has acknowledged them and
// has no guard but its memory.
func testRollbackRunning(t *testing.T, f Fixture) {
	cfg, backup, _, stop := newRolledBack(t, f)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	cfg.Guard = nil
	for _, size := range []int64{300, 310, 315} {
		if size > 300 { // a fork of that size
			fork, stop := open(t, backup.Store, cfg)
			appendNamed(t, fork, fmt.Sprint("fork ", size), int(size)-forkSize(t, fork))
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		}
		store := &diverted{Store: f.Store}
		log, stop := open(t, store, cfg)
		appendNamed(t, log, "lost", 10) // they are there
		store.to.Store(&backup)
		if _, err := log.Append(t.Context(), logtest.Entry("x")); err == nil {
			t.Errorf("size %d: an entry was appended to a database that has lost others", size)
		}
		wantHalted(t, log, stop, tlog.ErrRollback)
		if h, err := backup.Store.Head(t.Context()); err != nil || h.Size != size {
			t.Errorf("the database is at %d, %v; want %d", h.Size, err, size)
		}
	}
}

// testRollbackPolled takes the last entries away under a process that only reads.
func testRollbackPolled(t *testing.T, f Fixture) {
	cfg, backup, _, stop := newRolledBack(t, f)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	cfg.Poll = 2 * time.Millisecond
	store := &diverted{Store: f.Store}
	log, stop := open(t, store, cfg)
	store.to.Store(&backup)
	for deadline := time.Now().Add(20 * time.Second); log.Health() == nil && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	wantHalted(t, log, stop, tlog.ErrRollback)
}

func forkSize(t testing.TB, log tlog.Log) int {
	t.Helper()
	cp, err := log.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return int(cp.Size)
}

// testForkIsNotCached makes sure that what is read of a fork, to find out that it is one, is never
// served as the log's own.
func testForkIsNotCached(t *testing.T, f Fixture) {
	cfg := logtest.Config(t)
	newLog(t, f, cfg, 300)
	backup := f.Backup(t)
	fork, stop := open(t, backup.Store, cfg)
	logtest.Fill(t, fork, 1000, 1400)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	other, stop := open(t, f.Store, cfg)
	logtest.Fill(t, other, 2000, 2300)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	want, err := other.Tile(t.Context(), 0, 1, 256)
	if err != nil {
		t.Fatal(err)
	}
	store := &diverted{Store: f.Store}
	log, stop := open(t, store, cfg)
	store.to.Store(&backup)
	if _, err := log.Append(t.Context(), logtest.Entry("x")); err == nil {
		t.Error("an entry was appended to a fork")
	}
	if got, err := log.Tile(t.Context(), 0, 1, 256); err != nil || !bytes.Equal(got, want) {
		t.Errorf("a tile is served that is not the log's: %v", err)
	}
	wantHalted(t, log, stop, tlog.ErrRollback)
}

// testFork grows another history on a backup, with the same key, past what the guard remembers:
// size alone would not tell.
func testFork(t *testing.T, f Fixture) {
	cfg, backup, _, stop := newRolledBack(t, f)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	unguarded := cfg
	unguarded.Guard = nil
	fork, stopFork := open(t, backup.Store, unguarded)
	appendNamed(t, fork, "fork", 30)
	if err := stopFork(); err != nil {
		t.Fatal(err)
	}
	shown := false
	cfg.Hook = func(p string) error {
		shown = shown || p == tlog.PointHeadPublished
		return nil
	}
	restored, stopRestored := open(t, backup.Another(t), cfg)
	wantWithheld(t, restored)
	wantStopped(t, restored, stopRestored, tlog.ErrRollback)
	if shown {
		t.Error("the head of a fork was shown")
	}
}

// wantWithheld checks that nothing is read of a log whose history is not the one that was shown, not
// even what both may have.
func wantWithheld(t testing.TB, log tlog.Log) {
	t.Helper()
	ctx := t.Context()
	for name, read := range map[string]func() error{
		"checkpoint":  func() error { _, err := log.Checkpoint(ctx); return err },
		"head":        func() error { _, _, err := log.Head(ctx); return err },
		"inclusion":   func() error { _, err := log.Inclusion(ctx, 1, 2); return err },
		"consistency": func() error { _, err := log.Consistency(ctx, 1, 2); return err },
		"root":        func() error { _, err := log.Root(ctx, 2); return err },
		"leaf":        func() error { _, err := log.Leaf(ctx, 1); return err },
		"leaves":      func() error { _, err := log.Leaves(ctx, 0, 2); return err },
		"find":        func() error { _, err := log.Find(ctx, logtest.Numbered(1).Identity()); return err },
		"search":      func() error { _, err := log.Search(ctx, nil, false, 9); return err },
		"leaf hashes": func() error { _, err := log.LeafHashes(ctx, []int64{1}); return err },
		"tile":        func() error { _, err := log.Tile(ctx, 0, 0, 256); return err },
	} {
		if err := read(); !errors.Is(err, tlog.ErrRollback) || !errors.Is(err, tlog.ErrUnavailable) {
			t.Errorf("%s of a fork: %v", name, err)
		}
	}
}
