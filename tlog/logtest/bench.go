package logtest

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tlog"
)

// benchEntry is 1 KB of new content, with the number of search keys a hashedrekord has.
type benchEntry struct {
	id   [32]byte
	data []byte
}

func (e *benchEntry) Identity() [32]byte { return e.id }
func (e *benchEntry) Encode(int64, int64) (leaf, stored []byte, err error) {
	return e.data, e.data, nil
}
func (e *benchEntry) Keys() [][]byte {
	return [][]byte{e.id[:], e.data[:32], e.data[32:64]}
}

func newBenchEntry() *benchEntry {
	e := &benchEntry{data: make([]byte, 1024)}
	rand.Read(e.data)
	e.id = sha256.Sum256(e.data)
	return e
}

// BenchmarkAppend measures appends of new 1 KB entries by 1, 16, 64 and 256 writers, each of which
// waits for its receipt. It reports entries per second and percentiles of the waiting.
func BenchmarkAppend(b *testing.B, newStore func(*testing.B) tlog.Store, options ...func(*tlog.Config)) {
	for _, writers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			BenchmarkWriters(b, newStore(b), Config(b, options...), writers)
		})
	}
}

// BenchmarkWriters is one of BenchmarkAppend, on a store whose log is not created yet.
func BenchmarkWriters(b *testing.B, store tlog.Store, cfg tlog.Config, writers int) {
	if err := tlog.Create(b.Context(), store, cfg, nil); err != nil {
		b.Fatal(err)
	}
	BenchmarkLog(b, Open(b, store, cfg), writers)
}

// BenchmarkLog is one of BenchmarkAppend, on a log that is there and runs.
func BenchmarkLog(b *testing.B, log tlog.Log, writers int) {
	waits := make([]time.Duration, b.N)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	start := time.Now()
	for range writers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				e := newBenchEntry()
				begin := time.Now()
				if _, err := log.Append(b.Context(), e); err != nil {
					b.Error(err)
					return
				}
				waits[i] = time.Since(begin)
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	b.StopTimer()
	slices.Sort(waits)
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "entries/s")
	for _, p := range []int{50, 90, 99} {
		b.ReportMetric(float64(waits[(b.N-1)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
	}
}
