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
	"github.com/sigbox/sigbox/tlog/pgstore"
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
		at        string // the point, or
		within    string // what is in the message of which one half is sent
		partition bool
	}{
		"stopped between two statements":  {at: tlog.PointLeafInserted},
		"stopped in the middle of COPY":   {within: "PGCOPY\n"},
		"stopped in the middle of INSERT": {within: "silent."},
		"stopped before COMMIT":           {at: tlog.PointTxPrecommit},
		"cut off between two statements":  {at: tlog.PointLeafInserted, partition: true},
		"cut off in the middle of COPY":   {within: "PGCOPY\n", partition: true},
		"cut off in the middle of INSERT": {within: "silent.", partition: true},
		"cut off before COMMIT":           {at: tlog.PointTxPrecommit, partition: true},
	} {
		t.Run(name, func(t *testing.T) {
			o, store, cfg := newReplicated(t, pgtest.Shared(t))
			proxy := pgtest.Shared(t).Proxy(t)
			w := newWitness()
			silent, other := o, o
			silent.Prefix, silent.URL, silent.StopAt = "silent", proxy.Through(t, o.URL), c.at
			other.Prefix = "other"
			if c.within == "PGCOPY\n" {
				silent.Workers = 4 * pgstore.FewLeaves // it is for many
			}
			victim, healthy := startChild(t, silent, w), startChild(t, other, w)
			w.awaitOf(t, "silent", 20)
			w.awaitOf(t, "other", 20)
			if c.within != "" {
				half(t, proxy, victim, c.within, c.partition)
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

// half lets the first half of what is sent with some text in it through, and then nothing; it stops the
// process too, or leaves that it.
func half(t testing.TB, proxy *pgtest.Proxy, victim *child, text string, partition bool) {
	var once sync.Once
	sent := make(chan bool)
	proxy.Set(func(fromClient bool, data []byte) pgtest.Verdict {
		verdict := pgtest.Forward
		if fromClient && bytes.Contains(data, []byte(text)) {
			once.Do(func() {
				if !partition {
					victim.signal(t, syscall.SIGSTOP)
				}
				verdict = pgtest.Half
				close(sent)
			})
		}
		return verdict
	})
	<-sent
}
