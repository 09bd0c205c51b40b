package figures

import (
	"fmt"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/filler"
)

// TestGrown is the short way to what a large log costs: the engine on it in turns with one on an empty log,
// searches, memory. The log is the largest of SIGBOX_PROOF_SIZES, found in SIGBOX_PROOF_DATA; it keeps nothing.
func TestGrown(t *testing.T) {
	if !world.full || world.data == "" {
		fmt.Printf("figures: %s NOT RUN: it takes SIGBOX_PROOF and SIGBOX_PROOF_DATA\n", t.Name())
		return
	}
	size := world.sizes[len(world.sizes)-1]
	empty, full := newInstance(t, "", 0), newInstance(t, sizeDir(size), 0)
	say("%d entries", full.size(t, filler.RekorV1))
	full.awaitFilters(t)
	measureEngine(t, full, filler.RekorV1, 64) // what is read first is on disk
	for _, writers := range []int{1, 64, 256} {
		var before, after []Cell
		for range world.rounds {
			before = append(before, measureCosts(t, empty, writers))
			after = append(after, measureCosts(t, full, writers))
		}
		e, f := median(before, perSecond), median(after, perSecond)
		say("%d writers: empty %.0f/s, p50 %.1f ms; %d entries %.0f/s, p50 %.1f ms: %.1f %%",
			writers, e.PerSecond, e.LatencyMS.P50, size, f.PerSecond, f.LatencyMS.P50, 100*f.PerSecond/e.PerSecond)
	}
	full.up(t)
	for range world.rounds {
		search, proof := full.read(t, world.reads)
		say("search p50 %.2f, p90 %.2f, p99 %.2f ms; proof p50 %.2f, p99 %.2f ms", search.P50, search.P90, search.P99, proof.P50, proof.P99)
	}
	m := memory(t, full.running.Pid())
	say("%.1f MB resident, peak %.1f", float64(m.Resident)/1e6, float64(m.Peak)/1e6)
}

// measureCosts is measureEngine, and says what an entry costs whatever else the machine does: bytes of WAL, and
// how many pages of the index of identities are looked at, of which some are not in PostgreSQL's memory.
func measureCosts(t *testing.T, i *testInstance, writers int) Cell {
	t.Helper()
	const hits, reads = "SELECT idx_blks_hit FROM pg_statio_all_indexes WHERE indexrelname = 'tlog_leaf_identity'", "SELECT idx_blks_read FROM pg_statio_all_indexes WHERE indexrelname = 'tlog_leaf_identity'"
	wal, hit, read := i.wal(t), i.number(t, hits), i.number(t, reads)
	c := measureEngine(t, i, filler.RekorV1, writers)
	time.Sleep(time.Second) // sessions hand in their counts when they end
	n := float64(c.Entries)
	say("an entry: %.0f bytes of WAL, %.2f pages of the index of identities, %.4f of them not in memory",
		float64(i.wal(t)-wal)/n, float64(i.number(t, hits)-hit+i.number(t, reads)-read)/n, float64(i.number(t, reads)-read)/n)
	return c
}

// awaitFilters runs the instance until all full regions of its Rekor v1 log have filters, which an upgrade
// has made anew, and loads it meanwhile.
func (i *testInstance) awaitFilters(t *testing.T) {
	t.Helper()
	const query = "SELECT count(*) FROM tlog.tlog_filter f JOIN tlog.tlog l ON l.id = f.log_id WHERE l.name = $1"
	missing := func() int64 { return i.size(t, filler.RekorV1)>>16 - i.number(t, query, filler.RekorV1) }
	was := missing()
	if was <= 0 {
		return
	}
	started := time.Now()
	i.up(t)
	defer i.stop(t)
	say("serves after %s, with %d filters to make", time.Since(started).Round(time.Millisecond), was)
	i.bench(t, "sigbox", "rekor-v1", i.running.URL, "", 32)
	for missing() > 0 {
		time.Sleep(100 * time.Millisecond)
	}
	say("%d filters were made in %s", was, time.Since(started).Round(time.Millisecond))
}
