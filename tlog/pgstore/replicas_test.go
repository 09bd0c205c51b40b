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
	"github.com/sigbox/sigbox/tlog"
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

// TestSilentReplica stops a process, or cuts it off from the network without a word, while it holds
// the head. The other one goes on before the engine has tried it three times: none of its appends
// fails. The silent one wakes up later, finds its session gone, and goes on too.
func TestSilentReplica(t *testing.T) {
	for name, c := range map[string]struct {
		at        string // the point; "" for the middle of COPY
		partition bool
	}{
		"stopped between two statements": {tlog.PointLeafInserted, false},
		"stopped in the middle of COPY":  {"", false},
		"stopped before COMMIT":          {tlog.PointTxPrecommit, false},
		"cut off between two statements": {tlog.PointLeafInserted, true},
		"cut off in the middle of COPY":  {"", true},
		"cut off before COMMIT":          {tlog.PointTxPrecommit, true},
	} {
		t.Run(name, func(t *testing.T) {
			o, store, cfg := newReplicated(t, pgtest.Shared(t))
			proxy := pgtest.Shared(t).Proxy(t)
			w := newWitness()
			silent, other := o, o
			silent.Prefix, silent.URL, silent.StopAt = "silent", proxy.Through(t, o.URL), c.at
			other.Prefix = "other"
			victim, healthy := startChild(t, silent, w), startChild(t, other, w)
			w.awaitOf(t, "silent", 20)
			w.awaitOf(t, "other", 20)
			if c.at == "" {
				halfACopy(t, proxy, victim, c.partition)
			} else {
				victim.stopAtPoint(t)
			}
			if c.partition {
				proxy.Set(func(bool, []byte) pgtest.Verdict { return pgtest.Hold })
				victim.signal(t, syscall.SIGCONT)
			}
			began, failed := time.Now(), w.failedOf("other")
			w.awaitOf(t, "other", other.Workers+1) // one more than were on their way
			t.Logf("the other replica went on after %v", time.Since(began).Round(time.Millisecond))
			w.awaitOf(t, "other", 200)
			if n := w.failedOf("other") - failed; n > 0 {
				t.Errorf("%d appends of the other replica failed meanwhile", n)
			}
			proxy.Set(nil)
			proxy.Close() // what was dropped is not sent again, as TCP would
			victim.signal(t, syscall.SIGCONT)
			w.awaitOf(t, "silent", 20)
			victim.stop(t)
			healthy.stop(t)
			w.check(t, store, cfg)
		})
	}
}

// halfACopy lets the first half of a COPY through, and then nothing; it stops the process too, or
// leaves that it.
func halfACopy(t testing.TB, proxy *pgtest.Proxy, victim *child, partition bool) {
	var once sync.Once
	inCopy := make(chan bool)
	proxy.Set(func(fromClient bool, data []byte) pgtest.Verdict {
		verdict := pgtest.Forward
		if fromClient && bytes.Contains(data, []byte("PGCOPY\n")) {
			once.Do(func() {
				if !partition {
					victim.signal(t, syscall.SIGSTOP)
				}
				verdict = pgtest.Half
				close(inCopy)
			})
		}
		return verdict
	})
	<-inCopy
}
