package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/tile"
)

// wrapped is a store whose transactions are meddled with.
type wrapped struct {
	tlog.Store
	tx    func(tlog.Tx) tlog.Tx
	batch func(*tlog.Batch)
}

func (w wrapped) Update(ctx context.Context, wanted [][32]byte, f func(tlog.Tx) (*tlog.Batch, error)) error {
	return w.Store.Update(ctx, wanted, func(tx tlog.Tx) (*tlog.Batch, error) {
		if w.tx != nil {
			tx = w.tx(tx)
		}
		b, err := f(tx)
		if b != nil && w.batch != nil {
			w.batch(b)
		}
		return b, err
	})
}

type blindTx struct{ tlog.Tx }

func (blindTx) Find(context.Context, [][32]byte) (map[[32]byte]tlog.Found, error) { return nil, nil }

// testConflictHalts makes the engine write an entry twice: the database refuses, the log stops.
func testConflictHalts(t *testing.T, f Fixture) {
	cfg := logtest.Config(t)
	newLog(t, f, cfg, 5)
	log, stop := open(t, wrapped{Store: f.Store, tx: func(tx tlog.Tx) tlog.Tx { return blindTx{tx} }}, cfg)
	if _, err := log.Append(t.Context(), logtest.Entry("new")); err != nil {
		t.Fatal(err)
	}
	_, err := log.Append(t.Context(), logtest.Numbered(3))
	if !errors.Is(err, tlog.ErrUnavailable) || !errors.Is(err, tlog.ErrConflict) || !strings.Contains(err.Error(), "6") {
		t.Errorf("append: %v, want a conflict that names leaf 6", err)
	}
	wantHalted(t, log, stop, tlog.ErrConflict)
	mustFsck(t, f.Store, cfg)
}

// wantHalted checks that a log refuses writes for a reason, serves reads, and says so.
func wantHalted(t testing.TB, log *tlog.Engine, stop func() error, want error) {
	t.Helper()
	cp, err := log.Checkpoint(t.Context())
	if err != nil {
		t.Error(err)
	}
	if _, err := log.Leaf(t.Context(), 0); err != nil {
		t.Errorf("read: %v", err)
	}
	if _, err := log.Inclusion(t.Context(), 0, cp.Size); err != nil {
		t.Errorf("proof: %v", err)
	}
	wantStopped(t, log, stop, want)
}

// wantStopped is what wantHalted checks, but for reads.
func wantStopped(t testing.TB, log *tlog.Engine, stop func() error, want error) {
	t.Helper()
	if err := log.Health(); !errors.Is(err, want) {
		t.Errorf("health: %v, want %v", err, want)
	}
	if _, err := log.Append(t.Context(), logtest.Entry("refused")); !errors.Is(err, tlog.ErrUnavailable) || !errors.Is(err, want) {
		t.Errorf("append: %v, want %v", err, want)
	}
	if err := stop(); !errors.Is(err, want) {
		t.Errorf("run: %v, want %v", err, want)
	}
}

// testReadBack flips one bit of what the database says it wrote: the head is never signed.
func testReadBack(t *testing.T, f Fixture) {
	flip := func(b []byte) { b[rand.IntN(len(b))] ^= 1 << rand.IntN(8) }
	cfg := logtest.Config(t)
	newLog(t, f, cfg, 254)
	for name, damage := range map[string]func(*tlog.Rows){
		"data":        func(r *tlog.Rows) { flip(r.Leaves[len(r.Leaves)-1].Data) },
		"hash":        func(r *tlog.Rows) { flip(r.Leaves[0].Hash[:]) },
		"identity":    func(r *tlog.Rows) { flip(r.Leaves[0].Identity[:]) },
		"index":       func(r *tlog.Rows) { r.Leaves[0].Index++ },
		"time":        func(r *tlog.Rows) { r.Leaves[0].TimeMS++ },
		"tile hashes": func(r *tlog.Rows) { flip(r.Tiles[0].Hashes) },
		"tile root":   func(r *tlog.Rows) { flip(r.Tiles[0].Root[:]) },
		"tile number": func(r *tlog.Rows) { r.Tiles[0].N++ },
		"a leaf gone": func(r *tlog.Rows) { r.Leaves = r.Leaves[1:] },
		"a tile gone": func(r *tlog.Rows) { r.Tiles = nil },
		"order":       func(r *tlog.Rows) { r.Leaves[0], r.Leaves[1] = r.Leaves[1], r.Leaves[0] },
	} {
		signed := false
		cfg.Hook = func(p string) error {
			signed = signed || p == tlog.PointHeadSigned
			return nil
		}
		log, err := tlog.Open(t.Context(), wrapped{Store: f.Store, batch: func(b *tlog.Batch) {
			seal := b.Seal
			b.Seal = func(stored tlog.Rows) (tlog.Head, error) {
				damage(&stored)
				return seal(stored)
			}
		}}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		errs, stop := appendTogether(t, log, "a", "b", "c")
		for _, err := range errs {
			if !errors.Is(err, tlog.ErrCorrupt) {
				t.Errorf("%s: append: %v", name, err)
			}
		}
		if signed {
			t.Errorf("%s: a head was signed", name)
		}
		wantHalted(t, log, stop, tlog.ErrCorrupt)
		if h, err := f.Store.Head(t.Context()); err != nil || h.Size != 254 {
			t.Errorf("%s: the head is at %d, %v", name, h.Size, err)
		}
	}
	cfg.Hook = nil
	mustFsck(t, f.Store, cfg)
}

// appendTogether appends entries to a log that does not run, runs it, and returns what became of
// the entries, which were one batch.
func appendTogether(t testing.TB, log *tlog.Engine, entries ...logtest.Entry) (errs []error, stop func() error) {
	t.Helper()
	done := make(chan error)
	for _, e := range entries {
		go func() {
			_, err := log.Append(t.Context(), e)
			done <- err
		}()
	}
	for log.Pending() < len(entries) {
		runtime.Gosched()
	}
	stop = logtest.Start(t, log)
	for range entries {
		errs = append(errs, <-done)
	}
	return errs, stop
}

// A damage is a change behind the log's back.
type damage struct {
	Cell
	change func([]byte) []byte
	fsck   string // what fsck's error names
	reads  bool   // an engine that opens the log and reads all of it notices too
}

func (d damage) name() string { return fmt.Sprintf("%s %d %s", d.Table, d.N, d.Column) }

func flipBit(b []byte) []byte {
	b = bytes.Clone(b)
	b[rand.IntN(len(b))] ^= 1 << rand.IntN(8)
	return b
}

func remove([]byte) []byte { return nil }

func add(n int64) func([]byte) []byte {
	return func(b []byte) []byte {
		return binary.BigEndian.AppendUint64(nil, uint64(int64(binary.BigEndian.Uint64(b))+n))
	}
}

// damages of a log with 600 entries: two full tiles and 88 leaves.
func damages() (list []damage) {
	for _, i := range []int64{0, 255, 256, 400, 512, 599} {
		name := fmt.Sprintf("leaf %d", i)
		list = append(list,
			damage{Cell{Table: "tlog_leaf", N: i, Column: "data"}, flipBit, name, true},
			damage{Cell{Table: "tlog_leaf", N: i, Column: "leaf_hash"}, flipBit, name, true},
			damage{Cell{Table: "tlog_leaf", N: i, Column: "identity"}, flipBit, name, false},
			damage{Cell{Table: "tlog_leaf", N: i, Column: "data"}, remove, name, true},
			damage{Cell{Table: "tlog_key", N: i, Column: "key"}, remove, name, false},
		)
	}
	for n := range int64(2) {
		name := fmt.Sprintf("tile level 0 n %d", n)
		list = append(list,
			damage{Cell{Table: "tlog_tile", N: n, Column: "hashes"}, flipBit, name, true},
			damage{Cell{Table: "tlog_tile", N: n, Column: "root"}, flipBit, name, true},
			damage{Cell{Table: "tlog_tile", N: n, Column: "root"}, remove, name, true},
		)
	}
	return append(list,
		damage{Cell{Table: "tlog_head", Column: "root"}, flipBit, "head row", true},
		damage{Cell{Table: "tlog_head", Column: "size"}, add(1), "head row", true},
		damage{Cell{Table: "tlog_head", Column: "size"}, add(-1), "head row", true},
		damage{Cell{Table: "tlog_head", Column: "size"}, add(-256), "head row", true},
		damage{Cell{Table: "tlog_head", Column: "checkpoint"}, flipBit, "checkpoint", true},
		damage{Cell{Table: "tlog_head", Column: "time_ms"}, add(1), "time", false},
		damage{Cell{Table: "tlog_head", Column: "time_ms"}, add(-1), "time", false},
		damage{Cell{Table: "tlog_leaf", N: 300, Column: "time_ms"}, add(1e9), "leaf 300", false},
	)
}

// newDamaged makes a log of 600 entries and returns the model of it.
func newDamaged(t testing.TB, f Fixture) (tlog.Config, []tlog.Leaf) {
	cfg := logtest.Config(t, func(c *tlog.Config) { c.CacheTiles = 1 })
	newLog(t, f, cfg, 600)
	leaves, err := f.Store.Leaves(t.Context(), 0, 600)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, leaves
}

// testTampered damages a row at a time. Whatever is read afterwards is right or ErrCorrupt.
func testTampered(t *testing.T, f Fixture) {
	cfg, leaves := newDamaged(t, f)
	if readAll(t, f.Another(t), cfg, leaves) {
		t.Fatal("the log is corrupt without damage")
	}
	for _, d := range damages() {
		t.Run(d.name(), func(t *testing.T) {
			c := f.Backup(t)
			c.Tamper(t, d.Cell, d.change)
			if noticed := readAll(t, c.Store, cfg, leaves); noticed != d.reads {
				t.Errorf("noticed by readers: %v, want %v", noticed, d.reads)
			}
		})
	}
}

// readAll reads everything there is. It fails the test for an answer that is wrong, and returns
// whether one was ErrCorrupt.
func readAll(t testing.TB, store tlog.Store, cfg tlog.Config, want []tlog.Leaf) (noticed bool) {
	t.Helper()
	ctx := t.Context()
	check := func(what string, ok bool, err error) {
		t.Helper()
		switch {
		case errors.Is(err, tlog.ErrCorrupt):
			noticed = true
		case err != nil:
			t.Errorf("%s: %v", what, err)
		case !ok:
			t.Errorf("%s: a wrong answer was served", what)
		}
	}
	log, err := tlog.Open(ctx, store, cfg)
	check("open", true, err)
	if err != nil {
		return noticed
	}
	var n logtest.Naive
	for i, w := range want {
		n.Add(w.Data)
		l, err := log.Leaf(ctx, int64(i))
		check("leaf", l.Hash == w.Hash && bytes.Equal(l.Data, w.Data), err)
	}
	size := int64(len(want))
	for _, i := range []int64{0, 1, 255, 256, 511, 512, size - 1} {
		path, err := log.Inclusion(ctx, i, size)
		check("inclusion", err != nil || logtest.VerifyInclusion(i, size, n.Leaves[i], path, n.Root(len(want))) == nil, err)
		path, err = log.Consistency(ctx, i, size)
		check("consistency", err != nil || logtest.VerifyConsistency(i, size, path, n.Root(int(i)), n.Root(len(want))) == nil, err)
		root, err := log.Root(ctx, i)
		check("root", root == n.Root(int(i)), err)
	}
	for i, width := range []int{256, 256, 88} {
		hashes, err := log.Tile(ctx, 0, int64(i), width)
		check("tile", bytes.Equal(hashes, tile.Join(n.Tile(0, i))), err)
	}
	for i, w := range want {
		hashes, err := log.LeafHashes(ctx, []int64{int64(i)})
		check("leaf hash", err != nil || hashes[0] == w.Hash, err)
	}
	list, err := log.Leaves(ctx, 0, size)
	ok := err != nil || len(list) == len(want)
	for i, l := range list {
		ok = ok && l.Hash == want[i].Hash && bytes.Equal(l.Data, want[i].Data)
	}
	check("leaves", ok, err)
	return noticed
}

// testFsck finds every damage, and names the row.
func testFsck(t *testing.T, f Fixture) {
	cfg, _ := newDamaged(t, f)
	mustFsck(t, f.Store, cfg)
	if _, err := fsck(t, f.Store, logtest.Config(t)); !errors.Is(err, tlog.ErrCorrupt) {
		t.Errorf("fsck with another key: %v", err)
	}
	for _, d := range damages() {
		t.Run(d.name(), func(t *testing.T) {
			c := f.Backup(t)
			c.Tamper(t, d.Cell, d.change)
			if _, err := fsck(t, c.Store, cfg); !errors.Is(err, tlog.ErrCorrupt) || !strings.Contains(err.Error(), d.fsck) {
				t.Errorf("fsck says %v", err)
			}
		})
	}
}
