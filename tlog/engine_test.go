package tlog_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/memstore"
)

func create(t testing.TB, store tlog.Store, cfg tlog.Config, seeds ...tlog.Entry) {
	t.Helper()
	if err := tlog.Create(t.Context(), store, cfg, seeds); err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t testing.TB, store tlog.Store, cfg tlog.Config) *tlog.Engine {
	t.Helper()
	e, err := tlog.Open(t.Context(), store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestCreateCommitsSeedsAtOnce(t *testing.T) {
	store, cfg := memstore.New(), logtest.Config(t)
	cfg.Clock = clock.NewManual(time.UnixMilli(1_700_000_000_000))
	create(t, store, cfg, logtest.Entry("seed a"), logtest.Entry("seed b"))
	head, err := store.Head(t.Context())
	if err != nil || head.Size != 2 || head.TimeMS != 1_700_000_000_000 {
		t.Fatalf("head %+v, %v", head, err)
	}
	if err := tlog.Create(t.Context(), store, cfg, nil); !errors.Is(err, tlog.ErrExists) {
		t.Errorf("create again: %v", err)
	}
	log := logtest.Open(t, store, cfg)
	r, err := log.Append(t.Context(), logtest.Entry("first"))
	if err != nil || r.Leaf.Index != 2 || len(r.Proof) == 0 {
		t.Errorf("the first entry of a user: index %d, proof of %d hashes, %v", r.Leaf.Index, len(r.Proof), err)
	}
}

type failing struct{ logtest.Entry }

func (failing) Encode(int64, int64) (leaf, stored []byte, err error) {
	return nil, nil, errors.New("cannot encode")
}

func TestCreateLeavesNothingBehind(t *testing.T) {
	store, cfg := memstore.New(), logtest.Config(t)
	for name, seeds := range map[string][]tlog.Entry{
		"a seed that fails": {logtest.Entry("a"), failing{"b"}},
		"a seed twice":      {logtest.Entry("a"), logtest.Entry("a")},
	} {
		if err := tlog.Create(t.Context(), store, cfg, seeds); err == nil {
			t.Errorf("%s: created", name)
		}
		if _, err := tlog.Open(t.Context(), store, cfg); !errors.Is(err, tlog.ErrNotFound) {
			t.Errorf("%s: open: %v", name, err)
		}
	}
	for name, broken := range map[string]tlog.Config{
		"no signer": {Name: "test"},
		"no name":   {Signer: cfg.Signer},
	} {
		if err := tlog.Create(t.Context(), store, broken, nil); err == nil {
			t.Errorf("%s: created", name)
		}
		if _, err := tlog.Open(t.Context(), store, broken); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestOpenRefusesAnotherLog(t *testing.T) {
	store, cfg := memstore.New(), logtest.Config(t)
	cfg.Face = "rekorv1"
	create(t, store, cfg)
	for name, change := range map[string]func(*tlog.Config){
		"another key":    func(c *tlog.Config) { c.Signer = logtest.Signer(t, logtest.Origin, logtest.Origin) },
		"another origin": func(c *tlog.Config) { c.Signer = logtest.Signer(t, "other.test", "other.test") },
		"another face":   func(c *tlog.Config) { c.Face = "rekorv2" },
	} {
		other := cfg
		change(&other)
		_, err := tlog.Open(t.Context(), store, other)
		if err == nil || !strings.Contains(err.Error(), strings.Fields(name)[1]) && !strings.Contains(err.Error(), "created for") {
			t.Errorf("%s: %v", name, err)
		}
	}
	cfg.Face = ""
	mustOpen(t, store, cfg)
}

func TestRunIsOnlyOnce(t *testing.T) {
	log := logtest.New(t)
	if _, err := log.Append(t.Context(), logtest.Entry("it runs")); err != nil {
		t.Fatal(err)
	}
	if err := log.Run(t.Context()); err == nil {
		t.Error("a second sequencer started")
	}
}

// appendAll appends entries to a log that does not run, and waits until they are queued.
func appendAll(t testing.TB, log *tlog.Engine, entries ...tlog.Entry) (wait func() []error) {
	t.Helper()
	before := log.Pending()
	errs := make([]error, len(entries))
	var wg sync.WaitGroup
	for i, e := range entries {
		wg.Go(func() { _, errs[i] = log.Append(t.Context(), e) })
	}
	for log.Pending() < before+len(entries) {
		time.Sleep(time.Millisecond)
	}
	return func() []error { wg.Wait(); return errs }
}

func numbered(from, to int) (entries []tlog.Entry) {
	for i := from; i < to; i++ {
		entries = append(entries, logtest.Numbered(i))
	}
	return entries
}

func TestFullPoolIsBusy(t *testing.T) {
	store, cfg := memstore.New(), logtest.Config(t)
	cfg.MaxPending = 5
	create(t, store, cfg)
	log := mustOpen(t, store, cfg)
	wait := appendAll(t, log, numbered(0, 5)...)
	if _, err := log.Append(t.Context(), logtest.Entry("one too many")); !errors.Is(err, tlog.ErrBusy) {
		t.Errorf("append to a full pool: %v", err)
	}
	if n := log.Pending(); n != 5 {
		t.Errorf("%d entries wait, want 5", n)
	}
	stop := logtest.Start(t, log)
	for _, err := range wait() {
		if err != nil {
			t.Error(err)
		}
	}
	if _, err := log.Append(t.Context(), logtest.Entry("now there is room")); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// counting counts what the engine asks of a store.
type counting struct {
	tlog.Store
	mu      sync.Mutex
	batches []int // leaves of each
	finds   int   // in transactions
	reads   int   // outside of Find
}

type countingTx struct {
	tlog.Tx
	c *counting
}

func (c *counting) Update(ctx context.Context, wanted [][32]byte, f func(tlog.Tx) (*tlog.Batch, error)) error {
	return c.Store.Update(ctx, wanted, func(tx tlog.Tx) (*tlog.Batch, error) {
		b, err := f(countingTx{tx, c})
		c.mu.Lock()
		defer c.mu.Unlock()
		if b != nil {
			c.batches = append(c.batches, len(b.Leaves))
		}
		return b, err
	})
}

func (c *counting) read() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
}

func (c *counting) Leaf(ctx context.Context, i int64) (tlog.Leaf, error) {
	c.read()
	return c.Store.Leaf(ctx, i)
}

func (c *counting) Tile(ctx context.Context, level int, n int64) (tlog.TileRow, error) {
	c.read()
	return c.Store.Tile(ctx, level, n)
}

func (c *counting) LeafHashes(ctx context.Context, from, to int64) ([][32]byte, error) {
	c.read()
	return c.Store.LeafHashes(ctx, from, to)
}

func (c countingTx) LeafHashes(ctx context.Context, from, to int64) ([][32]byte, error) {
	c.c.read()
	return c.Tx.LeafHashes(ctx, from, to)
}

func (c countingTx) Find(ctx context.Context, ids [][32]byte) (map[[32]byte]tlog.Found, error) {
	c.c.mu.Lock()
	c.c.finds++
	c.c.mu.Unlock()
	return c.Tx.Find(ctx, ids)
}

func TestBatchIsBounded(t *testing.T) {
	long := func(i int) tlog.Entry { return logtest.Entry(fmt.Sprintf("%0400d", i)) }
	for name, c := range map[string]struct {
		limit   func(*tlog.Config)
		entries []tlog.Entry
		want    []int
	}{
		"entries":            {func(c *tlog.Config) { c.MaxBatch = 4 }, numbered(0, 10), []int{4, 4, 2}},
		"bytes":              {func(c *tlog.Config) { c.MaxBatchBytes = 1000 }, []tlog.Entry{long(1), long(2), long(3), long(4), long(5)}, []int{2, 2, 1}},
		"one over the bytes": {func(c *tlog.Config) { c.MaxBatchBytes = 100 }, []tlog.Entry{long(1), long(2)}, []int{1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			store, cfg := &counting{Store: memstore.New()}, logtest.Config(t, c.limit)
			create(t, store, cfg)
			log := mustOpen(t, store, cfg)
			wait := appendAll(t, log, c.entries...)
			stop := logtest.Start(t, log)
			for _, err := range wait() {
				if err != nil {
					t.Error(err)
				}
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if !slices.Equal(store.batches, c.want) {
				t.Errorf("batches of %v, want %v", store.batches, c.want)
			}
		})
	}
}

// A batch costs one transaction with one look for duplicates, whatever its size; receipts of new
// entries cost no query at all.
func TestReceiptsNeedNoQueries(t *testing.T) {
	store, cfg := &counting{Store: memstore.New()}, logtest.Config(t)
	create(t, store, cfg, numbered(0, 200)...)
	log := mustOpen(t, store, cfg)
	store.reads = 0
	wait := appendAll(t, log, numbered(200, 600)...)
	stop := logtest.Start(t, log)
	for _, err := range wait() {
		if err != nil {
			t.Error(err)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if !slices.Equal(store.batches, []int{400}) || store.finds != 1 || store.reads != 0 {
		t.Errorf("batches of %v, %d look-ups, %d other reads; want one batch of 400, 1 and 0", store.batches, store.finds, store.reads)
	}
}

func TestEqualEntriesShareOneWait(t *testing.T) {
	store, cfg := &counting{Store: memstore.New()}, logtest.Config(t)
	create(t, store, cfg)
	log := mustOpen(t, store, cfg)
	wait := appendAll(t, log, logtest.Entry("same"))
	const others = 5
	receipts := make(chan tlog.Receipt)
	queued := make(chan bool)
	for range others {
		go func() {
			r, err := log.Append(t.Context(), notifying{"same", queued})
			if err != nil {
				t.Error(err)
			}
			receipts <- r
		}()
		<-queued
	}
	stop := logtest.Start(t, log)
	for _, err := range wait() {
		if err != nil {
			t.Error(err)
		}
	}
	for range others {
		r := <-receipts
		if !r.Duplicate || r.Leaf.Index != 0 {
			t.Errorf("receipt of an equal entry: duplicate %v, index %d", r.Duplicate, r.Leaf.Index)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if !slices.Equal(store.batches, []int{1}) {
		t.Errorf("batches of %v, want one of 1", store.batches)
	}
}

// notifying says when it is encoded.
type notifying struct {
	logtest.Entry
	encoded chan bool
}

func (n notifying) Encode(index, timeMS int64) (leaf, stored []byte, err error) {
	n.encoded <- true
	return n.Entry.Encode(index, timeMS)
}

func TestTimeOfABatch(t *testing.T) {
	start := time.UnixMilli(1_700_000_000_000)
	now := clock.NewManual(start)
	store, cfg := memstore.New(), logtest.Config(t, func(c *tlog.Config) { c.Clock = now })
	create(t, store, cfg)
	log := logtest.Open(t, store, cfg)
	last := start.UnixMilli()
	for i, c := range []struct {
		move time.Duration // of the clock, from the start
		want int64         // milliseconds after the last batch; 0: refused
	}{
		{time.Second, 1000}, // the clock's time
		{time.Second, 1},    // one after the last
		{0, 1},              // the clock stepped back
		{-998 * time.Millisecond, 1},
		{-1100 * time.Millisecond, 0}, // the head would be more than 2 s ahead
		{-time.Hour, 0},
		{999 * time.Millisecond, 1},
		{time.Minute, 58_996},
	} {
		now.Set(start.Add(c.move))
		r, err := log.Append(t.Context(), logtest.Numbered(i))
		if c.want == 0 {
			if !errors.Is(err, tlog.ErrUnavailable) {
				t.Errorf("case %d: %v, want ErrUnavailable", i, err)
			}
			continue
		}
		if err != nil || r.Leaf.TimeMS != last+c.want {
			t.Errorf("case %d: time %d ms after the last, %v; want %d", i, r.Leaf.TimeMS-last, err, c.want)
		}
		last = r.Leaf.TimeMS
		if _, ms, err := log.Head(t.Context()); err != nil || ms != last {
			t.Errorf("case %d: head time %d, %v; want %d", i, ms, err, last)
		}
	}
}

func TestOneTimePerBatch(t *testing.T) {
	store, cfg := memstore.New(), logtest.Config(t)
	create(t, store, cfg)
	log := mustOpen(t, store, cfg)
	wait := appendAll(t, log, numbered(0, 50)...)
	stop := logtest.Start(t, log)
	wait()
	if err := stop(); err != nil {
		t.Error(err)
	}
	leaves, err := log.Leaves(t.Context(), 0, 50)
	if err != nil || len(leaves) != 50 {
		t.Fatal(len(leaves), err)
	}
	for _, l := range leaves {
		if l.TimeMS != leaves[0].TimeMS {
			t.Errorf("leaf %d has time %d, leaf 0 %d", l.Index, l.TimeMS, leaves[0].TimeMS)
		}
	}
}

// One bad entry of a batch gets its own error and no index.
func TestBadEntryDoesNotSpoilItsBatch(t *testing.T) {
	store, cfg := memstore.New(), logtest.Config(t)
	create(t, store, cfg)
	log := mustOpen(t, store, cfg)
	entries := numbered(0, 5)
	entries[2] = &lateFailure{Entry: "late"}
	wait := appendAll(t, log, entries...)
	stop := logtest.Start(t, log)
	for i, err := range wait() {
		if (err != nil) != (i == 2) {
			t.Errorf("entry %d: %v", i, err)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if cp, err := log.Checkpoint(t.Context()); err != nil || cp.Size != 4 {
		t.Errorf("the log has %d entries, %v; want 4", cp.Size, err)
	}
}

// lateFailure can be encoded once.
type lateFailure struct {
	logtest.Entry
	calls int
}

func (l *lateFailure) Encode(index, timeMS int64) (leaf, stored []byte, err error) {
	if l.calls++; l.calls > 1 {
		panic("cannot be encoded twice")
	}
	return l.Entry.Encode(index, timeMS)
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	store, cfg := memstore.New(), logtest.Config(t, func(c *tlog.Config) { c.Metrics = reg })
	create(t, store, cfg)
	log := logtest.Open(t, store, cfg)
	for _, e := range []string{"a", "b", "a"} {
		if _, err := log.Append(t.Context(), logtest.Entry(e)); err != nil {
			t.Fatal(err)
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.Metric {
			if len(m.Label) == 0 || m.Label[0].GetName() != "log" || m.Label[0].GetValue() != "test" {
				t.Errorf("%s has labels %v", f.GetName(), m.Label)
			}
			got[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"sigbox_tlog_entries_total":    2,
		"sigbox_tlog_duplicates_total": 1,
		"sigbox_tlog_published_size":   2,
		"sigbox_tlog_size":             2,
		"sigbox_tlog_healthy":          1,
		"sigbox_tlog_pending":          0,
		"sigbox_tlog_batch_entries":    3,
		"sigbox_tlog_commit_seconds":   3,
	} {
		if have, ok := got[name]; !ok || have != want {
			t.Errorf("%s is %v, %v; want %v", name, have, ok, want)
		}
	}
}
