package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// outcome is what a fault at a point does to the appends of its batch.
type outcome struct {
	fails   bool // they fail with ErrUnavailable
	durable bool // and yet the entries are in the log
}

var outcomes = map[string]outcome{
	tlog.PointTxBegin:          {fails: true},
	tlog.PointSequenced:        {fails: true},
	tlog.PointLeafInserted:     {fails: true},
	tlog.PointTilesWritten:     {fails: true},
	tlog.PointIndexInserted:    {fails: true},
	tlog.PointAttestInserted:   {fails: true},
	tlog.PointRootRecomputed:   {fails: true},
	tlog.PointHeadSigned:       {fails: true},
	tlog.PointHeadStored:       {fails: true},
	tlog.PointTxPrecommit:      {fails: true},
	tlog.PointTxCommitSent:     {}, // found out, tried again
	tlog.PointTxCommitted:      {}, // found out, found there
	tlog.PointGuardSent:        {fails: true, durable: true},
	tlog.PointGuardDone:        {fails: true, durable: true},
	tlog.PointHeadPublished:    {},
	tlog.PointResponseReleased: {},
}

func points() []string {
	var list []string
	for p := range outcomes {
		list = append(list, p)
	}
	slices.Sort(list)
	return list
}

// rig is a log under faults.
type rig struct {
	f    Fixture
	cfg  tlog.Config
	plan faults
	log  *tlog.Engine
	next int // number of the next new entry
	seen history
}

// newRig starts a log whose next batches cross a tile boundary.
func newRig(t testing.TB, f Fixture) *rig {
	r := &rig{f: f, next: 250}
	r.cfg = logtest.Config(t, func(c *tlog.Config) { c.Hook, c.Guard = r.plan.hit, newGuard() })
	newLog(t, f, r.cfg, r.next)
	r.log, _ = open(t, f.Store, r.cfg)
	f.UseHook(r.plan.hit)
	return r
}

// result is what became of an append.
type result struct {
	entry   logtest.Entry
	receipt tlog.Receipt
	err     error
}

// append appends entries at once, and checks the receipts.
func (r *rig) append(t testing.TB, entries []logtest.Entry) []result {
	results := make([]result, len(entries))
	var wg sync.WaitGroup
	for i, e := range entries {
		wg.Go(func() {
			receipt, err := r.log.Append(t.Context(), e)
			results[i] = result{e, receipt, err}
			if err == nil {
				if err := logtest.CheckReceipt(receipt); err != nil {
					t.Errorf("receipt: %v", err)
				}
				if _, err := r.cfg.Signer.Verifier().Open(receipt.Checkpoint.Note); err != nil {
					t.Errorf("receipt: %v", err)
				}
				r.seen.add(t, receipt.Checkpoint)
			} else if !errors.Is(err, tlog.ErrUnavailable) {
				t.Errorf("append: %v, want ErrUnavailable", err)
			}
		})
	}
	wg.Wait()
	return results
}

func (r *rig) fresh(n int) []logtest.Entry {
	var list []logtest.Entry
	for range n {
		list = append(list, logtest.Numbered(r.next))
		r.next++
	}
	return list
}

// round appends new entries under planned faults, then appends them again without, and checks
// that each is in the log once, where its receipts say.
func (r *rig) round(t testing.TB, plan ...string) []result {
	t.Helper()
	r.plan.set(plan...)
	first := r.append(t, r.fresh(3))
	r.plan.set()
	for _, res := range first {
		if res.err == nil && res.receipt.Duplicate {
			t.Errorf("a new entry was called a duplicate")
		}
	}
	var entries []logtest.Entry
	for _, res := range first {
		entries = append(entries, res.entry)
	}
	for i, res := range r.append(t, entries) {
		if res.err != nil {
			t.Fatalf("append after the faults: %v", res.err)
		}
		if was := first[i]; was.err == nil && (res.receipt.Leaf.Index != was.receipt.Leaf.Index || !res.receipt.Duplicate) {
			t.Errorf("an entry that was acknowledged at %d is now at %d, duplicate %v", was.receipt.Leaf.Index, res.receipt.Leaf.Index, res.receipt.Duplicate)
		}
	}
	cp, err := r.log.Checkpoint(t.Context())
	if err != nil || cp.Size != int64(r.next) {
		t.Fatalf("the log has %d entries, %d were appended; %v", cp.Size, r.next, err)
	}
	r.seen.add(t, cp)
	return first
}

// done checks the whole log, and that another process can go on with it.
func (r *rig) done(t testing.TB) {
	t.Helper()
	if err := r.log.Health(); err != nil {
		t.Errorf("the log has halted: %v", err)
	}
	mustFsck(t, r.f.Store, r.cfg)
	r.seen.check(t, r.log)
	other, _ := open(t, r.f.Another(t), r.cfg)
	receipt, err := other.Append(t.Context(), logtest.Entry("from another process"))
	if err != nil || receipt.Leaf.Index != int64(r.next) {
		t.Errorf("append by another process: index %d, %v", receipt.Leaf.Index, err)
	}
	r.seen.check(t, other)
}

func testSingleFaults(t *testing.T, f Fixture) {
	r := newRig(t, f)
	for _, point := range points() {
		want := outcomes[point]
		results := r.roundWatched(t, point, want)
		failed := 0
		for _, res := range results {
			if res.err != nil {
				failed++
			}
		}
		if (failed > 0) != want.fails {
			t.Errorf("fault at %s: %d of %d appends failed", point, failed, len(results))
		}
		if left := r.plan.left(); len(left) > 0 {
			t.Errorf("%s was not reached", left)
		}
	}
	r.done(t)
}

// roundWatched is round, with a look between the fault and the second try: what failed must not
// be in the log, unless it failed at the guard.
func (r *rig) roundWatched(t testing.TB, point string, want outcome) []result {
	t.Helper()
	r.plan.set(point)
	probe := r.append(t, r.fresh(1))[0]
	found, err := r.f.Store.Find(t.Context(), [][32]byte{probe.entry.Identity()})
	if err != nil {
		t.Fatal(err)
	}
	if in := len(found) == 1; probe.err != nil && in != want.durable {
		t.Errorf("fault at %s: the append failed, the entry is in the log: %v, want %v", point, in, want.durable)
	}
	if probe.err != nil {
		if again := r.append(t, []logtest.Entry{probe.entry})[0]; again.err != nil || again.receipt.Duplicate != want.durable {
			t.Errorf("fault at %s: the second try: duplicate %v, %v", point, again.receipt.Duplicate, again.err)
		}
	}
	return append(r.round(t, point), probe)
}

// testDoubleFaults lets a second fault follow every fault: wherever recovery passes it, or the next
// batch does.
func testDoubleFaults(t *testing.T, f Fixture) {
	r := newRig(t, f)
	for _, first := range points() {
		for _, second := range points() {
			r.recovery(t, first, second)
		}
		if t.Failed() {
			t.Fatalf("after a fault at %s", first)
		}
	}
	r.done(t)
}

// recovery appends entries until both faults were met, those that failed again and again beside a
// new one, and then all of them without faults.
func (r *rig) recovery(t testing.TB, plan ...string) {
	t.Helper()
	r.plan.set(plan...)
	at := make(map[logtest.Entry]int64) // what was acknowledged
	var waiting []logtest.Entry
	for tries := 0; len(r.plan.left()) > 0; tries++ {
		if tries > len(plan)+1 {
			t.Fatalf("faults at %s: %s was not reached", plan, r.plan.left())
		}
		results := r.append(t, append(waiting, r.fresh(1)...))
		waiting = nil
		for _, res := range results {
			if res.err != nil {
				r.wantAbsent(t, res, plan)
				waiting = append(waiting, res.entry)
				continue
			}
			at[res.entry] = res.receipt.Leaf.Index
		}
	}
	for e := range at {
		waiting = append(waiting, e)
	}
	for _, res := range r.append(t, waiting) {
		if res.err != nil {
			t.Fatalf("faults at %s: append when they are over: %v", plan, res.err)
		}
		if was, ok := at[res.entry]; ok && (was != res.receipt.Leaf.Index || !res.receipt.Duplicate) {
			t.Errorf("faults at %s: an entry that was acknowledged at %d is now at %d, duplicate %v", plan, was, res.receipt.Leaf.Index, res.receipt.Duplicate)
		}
	}
	if size := r.head(t); size != int64(r.next) {
		t.Errorf("faults at %s: the log has %d entries, %d were appended", plan, size, r.next)
	}
}

// wantAbsent looks for an entry whose append failed. Only a fault of the guard comes after COMMIT.
func (r *rig) wantAbsent(t testing.TB, res result, plan []string) {
	t.Helper()
	for _, point := range plan {
		if outcomes[point].durable {
			return
		}
	}
	found, err := r.f.Store.Find(t.Context(), [][32]byte{res.entry.Identity()})
	if err != nil || len(found) > 0 {
		t.Errorf("faults at %s: the append failed with %v, and the entry is in the log; %v", plan, res.err, err)
	}
}

// testUnknownThenOther loses a commit, or the answer to it, and lets another process move the
// head before the outcome is looked up.
func testUnknownThenOther(t *testing.T, f Fixture) {
	r := newRig(t, f)
	other, _ := open(t, f.Another(t), r.cfg)
	for _, c := range []struct {
		point     string
		intruder  logtest.Entry // what the other process appends
		index     int           // of our entry, counted from the head before
		duplicate bool
	}{
		{tlog.PointTxCommitted, "intruder 0", 0, false},
		{tlog.PointTxCommitSent, "intruder 1", 1, false},
		// Lost, and then appended by the other process: now it is theirs, and ours is the second.
		{tlog.PointTxCommitSent, logtest.Numbered(r.next + 4), 0, true},
	} {
		entry := r.fresh(1)[0]
		before := r.head(t)
		intrude := func() {
			if _, err := other.Append(t.Context(), c.intruder); err != nil {
				t.Error(err)
			}
		}
		lost := false
		f.UseHook(func(p string) error {
			switch {
			case p == c.point && !lost:
				lost = true
				if c.point == tlog.PointTxCommitted {
					intrude()
				}
				return errInjected
			case p == tlog.PointTxBegin && lost && c.point == tlog.PointTxCommitSent:
				c.point = ""
				intrude()
			}
			return nil
		})
		res := r.append(t, []logtest.Entry{entry})[0]
		f.UseHook(nil)
		if res.err != nil || res.receipt.Duplicate != c.duplicate || res.receipt.Leaf.Index != before+int64(c.index) {
			t.Fatalf("%+v: index %d (the head was at %d), duplicate %v, %v", c, res.receipt.Leaf.Index, before, res.receipt.Duplicate, res.err)
		}
		if c.intruder != entry {
			r.next++
		}
	}
	r.round(t)
	r.done(t)
}

func (r *rig) head(t testing.TB) int64 {
	t.Helper()
	h, err := r.f.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h.Size
}

// testNeverLearnt keeps the store away while an outcome is unknown: the callers are told so, and
// the log goes on when the store is back.
func testNeverLearnt(t *testing.T, f Fixture) {
	r := newRig(t, f)
	gone := false
	f.UseHook(func(p string) error {
		if p == tlog.PointTxCommitted {
			gone = true
		}
		if gone {
			return errInjected
		}
		return nil
	})
	_, err := r.log.Append(t.Context(), r.fresh(1)[0])
	if !errors.Is(err, tlog.ErrUnavailable) || !errors.Is(err, tlog.ErrUnknownOutcome) {
		t.Errorf("append: %v", err)
	}
	f.UseHook(nil)
	again := r.append(t, []logtest.Entry{logtest.Numbered(r.next - 1)})[0]
	if again.err != nil || !again.receipt.Duplicate || again.receipt.Leaf.Index != int64(r.next-1) {
		t.Errorf("append when the store is back: %+v", again)
	}
	r.round(t)
	r.done(t)
}

func testTransient(t *testing.T, f Fixture) {
	r := newRig(t, f)
	for failures, want := range map[int]error{1: nil, 2: nil, 3: tlog.ErrUnavailable} {
		left := failures
		f.UseHook(func(p string) error {
			if p == tlog.PointHeadStored && left > 0 {
				left--
				return fmt.Errorf("deadlock: %w", tlog.ErrTransient)
			}
			return nil
		})
		_, err := r.log.Append(t.Context(), r.fresh(1)[0])
		f.UseHook(nil)
		if !errors.Is(err, want) || left != 0 {
			t.Errorf("%d transient errors: %v; %d were not met", failures, err, left)
		}
		if err != nil {
			r.next--
		}
	}
	r.round(t)
	r.done(t)
}
