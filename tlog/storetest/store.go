package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/tile"
)

// These tests know nothing of trees: they store made-up rows.

var description = tlog.Description{Name: "test", Origin: "log.test - 1", Face: "test", KeySHA256: [32]byte{1, 2}, CreatedMS: 12345}

func leafRow(i int64) tlog.Leaf {
	id := fmt.Appendf(nil, "identity %d\x00\xff", i)
	return tlog.Leaf{
		Index: i, TimeMS: 1000 + i, Identity: [32]byte(append(id, make([]byte, 32)...)),
		Hash: tile.LeafHash(id), Data: fmt.Appendf(nil, "data %d\x00\xff", i),
	}
}

func headRow(size int64) tlog.Head {
	return tlog.Head{Size: size, Root: tile.LeafHash(fmt.Append(nil, size)), TimeMS: 2000 + size, Note: fmt.Appendf(nil, "note %d\n", size)}
}

// appendRows returns a callback that appends n leaves.
func appendRows(n int64) func(tlog.Tx) (*tlog.Batch, error) {
	return func(tx tlog.Tx) (*tlog.Batch, error) {
		size := tx.Head().Size
		var rows tlog.Rows
		for i := range n {
			rows.Leaves = append(rows.Leaves, leafRow(size+i))
		}
		return &tlog.Batch{Rows: rows, Seal: func(tlog.Rows) (tlog.Head, error) { return headRow(size + n), nil }}, nil
	}
}

func create(t testing.TB, f Fixture, n int64) {
	t.Helper()
	if err := f.Store.Create(t.Context(), description, appendRows(n)); err != nil {
		t.Fatal(err)
	}
}

// wantSize checks that the log has n leaves and nothing more.
func wantSize(t testing.TB, s tlog.Store, n int64) {
	t.Helper()
	h, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := headRow(n); h.Size != n || h.Root != want.Root || h.TimeMS != want.TimeMS || !bytes.Equal(h.Note, want.Note) || h.Frozen {
		t.Errorf("head %+v, want %+v", h, want)
	}
	if hashes, err := s.LeafHashes(t.Context(), 0, 1<<40); err != nil || int64(len(hashes)) != n {
		t.Errorf("%d leaves, %v; want %d", len(hashes), err, n)
	}
}

// plainly freezes a log that is not frozen.
func plainly(h tlog.Head) (tlog.Ending, error) {
	if h.Frozen {
		return tlog.Ending{}, errInjected
	}
	return tlog.Ending{}, nil
}

func testCreate(t *testing.T, f Fixture) {
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"describe": func() error { _, err := f.Store.Describe(ctx); return err },
		"head":     func() error { _, err := f.Store.Head(ctx); return err },
		"update":   func() error { return f.Store.Update(ctx, nil, appendRows(1)) },
		"freeze":   func() error { return f.Store.Freeze(ctx, plainly) },
	} {
		if err := call(); !errors.Is(err, tlog.ErrNotFound) {
			t.Errorf("%s before there is a log: %v", name, err)
		}
	}
	err := f.Store.Create(ctx, description, func(tlog.Tx) (*tlog.Batch, error) { return nil, errInjected })
	if !errors.Is(err, errInjected) {
		t.Errorf("create with a failing callback: %v", err)
	}
	if _, err := f.Store.Describe(ctx); !errors.Is(err, tlog.ErrNotFound) {
		t.Fatalf("a failed create left something: %v", err)
	}
	err = f.Store.Create(ctx, description, func(tx tlog.Tx) (*tlog.Batch, error) {
		if h := tx.Head(); h.Size != 0 || h.Root != tile.EmptyRoot() || h.TimeMS != 0 || h.Frozen {
			t.Errorf("head of a log that is being created: %+v", h)
		}
		if found, err := tx.Find(ctx, [][32]byte{{}}); err != nil || len(found) != 0 {
			t.Errorf("find in a log that is being created: %v, %v", found, err)
		}
		return appendRows(0)(tx)
	})
	if err != nil {
		t.Fatal(err)
	}
	wantSize(t, f.Store, 0)
	for _, s := range []tlog.Store{f.Store, f.Another(t)} {
		if d, err := s.Describe(ctx); err != nil || d != description {
			t.Errorf("describe: %+v, %v", d, err)
		}
		if err := s.Create(ctx, description, appendRows(0)); !errors.Is(err, tlog.ErrExists) {
			t.Errorf("create again: %v", err)
		}
	}
}

func testSearch(t *testing.T, f Fixture) {
	keys := map[string][]int64{"a": {0, 1, 4}, "b": {1, 2, 4}, "c\x00\xff": {4}, "": {3}}
	err := f.Store.Create(t.Context(), description, func(tx tlog.Tx) (*tlog.Batch, error) {
		b, err := appendRows(5)(tx)
		for k, indexes := range keys {
			for _, i := range indexes {
				b.Keys = append(b.Keys, tlog.Key{Key: []byte(k), Index: i})
			}
		}
		return b, err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		keys  string // separated by commas
		and   bool
		size  int64
		limit int
		want  []int64
	}{
		{"a", false, 5, 9, []int64{0, 1, 4}},
		{"a,b", false, 5, 9, []int64{0, 1, 2, 4}},
		{"a,b,a", true, 5, 9, []int64{1, 4}},
		{"a,b,c\x00\xff", true, 5, 9, []int64{4}},
		{"a,none", true, 5, 9, nil},
		{"none", false, 5, 9, nil},
		{"a", false, 4, 9, []int64{0, 1}},
		{"a,b", true, 4, 9, []int64{1}},
		{"a,b", false, 5, 2, []int64{2, 4}},
		{"a,b", true, 5, 1, []int64{4}},
		{"", false, 5, 9, []int64{3}},
	} {
		var list [][]byte
		for _, k := range strings.Split(c.keys, ",") {
			list = append(list, []byte(k))
		}
		if got, err := f.Store.Search(t.Context(), list, c.and, c.size, c.limit); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("search %q and=%v size=%d limit=%d: %v, %v; want %v", c.keys, c.and, c.size, c.limit, got, err, c.want)
		}
	}
	for _, c := range []struct {
		from, to int64
		want     string
	}{
		{0, 5, `"":3 "a":0 "a":1 "a":4 "b":1 "b":2 "b":4 "c\x00\xff":4`},
		{1, 3, `"a":1 "b":1 "b":2`},
		{4, 9, `"a":4 "b":4 "c\x00\xff":4`},
		{5, 9, ""},
		{1, 1, ""},
	} {
		var got []string
		err := f.Store.Keys(t.Context(), c.from, c.to, func(k tlog.Key) error {
			got = append(got, fmt.Sprintf("%q:%d", k.Key, k.Index))
			return nil
		})
		slices.Sort(got)
		if strings.Join(got, " ") != c.want || err != nil {
			t.Errorf("keys of [%d, %d): %v, %v; want %s", c.from, c.to, got, err, c.want)
		}
	}
	calls := 0
	err = f.Store.Keys(t.Context(), 0, 5, func(tlog.Key) error { calls++; return errInjected })
	if calls != 1 || !errors.Is(err, errInjected) {
		t.Errorf("keys, with a callback that fails: %d calls, %v", calls, err)
	}
}

func testUpdate(t *testing.T, f Fixture) {
	create(t, f, 2)
	ctx := t.Context()
	if err := f.Store.Update(ctx, nil, func(tlog.Tx) (*tlog.Batch, error) { return nil, nil }); err != nil {
		t.Errorf("update without a batch: %v", err)
	}
	for _, own := range []error{errInjected, tlog.ErrFrozen, tlog.ErrCorrupt, tlog.ErrRollback} {
		err := f.Store.Update(ctx, nil, func(tlog.Tx) (*tlog.Batch, error) { return nil, own })
		if !errors.Is(err, own) || errors.Is(err, tlog.ErrUnknownOutcome) {
			t.Errorf("update whose callback fails with %v: %v", own, err)
		}
		err = f.Store.Update(ctx, nil, func(tx tlog.Tx) (*tlog.Batch, error) {
			b, _ := appendRows(2)(tx)
			b.Seal = func(tlog.Rows) (tlog.Head, error) { return tlog.Head{}, own }
			return b, nil
		})
		if !errors.Is(err, own) || errors.Is(err, tlog.ErrUnknownOutcome) {
			t.Errorf("update whose seal fails with %v: %v", own, err)
		}
	}
	wantSize(t, f.Store, 2)
	cancelled, cancel := context.WithCancel(ctx)
	err := f.Store.Update(cancelled, nil, func(tx tlog.Tx) (*tlog.Batch, error) {
		cancel()
		if _, err := tx.Find(cancelled, [][32]byte{{}}); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("find: %v", err)
		}
		return appendRows(2)(tx)
	})
	if err != nil {
		t.Errorf("update whose context is cancelled on the way: %v", err)
	}
	wantSize(t, f.Store, 4)
	called := false
	err = f.Store.Update(cancelled, nil, func(tlog.Tx) (*tlog.Batch, error) { called = true; return nil, nil })
	if err == nil || called {
		t.Errorf("update whose context is cancelled before: %v, called %v", err, called)
	}
	wantSize(t, f.Another(t), 4)
}

// testLock shows that the lock is exclusive, and that the next holder sees what the last one did.
func testLock(t *testing.T, f Fixture) {
	create(t, f, 0)
	stores := []tlog.Store{f.Store, f.Store, f.Another(t), f.Another(t)}
	var inside sync.Mutex
	var wg sync.WaitGroup
	const each = 10
	for _, s := range stores {
		wg.Go(func() {
			for range each {
				err := s.Update(t.Context(), nil, func(tx tlog.Tx) (*tlog.Batch, error) {
					if !inside.TryLock() {
						t.Error("two holders of the head lock")
					} else {
						defer inside.Unlock()
					}
					size := tx.Head().Size
					hashes, err := tx.LeafHashes(t.Context(), 0, 1<<40)
					if err != nil || int64(len(hashes)) != size {
						t.Errorf("the head says %d, there are %d leaves; %v", size, len(hashes), err)
					}
					return appendRows(1)(tx)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	wantSize(t, f.Store, each*int64(len(stores)))
}

func testConflict(t *testing.T, f Fixture) {
	tileRow := tlog.TileRow{Level: 0, N: 7, Hashes: make([]byte, tile.FullSize), Root: [32]byte{1}}
	err := f.Store.Create(t.Context(), description, func(tx tlog.Tx) (*tlog.Batch, error) {
		b, err := appendRows(3)(tx)
		b.Tiles = []tlog.TileRow{tileRow}
		return b, err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func(*tlog.Batch)
		row   string // what the error names
	}{
		"an identity of the log":   {func(b *tlog.Batch) { b.Leaves[1].Identity = leafRow(0).Identity }, "4"},
		"an identity of the batch": {func(b *tlog.Batch) { b.Leaves[1].Identity = b.Leaves[0].Identity }, "4"},
		"an index of the log":      {func(b *tlog.Batch) { b.Leaves[0].Index = 2 }, "2"},
		"a tile of the log":        {func(b *tlog.Batch) { b.Tiles = []tlog.TileRow{tileRow} }, "n 7"},
	} {
		err := f.Store.Update(t.Context(), nil, func(tx tlog.Tx) (*tlog.Batch, error) {
			b, err := appendRows(2)(tx)
			c.spoil(b)
			return b, err
		})
		if !errors.Is(err, tlog.ErrConflict) || !strings.Contains(err.Error(), c.row) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantSize(t, f.Store, 3)
}

var storePoints = []string{
	tlog.PointTxBegin, tlog.PointLeafInserted, tlog.PointTilesWritten, tlog.PointIndexInserted, tlog.PointAttestInserted,
	tlog.PointHeadStored, tlog.PointTxPrecommit, tlog.PointTxCommitSent, tlog.PointTxCommitted,
}

// testStoreFaults fails an update at every point of the store: nothing is visible, or all of it.
func testStoreFaults(t *testing.T, f Fixture) {
	create(t, f, 1)
	size := int64(1)
	var plan faults
	f.UseHook(plan.hit)
	for _, point := range storePoints {
		plan.set(point)
		err := f.Store.Update(t.Context(), nil, appendRows(2))
		unknown := point == tlog.PointTxCommitSent || point == tlog.PointTxCommitted
		if !errors.Is(err, errInjected) || errors.Is(err, tlog.ErrUnknownOutcome) != unknown {
			t.Errorf("fault at %s: %v", point, err)
		}
		if point == tlog.PointTxCommitted {
			size += 2
		}
		wantSize(t, f.Store, size)
		if err := f.Store.Update(t.Context(), nil, appendRows(1)); err != nil {
			t.Fatalf("update after a fault at %s: %v", point, err)
		}
		size++
		wantSize(t, f.Store, size)
	}
	wantSize(t, f.Another(t), size)
	// A reader does not wait for a writer, and sees nothing of what is not committed.
	inside, release, done := make(chan bool), make(chan bool), make(chan error)
	go func() {
		done <- f.Store.Update(t.Context(), nil, func(tx tlog.Tx) (*tlog.Batch, error) {
			b, err := appendRows(1)(tx)
			b.Seal = func(tlog.Rows) (tlog.Head, error) {
				inside <- true
				<-release
				return tlog.Head{}, errInjected
			}
			return b, err
		})
	}()
	<-inside
	start := time.Now()
	wantSize(t, f.Store, size)
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("a reader waited %v for a writer", d)
	}
	release <- true
	if err := <-done; !errors.Is(err, errInjected) {
		t.Error(err)
	}
}
