package pgstore_test

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// witness collects what children acknowledge and show.
type witness struct {
	mu     sync.Mutex
	acks   map[string]int64 // index by entry
	heads  map[int64]string // root by size
	next   map[string]int   // by worker: the entry after the last that was acknowledged
	known  int              // acknowledgements of entries that were there already
	failed map[string]int   // appends that were refused, by entry
	grown  *sync.Cond

	children []*child
}

func newWitness() *witness {
	w := &witness{acks: make(map[string]int64), heads: make(map[int64]string), next: make(map[string]int), failed: make(map[string]int)}
	w.grown = sync.NewCond(&w.mu)
	return w
}

func (w *witness) line(t testing.TB, line string) {
	var entry, root string
	var index, size int64
	var duplicate bool
	if e, ok := strings.CutPrefix(line, "failed "); ok {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.failed[e]++
		return
	}
	_, err := fmt.Sscanf(line, "head %d %s", &size, &root)
	if err != nil {
		_, err = fmt.Sscanf(line, "ack %s %d %d %s %t", &entry, &index, &size, &root, &duplicate)
	}
	if err != nil {
		t.Errorf("a child says %q: %v", line, err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r, ok := w.heads[size]; ok && r != root {
		t.Errorf("two heads of size %d", size)
	}
	w.heads[size] = root
	if entry == "" {
		return
	}
	if at, ok := w.acks[entry]; ok && at != index {
		t.Errorf("%s was acknowledged at %d and at %d", entry, at, index)
	}
	w.acks[entry] = index
	if duplicate {
		w.known++
	}
	dot := strings.LastIndexByte(entry, '.')
	number, err := strconv.Atoi(entry[dot+1:])
	if err != nil {
		t.Errorf("a child says %q: %v", line, err)
	}
	w.next[entry[:dot]] = number + 1
	w.grown.Broadcast()
}

// resume tells a child to go on behind the entries that one of its prefix had acknowledged: it
// appends again what was in the hands of a process that was killed.
func (w *witness) resume(o *orders) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o.From = make([]int, o.Workers)
	for i := range o.From {
		o.From[i] = w.next[fmt.Sprintf("%s.%d", o.Prefix, i)]
	}
}

// count returns how many entries are acknowledged.
func (w *witness) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acks)
}

// countOf returns how many entries are acknowledged of those with a prefix.
func (w *witness) countOf(prefix string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for e := range w.acks {
		if strings.HasPrefix(e, prefix) {
			n++
		}
	}
	return n
}

// failedOf returns how many appends failed of entries with a prefix.
func (w *witness) failedOf(prefix string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for e, times := range w.failed {
		if strings.HasPrefix(e, prefix) {
			n += times
		}
	}
	return n
}

// awaitOf waits until n more entries with a prefix are acknowledged.
func (w *witness) awaitOf(t testing.TB, prefix string, n int) {
	t.Helper()
	for want := w.countOf(prefix) + n; w.countOf(prefix) < want; {
		w.await(t, 1)
	}
}

// await waits until n more entries are acknowledged.
func (w *witness) await(t testing.TB, n int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	late := false
	timer := time.AfterFunc(time.Minute, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		late = true
		w.grown.Broadcast()
	})
	defer timer.Stop()
	for want := len(w.acks) + n; len(w.acks) < want; {
		w.grown.Wait()
		if late {
			for _, c := range w.children {
				t.Logf("a child says %s", c.said())
			}
			t.Fatalf("no %d entries are acknowledged within a minute", n)
		}
	}
}

// check holds the log to everything that was acknowledged.
func (w *witness) check(t testing.TB, store tlog.Store, cfg tlog.Config) {
	t.Helper()
	_, err := tlog.Fsck(t.Context(), store, tlog.Audit{
		Verifier: cfg.Signer.Verifier(),
		Identity: func(l tlog.Leaf) ([32]byte, error) { return logtest.Entry(l.Data).Identity(), nil },
		Keys:     func(l tlog.Leaf) ([][]byte, error) { return logtest.Entry(l.Data).Keys(), nil },
	})
	if err != nil {
		t.Error(err)
	}
	log, err := tlog.Open(t.Context(), store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := log.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for entry, index := range w.acks {
		at, err := log.Find(t.Context(), logtest.Entry(entry).Identity())
		if err != nil || at != index {
			t.Errorf("%s was acknowledged at %d and is at %d, %v", entry, index, at, err)
			continue
		}
		l, err := log.Leaf(t.Context(), index)
		if err != nil || string(l.Data) != entry {
			t.Errorf("leaf %d: %q, %v", index, l.Data, err)
		}
		proof, err := log.Inclusion(t.Context(), index, cp.Size)
		if err == nil {
			err = logtest.VerifyInclusion(index, cp.Size, l.Hash, proof, cp.Root)
		}
		if err != nil {
			t.Errorf("leaf %d in the last head: %v", index, err)
		}
	}
	for size, root := range w.heads {
		have, err := log.Root(t.Context(), size)
		if err != nil || hex.EncodeToString(have[:]) != root {
			t.Errorf("a head of size %d was shown that is no prefix of the log: %v", size, err)
			continue
		}
		proof, err := log.Consistency(t.Context(), size, cp.Size)
		if err == nil {
			err = logtest.VerifyConsistency(size, cp.Size, proof, have, cp.Root)
		}
		if err != nil {
			t.Errorf("a head of size %d, and the last: %v", size, err)
		}
	}
	if int64(len(w.acks)) > cp.Size {
		t.Errorf("%d entries are acknowledged, the log has %d", len(w.acks), cp.Size)
	}
}
