package figures

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"

	"github.com/sigbox/sigbox/e2e/internal/filler"
	"github.com/sigbox/sigbox/tlog"
)

// Cell is what a number of writers, each waiting for its entry to be in the log, got done.
type Cell struct {
	Writers   int     `json:"writers"`
	Entries   int     `json:"entries"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
	LatencyMS Latency `json:"latency_ms"`
}

// Engine are the figures of TestEngine: nothing but the log, in the process of the writers.
type Engine struct {
	Span    float64 `json:"span_seconds"` // of one measurement
	Sigbox  []Cell  `json:"sigbox"`       // on PostgreSQL
	Tessera []Cell  `json:"tessera"`      // POSIX driver, checkpoint every 100 ms, its minimum
}

// TestEngine measures the log engine alone, and Tessera's POSIX driver in turns with it.
func TestEngine(t *testing.T) {
	started := time.Now()
	f := Engine{Span: world.span.Seconds()}
	i := newInstance(t, "", 0)
	for _, writers := range world.writers {
		var ours, theirs []Cell
		for range world.rounds {
			ours = append(ours, measureEngine(t, i, filler.RekorV1, writers))
			if world.full {
				theirs = append(theirs, measureTessera(t, writers))
			}
		}
		f.Sigbox = append(f.Sigbox, median(ours, perSecond))
		if world.full {
			f.Tessera = append(f.Tessera, median(theirs, perSecond))
		}
	}
	keep(t, "engine", started, f)
}

func perSecond(c Cell) float64 { return c.PerSecond }

// measureEngine opens a log of an instance that is not running and appends to it.
func measureEngine(t *testing.T, i *testInstance, log string, writers int) Cell {
	t.Helper()
	l, err := filler.Open(t.Context(), i.data, i.database, log, func(c *tlog.Config) { c.MaxBatch, c.MaxPending = 0, 0 })
	if err != nil {
		t.Fatal(err)
	}
	c := measure(t, log, writers, min(1000*writers, 30_000), func(ctx context.Context, e *filler.Entry) error {
		_, err := l.Append(ctx, e)
		return err
	})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	say("engine, %d writers: %.0f entries/s, p50 %.1f ms, p99 %.1f ms", writers, c.PerSecond, c.LatencyMS.P50, c.LatencyMS.P99)
	return c
}

// measureTessera does the same on a new log of Tessera's. An entry is in the log when a checkpoint
// covers it.
func measureTessera(t *testing.T, writers int) Cell {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	driver, err := posix.New(ctx, posix.Config{Path: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	private, _, err := note.GenerateKey(rand.Reader, "log.test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	const interval = 100 * time.Millisecond
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).WithCheckpointInterval(interval).WithBatching(tessera.DefaultBatchMaxSize, interval))
	if err != nil {
		t.Fatal(err)
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, interval/10)
	c := measure(t, filler.RekorV1, writers, min(20*writers, 5000), func(ctx context.Context, e *filler.Entry) error {
		_, _, err := awaiter.Await(ctx, appender.Add(ctx, tessera.NewEntry(e.Body())))
		return err
	})
	if err := shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	say("Tessera POSIX, %d writers: %.0f entries/s, p50 %.1f ms, p99 %.1f ms", writers, c.PerSecond, c.LatencyMS.P50, c.LatencyMS.P99)
	return c
}

// measure appends entries that were made before the clock starts, as many as can be needed at a rate
// of most a second, until the span is over.
func measure(t *testing.T, log string, writers, most int, add func(context.Context, *filler.Entry) error) Cell {
	t.Helper()
	entries := prepare(t, log, int(float64(most)*world.span.Seconds())+writers)
	waits := make([]time.Duration, len(entries))
	var next atomic.Int64
	var wg sync.WaitGroup
	runtime.GC()
	started := time.Now()
	for range writers {
		wg.Go(func() {
			for time.Since(started) < world.span {
				i := int(next.Add(1)) - 1
				if i >= len(entries) {
					return
				}
				begin := time.Now()
				if err := add(t.Context(), entries[i]); err != nil {
					t.Errorf("append: %v", err)
					return
				}
				waits[i] = time.Since(begin)
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(started)
	if t.Failed() {
		t.FailNow()
	}
	n := min(int(next.Load()), len(entries))
	return Cell{Writers: writers, Entries: n, Seconds: elapsed.Seconds(), PerSecond: float64(n) / elapsed.Seconds(), LatencyMS: newLatency(waits[:n])}
}

// prepare makes entries that no other call has made.
func prepare(t *testing.T, log string, n int) []*filler.Entry {
	t.Helper()
	from, err := filler.NewEntries(log, uint64(time.Now().UnixNano()))
	if err != nil {
		t.Fatal(err)
	}
	entries := make([]*filler.Entry, n)
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				e, err := from.New(int64(i))
				if err != nil {
					t.Error(err)
					return
				}
				entries[i] = e
			}
		})
	}
	wg.Wait()
	return entries
}
