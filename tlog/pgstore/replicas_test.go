package pgstore_test

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// TestReplicas appends through three engines at once, a third of the entries through all of them.
func TestReplicas(t *testing.T) {
	server := pgtest.Shared(t)
	o, store, cfg := newReplicated(t, server)
	var at sync.Map
	var first atomic.Int64
	var wg sync.WaitGroup
	const each = 150
	for n := range 3 {
		cfg := cfg
		cfg.Guard = openGuard(t, o.Guard)
		log := logtest.Open(t, openStore(t, openDB(t, o.URL), "test"), cfg)
		for i := range each {
			e := logtest.Entry(fmt.Sprintf("replica %d entry %d", n, i))
			if i%3 == 0 {
				e = logtest.Entry(fmt.Sprintf("entry %d", i))
			}
			wg.Go(func() {
				r, err := log.Append(t.Context(), e)
				if err == nil {
					err = logtest.CheckReceipt(r)
				}
				if err != nil {
					t.Error(err)
					return
				}
				if !r.Duplicate {
					first.Add(1)
				}
				if was, ok := at.LoadOrStore(e, r.Leaf.Index); ok && was != r.Leaf.Index {
					t.Errorf("%s is at %d and at %d", e, was, r.Leaf.Index)
				}
			})
		}
	}
	wg.Wait()
	const want = 3*each*2/3 + each/3
	if h, err := store.Head(t.Context()); err != nil || h.Size != 1+want || first.Load() != want {
		t.Errorf("the log has %d entries, %v; %d were told that they are the first; want %d", h.Size, err, first.Load(), want)
	}
	newWitness().check(t, store, cfg)
}

// TestStoppedReplica stops a process in the middle of COPY, with the head locked, and goes on with
// another one. The stopped one wakes up later, finds its session gone, and goes on too.
func TestStoppedReplica(t *testing.T) {
	server := pgtest.Shared(t)
	o, store, cfg := newReplicated(t, server)
	proxy := server.Proxy(t)
	w := newWitness()
	stopped := o
	stopped.Prefix = "stopped"
	stopped.URL = proxy.Through(t, o.URL)
	victim := startChild(t, stopped, w)
	w.await(t, 20)
	var once sync.Once
	inCopy := make(chan bool)
	proxy.Set(func(fromClient bool, data []byte) pgtest.Verdict {
		verdict := pgtest.Forward
		if i := bytes.Index(data, []byte("PGCOPY\n")); fromClient && i >= 0 {
			once.Do(func() {
				if err := victim.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
					t.Error(err)
				}
				verdict = pgtest.Half
				close(inCopy)
			})
		}
		return verdict
	})
	<-inCopy
	o.Prefix = "other"
	started := time.Now()
	other := startChild(t, o, w)
	w.await(t, 1)
	t.Logf("the other replica wrote after %v, its start included", time.Since(started).Round(time.Millisecond))
	w.await(t, 200)
	proxy.Set(nil)
	if err := victim.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Error(err)
	}
	before := w.countOf("stopped")
	for w.countOf("stopped") < before+20 {
		w.await(t, 1)
	}
	victim.stop(t)
	other.stop(t)
	w.check(t, store, cfg)
}
