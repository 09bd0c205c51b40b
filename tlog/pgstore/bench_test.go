package pgstore_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
)

func BenchmarkAppend(b *testing.B) {
	logtest.BenchmarkAppend(b, func(b *testing.B) tlog.Store { return newStore(b) })
}

// BenchmarkGrown is BenchmarkAppend with tables that hold a million or ten million entries of another
// log, on a server with PostgreSQL's own shared_buffers, right after a checkpoint, when every page that
// is touched is written to the WAL whole. It reports bytes of WAL per entry, and how many of them are
// such pages. Give -benchtime a number of entries, such as 20000x.
func BenchmarkGrown(b *testing.B) {
	for _, rows := range []int{0, 1_000_000, 10_000_000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			server := pgtest.Start(b, "shared_buffers=128MB")
			name := grown(b, server, rows)
			for _, writers := range []int{1, 64, 256} {
				b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
					log := fmt.Sprintf("%d writers, %d", writers, b.N)
					cfg := logtest.Config(b, func(c *tlog.Config) { c.Name, c.Signer = log, logtest.Signer(b, "log.test", log) })
					store := openStore(b, openDB(b, server.URL(name)), log)
					admin := server.Connect(b, name)
					exec(b, admin, "CHECKPOINT")
					from := walPosition(b, admin)
					logtest.BenchmarkWriters(b, store, cfg, writers)
					wal(b, admin, from)
				})
			}
		})
	}
}

// BenchmarkSearch searches a log of a million entries for a key that one of them has, for one that
// every hundredth has, and for both.
func BenchmarkSearch(b *testing.B) {
	const rows = 1_000_000
	server := pgtest.Start(b, "shared_buffers=128MB")
	store := openStore(b, openDB(b, server.URL(grown(b, server, rows))), "grown")
	for _, c := range []struct {
		name string
		and  bool
		keys []string
	}{
		{"rare", false, []string{"key 1 of 765400"}}, {"common", false, []string{"common"}}, {"absent", false, []string{"absent"}},
		{"rare and common", true, []string{"key 1 of 765400", "common"}}, {"common and rare", true, []string{"common", "key 1 of 765400"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var keys [][]byte
			for _, k := range c.keys {
				keys = append(keys, []byte(k))
			}
			waits := make([]time.Duration, b.N)
			found := 0
			for i := range b.N {
				begin := time.Now()
				list, err := store.Search(b.Context(), keys, c.and, rows, 10_000)
				if err != nil {
					b.Fatal(err)
				}
				waits[i], found = time.Since(begin), len(list)
			}
			slices.Sort(waits)
			b.ReportMetric(float64(found), "found")
			for _, p := range []int{50, 99} {
				b.ReportMetric(float64(waits[(b.N-1)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
			}
		})
	}
}

// grown makes a database with a log "grown", whose rows are made up, and returns its name.
func grown(b *testing.B, server *pgtest.Server, rows int) string {
	name := server.Database(b)
	if err := pg.Migrate(b.Context(), server.URL(name), "tlog"); err != nil {
		b.Fatal(err)
	}
	c := server.Connect(b, name)
	exec(b, c, `INSERT INTO tlog.tlog (name, origin, face, key_sha256, created_ms) VALUES ('grown', 'grown', '', sha256(''), 0)`)
	const step = 100_000
	for from := 0; from < rows; from += step {
		exec(b, c, `INSERT INTO tlog.tlog_leaf (log_id, idx, time_ms, identity, leaf_hash, data) `+
			`SELECT id, i, i, sha256(i::text::bytea), sha256(''), repeat(encode(sha256(i::text::bytea), 'hex'), 16)::bytea FROM tlog.tlog, generate_series($1::int, $2::int) i`, from, from+step-1)
		exec(b, c, `INSERT INTO tlog.tlog_key (log_id, idx, slot, key) SELECT id, i, ((i >> 16)::bigint << 40) + ('x' || left(encode(sha256(key), 'hex'), 10))::bit(40)::bigint, key `+
			`FROM tlog.tlog, generate_series($1::int, $2::int) i, generate_series(1, 3) k, `+
			`LATERAL (SELECT CASE WHEN k = 3 AND i % 100 = 0 THEN 'common' ELSE 'key ' || k || ' of ' || i END::bytea) made (key)`, from, from+step-1)
	}
	return name
}

func walPosition(b *testing.B, c *pgx.Conn) (position string) {
	if err := c.QueryRow(b.Context(), "SELECT pg_current_wal_insert_lsn()::text").Scan(&position); err != nil {
		b.Fatal(err)
	}
	return position
}

// wal reports what was written to the WAL since a position.
func wal(b *testing.B, c *pgx.Conn, from string) {
	exec(b, c, "CREATE EXTENSION IF NOT EXISTS pg_walinspect")
	var all, pages float64
	err := c.QueryRow(b.Context(), `SELECT sum(combined_size)::float8, sum(fpi_size)::float8 FROM pg_get_wal_stats($1::text::pg_lsn, pg_current_wal_flush_lsn())`, from).Scan(&all, &pages)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(all/float64(b.N), "WAL-B/entry")
	b.ReportMetric(pages/float64(b.N), "page-B/entry")
}
