package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// kept is an entry with an attestation and a search key of its own.
type kept struct{ logtest.Entry }

func (k kept) Keys() [][]byte      { return append(k.Entry.Keys(), []byte("of "+k.Entry)) }
func (k kept) Attestation() []byte { return []byte("attests " + k.Entry) }

// lost is a log that the guard remembers whole, and backups of it from before its last entries.
type lost struct {
	f       Fixture
	cfg     tlog.Config
	backups []Fixture
	head    tlog.Head // of the whole log
}

const before, after = 300, 1300 // sizes of the backups and of the log

func newLost(t testing.TB, f Fixture, backups int) *lost {
	t.Helper()
	l := &lost{f: f, cfg: logtest.Config(t, func(c *tlog.Config) { c.Guard, c.MaxBatch = newGuard(), 16 })}
	newLog(t, f, l.cfg, before)
	for range backups {
		l.backups = append(l.backups, f.Backup(t))
	}
	log, stop := open(t, f.Store, l.cfg)
	appendKept(t, log, 5)
	logtest.Fill(t, log, 5000, 5000+after-before-5)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	var err error
	if l.head, err = f.Store.Head(t.Context()); err != nil || l.head.Size != after {
		t.Fatalf("the log has %d entries, want %d: %v", l.head.Size, after, err)
	}
	return l
}

func appendKept(t testing.TB, log tlog.Log, n int) {
	t.Helper()
	for i := range n {
		if _, err := log.Append(t.Context(), kept{logtest.Entry(fmt.Sprint("kept ", i))}); err != nil {
			t.Fatal(err)
		}
	}
}

// audit knows the keys of all entries.
func audit(cfg tlog.Config) tlog.Audit {
	return tlog.Audit{
		Verifier: cfg.Signer.Verifier(),
		Identity: func(l tlog.Leaf) ([32]byte, error) { return logtest.Entry(l.Data).Identity(), nil },
		Keys: func(l tlog.Leaf) ([][]byte, error) {
			if bytes.HasPrefix(l.Data, []byte("kept ")) {
				return kept{logtest.Entry(l.Data)}.Keys(), nil
			}
			return logtest.Entry(l.Data).Keys(), nil
		},
	}
}

func (l *lost) recover(t testing.TB, to, from Fixture, hook tlog.Hook) error {
	t.Helper()
	cfg := l.cfg
	cfg.Hook = hook
	to.UseHook(hook)
	_, err := tlog.Recover(t.Context(), to.Store, cfg, from.Store, audit(cfg))
	return err
}

// whole checks that a store holds all of the log, is sound, and that the log goes on.
func (l *lost) whole(t testing.TB, f Fixture) {
	t.Helper()
	ctx := t.Context()
	f.UseHook(nil)
	if head, err := f.Store.Head(ctx); err != nil || !bytes.Equal(head.Note, l.head.Note) || head.TimeMS != l.head.TimeMS || head.Root != l.head.Root {
		t.Errorf("head %+v, %v; want that of the source", head, err)
	}
	if _, err := tlog.Fsck(ctx, f.Store, audit(l.cfg)); err != nil {
		t.Error(err)
	}
	for _, i := range []int64{before, before + 4, before + 5, after - 1} {
		want, err := l.f.Store.Leaf(ctx, i)
		got, err2 := f.Store.Leaf(ctx, i)
		if err != nil || err2 != nil || fmt.Sprintf("%v", got) != fmt.Sprintf("%v", want) {
			t.Errorf("leaf %d: %v %v, want %v %v", i, got, err2, want, err)
		}
	}
	log, stop := open(t, f.Another(t), l.cfg)
	if err := log.Health(); err != nil {
		t.Error(err)
	}
	if hits, err := log.Search(ctx, [][]byte{[]byte("of kept 3")}, false, 9); err != nil || !slices.Equal(hits.Indexes, []int64{before + 3}) {
		t.Errorf("search: %v, %v", hits, err)
	}
	if r, err := log.Append(ctx, kept{"kept 4"}); err != nil || !r.Duplicate || r.Leaf.Index != before+4 {
		t.Errorf("append of an entry that was lost: %+v, %v", r.Leaf, err)
	}
	appendNamed(t, log, "goes on", 3)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// testRecover restores a backup and brings the rest back from the database that was lost.
func testRecover(t *testing.T, f Fixture) {
	l := newLost(t, f, 1)
	restored := l.backups[0]
	s, err := tlog.Compare(t.Context(), restored.Store, l.cfg)
	if err != nil || !s.Behind() || s.Forked || s.Sound() || s.Log.Size != before || s.Guard != (tlog.Mark{Size: after, Root: l.head.Root}) {
		t.Errorf("standing %+v, %v", s, err)
	}
	signed := 0
	count := func(p string) error {
		if p == tlog.PointHeadSigned {
			signed++
		}
		return nil
	}
	if err := l.recover(t, restored, f, count); err != nil {
		t.Fatal(err)
	}
	if signed < 3 {
		t.Errorf("%d commits: this should be a test of several", signed)
	}
	if err := l.recover(t, restored, f, func(string) error { t.Error("a sound log was touched"); return nil }); err != nil {
		t.Errorf("recover a sound log: %v", err)
	}
	l.whole(t, restored)
	// The other history that is there now is none of the guard's: the old database is out.
	old, stop := open(t, f.Store, l.cfg)
	wantHalted(t, old, stop, tlog.ErrRollback)
}

// testRecoverFaults kills a recovery at each of its steps. The next one goes on from there.
func testRecoverFaults(t *testing.T, f Fixture) {
	l := newLost(t, f, 2)
	retried := map[string]bool{tlog.PointTxCommitSent: true, tlog.PointTxCommitted: true}
	for i, late := range []bool{false, true} {
		restored, progress := l.backups[i], int64(before)
		for p := range outcomes {
			if p == tlog.PointGuardSent || p == tlog.PointGuardDone || p == tlog.PointHeadPublished || p == tlog.PointResponseReleased || retried[p] {
				continue // recovery has no such step, or is tried below
			}
			skip := map[bool]int{false: 0, true: 1}[late] // die in the first commit, or in the second
			err := l.recover(t, restored, f, func(at string) error {
				if at != p {
					return nil
				}
				if skip--; skip >= 0 {
					return nil
				}
				return errInjected
			})
			if late && err == nil {
				break // there is only the last commit left, and it is done
			}
			if !errors.Is(err, errInjected) {
				t.Fatalf("fault at %s: %v", p, err)
			}
			head, err := restored.Store.Head(t.Context())
			if err != nil || head.Size < progress || late == (head.Size == before) {
				t.Errorf("after a fault at %s the log has %d entries, before %d; %v", p, head.Size, progress, err)
			}
			progress = head.Size
			if progress < after {
				halted, stop := open(t, restored.Another(t), l.cfg)
				wantHalted(t, halted, stop, tlog.ErrRollback)
			}
		}
		for p := range retried {
			plan := &faults{}
			plan.set(p)
			if err := l.recover(t, restored, f, plan.hit); err != nil {
				t.Errorf("fault at %s: %v", p, err)
			}
		}
		l.whole(t, restored)
		f, l.f, l.head = restored, restored, mustHead(t, restored) // the guard has moved on with it
	}
}

func mustHead(t testing.TB, f Fixture) tlog.Head {
	t.Helper()
	h, err := f.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// testRecoverAhead recovers from a source that was ahead of the guard when it went: at no moment has
// the log what the guard remembers and less than the source, and may go on from there.
func testRecoverAhead(t *testing.T, f Fixture) {
	l := newLost(t, f, 1)
	ahead := l.cfg
	ahead.Guard = nil
	log, stop := open(t, f.Store, ahead)
	logtest.Fill(t, log, 9000, 9200)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	l.head = mustHead(t, f)
	restored := l.backups[0]
	var sizes []int64
	err := l.recover(t, restored, f, func(p string) error {
		if p == tlog.PointSequenced {
			sizes = append(sizes, mustHead(t, restored).Size)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if last := sizes[len(sizes)-1]; len(sizes) < 3 || last >= after || l.head.Size != after+200 {
		t.Errorf("commits at %v, the guard remembers %d, the source has %d", sizes, after, l.head.Size)
	}
	l.whole(t, restored)
}

func flip(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)-1] ^= 1
	return b
}

func later(b []byte) []byte {
	return binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(b)+1<<32)
}

// testRecoverRefuses: sources that are not, and damaged ones. Nothing is ever signed that is not
// the log's, and the log stays read-only.
func testRecoverRefuses(t *testing.T, f Fixture) {
	l := newLost(t, f, 3)
	restored, shorter, forked := l.backups[0], l.backups[1], l.backups[2]
	noGuard := l.cfg
	noGuard.Guard = nil
	for to, other := range map[*Fixture]int{&shorter: 3, &forked: after - before + 10} { // other histories
		log, stop := open(t, to.Store, noGuard)
		logtest.Fill(t, log, 9000, 9000+other)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	tampered := func(table string, n int64, column string, change func([]byte) []byte) func() tlog.Store {
		return func() tlog.Store {
			b := f.Backup(t)
			b.Tamper(t, Cell{Table: table, N: n, Column: column}, change)
			return b.Store
		}
	}
	is := func(f Fixture) func() tlog.Store { return func() tlog.Store { return f.Store } }
	gone := func([]byte) []byte { return nil }
	for name, row := range map[string]struct {
		source func() tlog.Store
		change func(*tlog.Config)
		is     error
		want   string
	}{
		"no guard":         {source: is(f), change: func(c *tlog.Config) { c.Guard = nil }, want: "no guard"},
		"no log there":     {source: func() tlog.Store { return absent{f.Store} }, is: tlog.ErrNoSource, want: "no log of this name"},
		"another key":      {source: func() tlog.Store { return described{f.Store, func(d *tlog.Description) { d.KeySHA256[0] ^= 1 }} }, is: tlog.ErrNoSource, want: "it holds log"},
		"another origin":   {source: func() tlog.Store { return described{f.Store, func(d *tlog.Description) { d.Origin = "other.example" }} }, is: tlog.ErrNoSource, want: "other.example"},
		"too short":        {source: is(shorter), is: tlog.ErrNoSource, want: fmt.Sprintf("%d are missing there too", after-before-3)},
		"a fork":           {source: is(forked), is: tlog.ErrNoSource, want: fmt.Sprintf("another history: at size %d", after)},
		"signature":        {source: tampered("tlog_head", 0, "checkpoint", flip), is: tlog.ErrCorrupt, want: "checkpoint"},
		"root":             {source: tampered("tlog_head", 0, "root", flip), is: tlog.ErrCorrupt, want: "head row"},
		"time of the head": {source: tampered("tlog_head", 0, "time_ms", later), is: tlog.ErrCorrupt, want: "its head has time"},
		"leaf":             {source: tampered("tlog_leaf", 700, "data", flip), is: tlog.ErrCorrupt, want: "leaf 700 hashes to"},
		"leaf hash":        {source: tampered("tlog_leaf", 701, "leaf_hash", flip), is: tlog.ErrCorrupt, want: "leaf 701 hashes to"},
		"leaf gone":        {source: tampered("tlog_leaf", 702, "data", gone), is: tlog.ErrCorrupt, want: "leaf 702 is missing"},
		"identity":         {source: tampered("tlog_leaf", 703, "identity", flip), is: tlog.ErrCorrupt, want: "leaf 703 has identity"},
		"time of a leaf":   {source: tampered("tlog_leaf", 704, "time_ms", later), is: tlog.ErrCorrupt, want: "has time"},
		"tile":             {source: tampered("tlog_tile", 2, "hashes", flip), is: tlog.ErrCorrupt, want: "tile level 0 n 2"},
		"search key":       {source: tampered("tlog_key", 705, "key", gone), is: tlog.ErrCorrupt, want: "leaf 705 is stored under other search keys"},
		"history given up": {source: func() tlog.Store {
			return headed{f.Store, func(h *tlog.Head) { h.Frozen, h.Lost, h.Reason = true, 1, "lost" }}
		}, is: tlog.ErrNoSource, want: "lost history itself"},
		"somebody writes it": {source: func() tlog.Store { return &moving{Store: f.Store} }, is: tlog.ErrNoSource, want: "it has moved"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := l.cfg
			if row.change != nil {
				row.change(&cfg)
			}
			_, err := tlog.Recover(t.Context(), restored.Store, cfg, row.source(), audit(cfg))
			if err == nil || row.is != nil && !errors.Is(err, row.is) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("recover: %v, want %q", err, row.want)
			}
			log, stop := open(t, restored.Another(t), l.cfg)
			wantHalted(t, log, stop, tlog.ErrRollback)
		})
	}
	t.Run("this log is a fork", func(t *testing.T) {
		size := mustHead(t, forked).Size
		if s, err := tlog.Compare(t.Context(), forked.Store, l.cfg); err != nil || !s.Forked || s.Sound() {
			t.Errorf("standing %+v, %v", s, err)
		}
		err := l.recover(t, forked, f, nil)
		if !errors.Is(err, tlog.ErrRollback) || !strings.Contains(err.Error(), "another root") {
			t.Errorf("recover: %v", err)
		}
		if h := mustHead(t, forked); h.Size != size {
			t.Errorf("it has %d entries now, before %d", h.Size, size)
		}
	})
	t.Run("this log does not begin as the source", func(t *testing.T) {
		err := l.recover(t, shorter, f, nil)
		if !errors.Is(err, tlog.ErrNoSource) || !strings.Contains(err.Error(), fmt.Sprintf("at size %d", before+3)) {
			t.Errorf("recover: %v", err)
		}
	})
	if err := l.recover(t, restored, f, nil); err != nil { // for all that was refused, a good source is taken
		t.Fatal(err)
	}
	l.whole(t, restored)
}

type absent struct{ tlog.Store }

func (absent) Describe(context.Context) (tlog.Description, error) {
	return tlog.Description{}, tlog.ErrNotFound
}

type described struct {
	tlog.Store
	change func(*tlog.Description)
}

func (d described) Describe(ctx context.Context) (tlog.Description, error) {
	have, err := d.Store.Describe(ctx)
	d.change(&have)
	return have, err
}

type headed struct {
	tlog.Store
	change func(*tlog.Head)
}

func (h headed) Head(ctx context.Context) (tlog.Head, error) {
	have, err := h.Store.Head(ctx)
	h.change(&have)
	return have, err
}

// moving is a log that grows between two looks.
type moving struct {
	tlog.Store
	looks int64
}

func (m *moving) Head(ctx context.Context) (tlog.Head, error) {
	h, err := m.Store.Head(ctx)
	h.Size += m.looks
	m.looks++
	return h, err
}
