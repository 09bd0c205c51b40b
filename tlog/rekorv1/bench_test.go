package rekorv1_test

import (
	"bytes"
	"crypto"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/internal/record"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

// newHandler is the API over a log in memory, with the outer handler of production.
func newHandler(tb testing.TB, logger *slog.Logger) http.Handler {
	tb.Helper()
	key, heads := newSigners(tb, treeID)
	log := logtest.New(tb, func(l *tlog.Config) { l.Signer, l.LeafInput = heads, entry.LeafInput })
	face, err := rekorv1.New(rekorv1.Config{
		TreeID: treeID, Signer: key, Logger: logger, Log: log,
		Kinds: entry.Kinds{hashedrekord.Kind: hashedrekord.Parse},
	})
	if err != nil {
		tb.Fatal(err)
	}
	mux := http.NewServeMux()
	face.Register(mux)
	return httpx.Handler(mux, logger, httpx.NewMetrics(prometheus.NewRegistry()))
}

// certified returns entries, each by a key and a certificate of its own, as with Fulcio's certificates.
func certified(tb testing.TB, n int) chan []byte {
	tb.Helper()
	bodies := make(chan []byte, n)
	for i := range n {
		private := entrytest.P256(tb)
		pub := entrytest.CertPEM(entrytest.Cert(tb, private, entrytest.SAN{Emails: []string{fmt.Sprintf("%d@example.org", i)}}, nil, nil))
		digest := entrytest.Digest(crypto.SHA256, fmt.Append(nil, i))
		bodies <- entrytest.HashedRekord(pub, crypto.SHA256, digest, entrytest.SignDigest(tb, private, crypto.SHA256, digest))
	}
	return bodies
}

func create(tb testing.TB, handler http.Handler, body []byte) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", entriesPath, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if handler.ServeHTTP(w, r); w.Code != http.StatusCreated {
		tb.Errorf("%d %s", w.Code, w.Body)
	}
}

// BenchmarkCreate creates hashedrekords in a log in memory, 64 at once, by the handler of production
// without the network.
func BenchmarkCreate(b *testing.B) {
	handler := newHandler(b, slog.New(slog.DiscardHandler))
	bodies := certified(b, b.N+1024)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			create(b, handler, <-bodies)
		}
	})
}

// createCost is what a create request costs, in microseconds of this process's processor time, and what of it is
// a signature: that of the client, checked, and two of the entry timestamp (docs/design/0004).
type createCost struct {
	Entries     int     `json:"entries"`
	Create      float64 `json:"create_us"`
	Logged      float64 `json:"create_with_log_lines_us"`
	LessGC      float64 `json:"create_with_gogc_400_us"`
	ClientCheck float64 `json:"client_signature_check_us"`
	Timestamps  float64 `json:"two_timestamp_signatures_us"`
	Bytes       uint64  `json:"bytes_allocated"`
	Objects     uint64  `json:"objects_allocated"`
}

// TestCreateCost measures a create request end to end, without the network and a database, and records the median of
// rounds in which all ways take turns: the first one in a process pays for what the next ones find warm.
func TestCreateCost(t *testing.T) {
	started, n, rounds := time.Now(), 256, 1
	if os.Getenv("SIGBOX_FIGURES") != "" {
		n, rounds = 1024, 15
	}
	c := createCost{Entries: n * rounds}
	quiet, loud := slog.New(slog.DiscardHandler), slog.New(slog.NewJSONHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var all [3][]float64
	for range rounds {
		for i, logger := range []*slog.Logger{quiet, loud, quiet} {
			percent := debug.SetGCPercent([]int{100, 100, 400}[i])
			us, allocated, objects := createMany(t, logger, n)
			debug.SetGCPercent(percent)
			if all[i] = append(all[i], us); i == 0 {
				c.Bytes, c.Objects = allocated, objects
			}
		}
	}
	c.Create, c.Logged, c.LessGC = median(all[0]), median(all[1]), median(all[2])
	row := canonicalRows(t)[0]
	c.ClientCheck = each(t, n, func() {
		if err := row.check(); err != nil {
			t.Error(err)
		}
	})
	c.Timestamps = each(t, n, func() {
		for range 2 {
			if _, err := row.key.Sign(nil, row.digest, crypto.SHA256); err != nil {
				t.Error(err)
			}
		}
	})
	t.Logf("%+v", c)
	if floor := c.ClientCheck + c.Timestamps; c.Create > 10*floor {
		t.Errorf("a create request costs %.0f µs, its signatures %.0f", c.Create, floor)
	}
	if err := record.Write("create", t.Name(), started, c); err != nil {
		t.Error(err)
	}
}

// each is the processor time of one call, in microseconds.
func each(t *testing.T, n int, f func()) float64 {
	start := processorTime(t)
	for range n {
		f()
	}
	return float64((processorTime(t) - start).Nanoseconds()) / 1000 / float64(n)
}

// createMany creates n entries, 64 at once.
func createMany(t *testing.T, logger *slog.Logger, n int) (us float64, allocated, objects uint64) {
	t.Helper()
	handler, bodies := newHandler(t, logger), certified(t, n)
	close(bodies)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := processorTime(t)
	var clients sync.WaitGroup
	for range 64 {
		clients.Go(func() {
			for body := range bodies {
				create(t, handler, body)
			}
		})
	}
	clients.Wait()
	took := processorTime(t) - start
	runtime.ReadMemStats(&after)
	count := uint64(n)
	return float64(took.Nanoseconds()) / 1000 / float64(n), (after.TotalAlloc - before.TotalAlloc) / count, (after.Mallocs - before.Mallocs) / count
}
