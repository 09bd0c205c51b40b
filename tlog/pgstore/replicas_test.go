package pgstore_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
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

// TestKill ends processes with SIGKILL at random moments under load, again and again: a replica, one
// session of PostgreSQL (which takes all of them along), or PostgreSQL itself.
// SIGBOX_KILL_ROUNDS sets the number of rounds; SIGBOX_KILL_SEED repeats their order.
func TestKill(t *testing.T) {
	rounds, seed := number("SIGBOX_KILL_ROUNDS", 20), number("SIGBOX_KILL_SEED", time.Now().UnixNano())
	t.Logf("%s=%d", "SIGBOX_KILL_SEED", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	server := pgtest.Start(t)
	o, store, cfg := newReplicated(t, server)
	w := newWitness()
	var replicas [3]*child
	start := func(i int, round int64) {
		o.Prefix = fmt.Sprintf("replica%d.round%d", i, round)
		replicas[i] = startChild(t, o, w)
	}
	for i := range replicas {
		start(i, 0)
	}
	var slowest time.Duration
	kills := make(map[string]int)
	for round := int64(1); round <= rounds; round++ {
		w.await(t, 1+random.IntN(200))
		time.Sleep(time.Duration(random.IntN(20_000)) * time.Microsecond)
		began := time.Now()
		switch random.IntN(3) {
		case 0:
			i := random.IntN(len(replicas))
			replicas[i].kill()
			start(i, round)
			kills["replica"]++
		case 1:
			server.KillSession(t)
			kills["session"]++
		case 2:
			server.Kill(t)
			server.Restart(t)
			kills["PostgreSQL"]++
		}
		w.await(t, 1)
		slowest = max(slowest, time.Since(began))
	}
	for _, c := range replicas {
		c.stop(t)
	}
	w.check(t, store, cfg)
	t.Logf("%d rounds, killed %v; %d entries acknowledged, all there; %d heads, each a prefix of the last; slowest acknowledgement after a kill %v",
		rounds, kills, w.count(), len(w.heads), slowest.Round(time.Millisecond))
}

func number(variable string, otherwise int64) int64 {
	if n, err := strconv.ParseInt(os.Getenv(variable), 10, 64); err == nil {
		return n
	}
	return otherwise
}
