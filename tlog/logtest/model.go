package logtest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/sigbox/sigbox/tlog"
)

// testConcurrent appends from many goroutines, every entry several times, while readers verify.
func testConcurrent(t *testing.T, log tlog.Log) {
	const writers, each, distinct = 16, 60, 400
	var mu sync.Mutex
	receipts := make(map[int][]tlog.Receipt)
	var wg, reading sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		reading.Go(func() { verifyWhileRunning(t, log, stop) })
	}
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				n := (w*each*7 + i*13) % distinct
				r, err := log.Append(t.Context(), Numbered(n))
				if err == nil {
					err = CheckReceipt(r)
				}
				if err != nil {
					t.Errorf("entry %d: %v", n, err)
					return
				}
				mu.Lock()
				receipts[n] = append(receipts[n], r)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	close(stop)
	reading.Wait()
	cp, err := log.Checkpoint(t.Context())
	if err != nil || cp.Size != int64(len(receipts)) {
		t.Fatalf("the log has %d entries, %d were appended; %v", cp.Size, len(receipts), err)
	}
	for n, list := range receipts {
		first := 0
		for _, r := range list {
			if r.Leaf.Index != list[0].Leaf.Index || r.Leaf.TimeMS != list[0].Leaf.TimeMS || string(r.Leaf.Data) != string(Numbered(n)) {
				t.Errorf("entry %d: %+v and %+v", n, list[0].Leaf, r.Leaf)
			}
			if !r.Duplicate {
				first++
			}
		}
		if first != 1 {
			t.Errorf("entry %d: %d of %d appends were told that theirs is the first", n, first, len(list))
		}
	}
}

// verifyWhileRunning checks that each head extends the one before, and a leaf of each.
func verifyWhileRunning(t testing.TB, log tlog.Log, stop chan struct{}) {
	var last tlog.Receipt
	for {
		select {
		case <-stop:
			return
		default:
		}
		cp, err := log.Checkpoint(t.Context())
		if err == nil && cp.Size > last.Checkpoint.Size {
			var path [][]byte
			if path, err = log.Consistency(t.Context(), last.Checkpoint.Size, cp.Size); err == nil {
				err = VerifyConsistency(last.Checkpoint.Size, cp.Size, path, last.Checkpoint.Root, cp.Root)
			}
			if err == nil {
				err = checkLast(t, log, cp.Size, cp.Root)
			}
			last.Checkpoint = cp
		}
		if err != nil {
			t.Errorf("reader: %v", err)
			return
		}
	}
}

func checkLast(t testing.TB, log tlog.Log, size int64, root [32]byte) error {
	l, err := log.Leaf(t.Context(), size-1)
	if err != nil {
		return err
	}
	path, err := log.Inclusion(t.Context(), size-1, size)
	if err != nil {
		return err
	}
	return VerifyInclusion(size-1, size, l.Hash, path, root)
}

// testModel runs random histories against the naive tree: single appends, bursts, duplicates.
func testModel(t *testing.T, newLog func(testing.TB, ...func(*tlog.Config)) tlog.Log) {
	rapid.Check(t, func(rt *rapid.T) {
		maxBatch := rapid.IntRange(20, 300).Draw(rt, "max batch")
		log := newLog(t, func(c *tlog.Config) { c.MaxBatch = maxBatch; c.CacheTiles = 1 })
		n := new(Naive)
		next := 0
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"append", "burst", "duplicate"}).Draw(rt, "step") {
			case "append":
				if r := mustAppend(t, log, Numbered(next)); r.Duplicate || r.Leaf.Index != int64(next) {
					rt.Fatalf("entry %d: %+v", next, r)
				}
				next++
			case "burst":
				size := rapid.IntRange(1, 300).Draw(rt, "entries")
				Fill(t, log, next, next+size)
				next += size
			case "duplicate":
				i := rapid.IntRange(0, max(next-1, 0)).Draw(rt, "entry")
				if r := mustAppend(t, log, Numbered(i)); r.Duplicate != (i < next) || string(r.Leaf.Data) != string(Numbered(i)) {
					rt.Fatalf("entry %d again: %+v", i, r)
				}
				next = max(next, 1)
			}
			follow(t, log, n)
			if err := compareAtRandom(t, rt, log, n, next); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

func compareAtRandom(t testing.TB, rt *rapid.T, log tlog.Log, n *Naive, size int) error {
	cp, err := log.Checkpoint(t.Context())
	if err != nil || cp.Size != int64(size) || cp.Root != n.Root(size) {
		return fmt.Errorf("checkpoint %+v, %w; want size %d and root %x", cp.Checkpoint, err, size, n.Root(size))
	}
	at := rapid.IntRange(1, size).Draw(rt, "size")
	i := rapid.IntRange(0, at-1).Draw(rt, "index")
	path, err := log.Inclusion(t.Context(), int64(i), int64(at))
	if err != nil || !equal(path, n.Inclusion(i, at)) {
		return errors.Join(fmt.Errorf("inclusion of %d in %d", i, at), err)
	}
	path, err = log.Consistency(t.Context(), int64(i), int64(at))
	if err != nil || !equal(path, n.Consistency(i, at)) {
		return errors.Join(fmt.Errorf("consistency of %d with %d", at, i), err)
	}
	return nil
}

func equal(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if string(a[i]) != string(b[i]) {
			return false
		}
	}
	return true
}
