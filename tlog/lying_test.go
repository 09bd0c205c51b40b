package tlog_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/memstore"
	"github.com/sigbox/sigbox/tlog/tile"
)

// lying is a store that answers some questions wrongly, without any row being damaged.
type lying struct {
	tlog.Store
	leaf   func(index int64) int64
	leaves func([]tlog.Leaf) []tlog.Leaf
	find   func(map[[32]byte]tlog.Found)
	head   func(*tlog.Head)
	keys   func(each func(tlog.Key) error, k tlog.Key) error
}

type lyingTx struct {
	tlog.Tx
	find func(map[[32]byte]tlog.Found)
}

func (l *lying) Leaf(ctx context.Context, i int64) (tlog.Leaf, error) {
	if l.leaf != nil {
		i = l.leaf(i)
	}
	return l.Store.Leaf(ctx, i)
}

func (l *lying) Leaves(ctx context.Context, from, to int64) ([]tlog.Leaf, error) {
	list, err := l.Store.Leaves(ctx, from, to)
	if l.leaves != nil {
		list = l.leaves(list)
	}
	return list, err
}

func (l *lying) Head(ctx context.Context) (tlog.Head, error) {
	h, err := l.Store.Head(ctx)
	if l.head != nil {
		l.head(&h)
	}
	return h, err
}

func (l *lying) Keys(ctx context.Context, from, to int64, each func(tlog.Key) error) error {
	return l.Store.Keys(ctx, from, to, func(k tlog.Key) error {
		if l.keys != nil {
			return l.keys(each, k)
		}
		return each(k)
	})
}

func (l *lying) Find(ctx context.Context, ids [][32]byte) (map[[32]byte]tlog.Found, error) {
	return lie(l.find)(l.Store.Find(ctx, ids))
}

func (l *lying) Update(ctx context.Context, wanted [][32]byte, f func(tlog.Tx) (*tlog.Batch, error)) error {
	return l.Store.Update(ctx, wanted, func(tx tlog.Tx) (*tlog.Batch, error) { return f(lyingTx{tx, l.find}) })
}

func (l lyingTx) Find(ctx context.Context, ids [][32]byte) (map[[32]byte]tlog.Found, error) {
	return lie(l.find)(l.Tx.Find(ctx, ids))
}

func lie(change func(map[[32]byte]tlog.Found)) func(map[[32]byte]tlog.Found, error) (map[[32]byte]tlog.Found, error) {
	return func(found map[[32]byte]tlog.Found, err error) (map[[32]byte]tlog.Found, error) {
		if change != nil {
			change(found)
		}
		return found, err
	}
}

func newLying(t *testing.T) (*lying, *tlog.Engine) {
	t.Helper()
	store, cfg := &lying{Store: memstore.New()}, logtest.Config(t)
	create(t, store, cfg, numbered(0, 300)...)
	log := mustOpen(t, store, cfg)
	stop := logtest.Start(t, log)
	t.Cleanup(func() { _ = stop() })
	return store, log
}

func TestWrongLeafIsNotServed(t *testing.T) {
	store, log := newLying(t)
	store.leaf = func(i int64) int64 { return i + 1 }
	if l, err := log.Leaf(t.Context(), 7); err == nil {
		t.Errorf("leaf 7 is served as %q", l.Data)
	}
	for name, change := range map[string]func([]tlog.Leaf) []tlog.Leaf{
		"the first is missing": func(l []tlog.Leaf) []tlog.Leaf { return l[1:] },
		"the last is missing":  func(l []tlog.Leaf) []tlog.Leaf { return l[:len(l)-1] },
		"one is missing":       func(l []tlog.Leaf) []tlog.Leaf { return append(l[:3], l[4:]...) },
		"all are missing":      func([]tlog.Leaf) []tlog.Leaf { return nil },
		"two are exchanged":    func(l []tlog.Leaf) []tlog.Leaf { l[0], l[1] = l[1], l[0]; return l },
		"one has other bytes":  func(l []tlog.Leaf) []tlog.Leaf { l[5].Data = []byte("x"); return l },
	} {
		store.leaves = change
		if l, err := log.Leaves(t.Context(), 10, 20); !errors.Is(err, tlog.ErrCorrupt) || l != nil {
			t.Errorf("%s: %d leaves, %v", name, len(l), err)
		}
	}
}

func TestWrongIndexOfADuplicate(t *testing.T) {
	store, log := newLying(t)
	id := logtest.Numbered(7).Identity()
	store.find = func(found map[[32]byte]tlog.Found) { found[id] = tlog.Found{Index: 8} }
	if r, err := log.Append(t.Context(), logtest.Numbered(7)); !errors.Is(err, tlog.ErrCorrupt) {
		t.Errorf("append: %+v, %v", r.Leaf, err)
	}
	if err := log.Health(); err != nil {
		t.Errorf("the log has halted for one answer: %v", err)
	}
	store.find = func(found map[[32]byte]tlog.Found) { found[id] = tlog.Found{Index: 300} }
	if r, err := log.Append(t.Context(), logtest.Numbered(7)); !errors.Is(err, tlog.ErrCorrupt) || !errors.Is(err, tlog.ErrUnavailable) {
		t.Errorf("append of what is beyond the head: %+v, %v", r.Leaf, err)
	}
	if err := log.Health(); !errors.Is(err, tlog.ErrCorrupt) {
		t.Errorf("health with a row beyond the head: %v", err)
	}
}

// noKeysFor audits one entry as if it had no search keys.
func noKeysFor(index int64) func(tlog.Leaf) ([][]byte, error) {
	return func(l tlog.Leaf) ([][]byte, error) {
		if l.Index == index {
			return nil, nil
		}
		return logtest.Entry(l.Data).Keys(), nil
	}
}

// elsewhere says that an entry is at another index.
func elsewhere(i int) func(map[[32]byte]tlog.Found) {
	return func(found map[[32]byte]tlog.Found) {
		if id := logtest.Numbered(i).Identity(); found[id] != (tlog.Found{}) {
			found[id] = tlog.Found{Index: 3}
		}
	}
}

func TestFsckSeesWhatNoRowShows(t *testing.T) {
	store, cfg := &lying{Store: memstore.New()}, logtest.Config(t)
	create(t, store, cfg, numbered(0, 600)...)
	log := mustOpen(t, store, cfg)
	small, err := log.Root(t.Context(), 512)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := cfg.Signer.Sign(512, small)
	if err != nil {
		t.Fatal(err)
	}
	times, err := store.Leaf(t.Context(), 511)
	if err != nil {
		t.Fatal(err)
	}
	audit := func() tlog.Audit {
		return tlog.Audit{
			Verifier: cfg.Signer.Verifier(),
			Keys:     func(l tlog.Leaf) ([][]byte, error) { return logtest.Entry(l.Data).Keys(), nil },
		}
	}
	good := audit()
	var progress []int64
	good.Progress = func(done, size int64) { progress = append(progress, done, size) }
	if c, err := tlog.Fsck(t.Context(), store, good); err != nil || c.Size != 600 {
		t.Fatal(c.Size, err)
	}
	if len(progress) != 6 || progress[0] != 256 || progress[4] != 600 || progress[5] != 600 {
		t.Errorf("progress %v", progress)
	}
	for name, c := range map[string]struct {
		lie  func(*tlog.Audit)
		want string
	}{
		"rows beyond the head": {func(*tlog.Audit) {
			store.head = func(h *tlog.Head) { h.Size, h.Root, h.Note, h.TimeMS = 512, small, signed.Note, times.TimeMS }
		}, "leaf 512 is there"},
		"a head row of another size than its checkpoint": {func(*tlog.Audit) {
			store.head = func(h *tlog.Head) { h.Size, h.Root = 512, small }
		}, "head row"},
		"a key that no leaf has": {func(a *tlog.Audit) {
			a.Keys = noKeysFor(5)
		}, "leaf 5 is found under a search key that it does not have"},
		"a key that is stored twice": {func(*tlog.Audit) {
			store.keys = func(each func(tlog.Key) error, k tlog.Key) error {
				if k.Index == 300 {
					return errors.Join(each(k), each(k))
				}
				return each(k)
			}
		}, "leaf 300 is found under a search key that it does not have, or twice"},
		"a key, and a later leaf": {func(a *tlog.Audit) { a.Keys = noKeysFor(5); store.find = elsewhere(400) }, "leaf 5 is found under"},
		"a leaf, and a later key": {func(a *tlog.Audit) { a.Keys = noKeysFor(400); store.find = elsewhere(9) }, "leaf 9 is not found"},
		"an identity that is found elsewhere": {func(*tlog.Audit) {
			store.find = elsewhere(9)
		}, "leaf 9 is not found"},
		"a leaf with its hash, replaced together": {func(*tlog.Audit) {
			store.leaves = func(list []tlog.Leaf) []tlog.Leaf {
				for i := range list {
					if list[i].Index == 599 {
						list[i].Data, list[i].Hash = []byte("e x"), tile.LeafHash([]byte("e x"))
					}
				}
				return list
			}
		}, "the leaves have root"},
	} {
		a := audit()
		*store = lying{Store: store.Store}
		c.lie(&a)
		if _, err := tlog.Fsck(t.Context(), store, a); !errors.Is(err, tlog.ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	*store = lying{Store: store.Store, head: func(h *tlog.Head) { h.Size, h.Root = 512, small }}
	if _, err := tlog.Open(t.Context(), store, cfg); !errors.Is(err, tlog.ErrCorrupt) || !strings.Contains(err.Error(), "head row") {
		t.Errorf("open with a head row of another size than its checkpoint: %v", err)
	}
}
