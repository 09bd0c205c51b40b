package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// testTwoProcesses appends through two engines over one database, partly the same entries.
func testTwoProcesses(t *testing.T, f Fixture) {
	cfg := logtest.Config(t, func(c *tlog.Config) { c.Guard = newGuard() })
	newLog(t, f, cfg, 2)
	a, _ := open(t, f.Store, cfg)
	b, _ := open(t, f.Another(t), cfg)
	const each, shared = 120, 40
	var mu sync.Mutex
	var seen history
	first := make(map[logtest.Entry]int)
	at := make(map[logtest.Entry]int64)
	var wg sync.WaitGroup
	for n, log := range []tlog.Log{a, b} {
		for i := range each {
			e := logtest.Entry(fmt.Sprintf("process %d entry %d", n, i))
			if i < shared {
				e = logtest.Entry(fmt.Sprintf("shared entry %d", i))
			}
			wg.Go(func() {
				r, err := log.Append(t.Context(), e)
				if err == nil {
					err = logtest.CheckReceipt(r)
				}
				if err != nil {
					t.Errorf("%s: %v", e, err)
					return
				}
				seen.add(t, r.Checkpoint)
				mu.Lock()
				defer mu.Unlock()
				if !r.Duplicate {
					first[e]++
				}
				if i, ok := at[e]; ok && i != r.Leaf.Index {
					t.Errorf("%s is at %d and at %d", e, i, r.Leaf.Index)
				}
				at[e] = r.Leaf.Index
			})
		}
	}
	wg.Wait()
	for e := range at {
		if first[e] != 1 {
			t.Errorf("%s: %d appends were told that theirs is the first", e, first[e])
		}
	}
	if h, err := f.Store.Head(t.Context()); err != nil || h.Size != 2+2*each-shared {
		t.Errorf("the log has %d entries, %v", h.Size, err)
	}
	mustFsck(t, f.Store, cfg)
	for _, log := range []*tlog.Engine{a, b} {
		if _, err := log.Append(t.Context(), logtest.Entry("the last one")); err != nil {
			t.Error(err)
		}
		seen.check(t, log)
		if err := log.Health(); err != nil {
			t.Error(err)
		}
	}
}

// testPoll shows a reader what another process appends, after the guard holds it.
func testPoll(t *testing.T, f Fixture) {
	cfg := logtest.Config(t, func(c *tlog.Config) { c.Guard = newGuard() })
	newLog(t, f, cfg, 2)
	writer, _ := open(t, f.Store, cfg)
	cfg.Poll = 5 * time.Millisecond
	shown := make(chan bool, 100)
	cfg.Hook = func(p string) error {
		if p == tlog.PointHeadPublished {
			shown <- true
		}
		return nil
	}
	reader, _ := open(t, f.Another(t), cfg)
	<-shown // by Open
	want, err := writer.Append(t.Context(), logtest.Entry("new"))
	if err != nil {
		t.Fatal(err)
	}
	<-shown
	cp, err := reader.Checkpoint(t.Context())
	if err != nil || cp.Checkpoint != want.Checkpoint.Checkpoint {
		t.Errorf("the reader has %+v, %v; the writer %+v", cp.Checkpoint, err, want.Checkpoint.Checkpoint)
	}
	if l, err := reader.Leaf(t.Context(), 2); err != nil || string(l.Data) != "new" {
		t.Errorf("leaf: %q, %v", l.Data, err)
	}
}

// testDrain stops a log under load. What was acknowledged is there afterwards; what was not is
// there or not, and says so when it is appended again.
func testDrain(t *testing.T, f Fixture) {
	cfg := logtest.Config(t)
	newLog(t, f, cfg, 2)
	log, stop := open(t, f.Store, cfg)
	var mu sync.Mutex
	acknowledged := make(map[int]int64)
	var wg sync.WaitGroup
	enough := make(chan bool)
	for w := range 8 {
		wg.Go(func() {
			for i := w; ; i += 8 {
				r, err := log.Append(t.Context(), logtest.Numbered(1000+i))
				if err != nil {
					if !errors.Is(err, tlog.ErrUnavailable) {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				acknowledged[i] = r.Leaf.Index
				if len(acknowledged) == 100 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	if err := stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	wg.Wait()
	if _, err := log.Append(t.Context(), logtest.Entry("too late")); !errors.Is(err, tlog.ErrUnavailable) {
		t.Errorf("append after the drain: %v", err)
	}
	again, _ := open(t, f.Another(t), cfg)
	for i, at := range acknowledged {
		if found, err := again.Find(t.Context(), logtest.Numbered(1000+i).Identity()); err != nil || found != at {
			t.Errorf("entry %d was acknowledged at %d and is at %d, %v", i, at, found, err)
		}
	}
	if cp, err := again.Checkpoint(t.Context()); err != nil || cp.Size != int64(2+len(acknowledged)) {
		t.Errorf("the log has %d entries, %d were acknowledged; %v", cp.Size, 2+len(acknowledged), err)
	}
	mustFsck(t, f.Store, cfg)
}

// testFreeze freezes a log under load: when Freeze returns nothing is appended any more.
func testFreeze(t *testing.T, f Fixture) {
	cfg := logtest.Config(t)
	newLog(t, f, cfg, 2)
	log, _ := open(t, f.Store, cfg)
	var wg sync.WaitGroup
	enough := make(chan bool, 1)
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < 1e5; i += 8 {
				if _, err := log.Append(t.Context(), logtest.Numbered(1000+i)); err != nil {
					if !errors.Is(err, tlog.ErrFrozen) {
						t.Error(err)
					}
					return
				}
				if i > 100 {
					select {
					case enough <- true:
					default:
					}
				}
			}
		})
	}
	<-enough
	if err := log.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	frozen, err := f.Store.Head(t.Context())
	if err != nil || !frozen.Frozen {
		t.Fatalf("head %+v, %v", frozen, err)
	}
	wg.Wait()
	for _, store := range []tlog.Store{f.Store, f.Another(t)} {
		again, _ := open(t, store, cfg)
		if _, err := again.Append(t.Context(), logtest.Entry("too late")); !errors.Is(err, tlog.ErrFrozen) {
			t.Errorf("append to a frozen log: %v", err)
		}
		r, err := again.Append(t.Context(), logtest.Numbered(1))
		if err != nil || !r.Duplicate || r.Leaf.Index != 1 {
			t.Errorf("a frozen log answers for what it holds: %+v, %v", r.Leaf, err)
		}
		if cp, err := again.Checkpoint(t.Context()); err != nil || cp.Size != frozen.Size {
			t.Errorf("frozen at %d, now at %d, %v", frozen.Size, cp.Size, err)
		}
	}
}
