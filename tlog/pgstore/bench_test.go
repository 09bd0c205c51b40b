package pgstore_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/pgstore"
	"github.com/sigbox/sigbox/tlog/tile"
)

func BenchmarkAppend(b *testing.B) {
	logtest.BenchmarkAppend(b, func(b *testing.B) tlog.Store { return newStore(b) })
}

// BenchmarkGrown is BenchmarkAppend on a log of a million, three million or ten million entries, on a
// server with PostgreSQL's own shared_buffers, right after a checkpoint, when every page that is touched
// is written to the WAL whole. It reports bytes of WAL per entry, how many of them are such pages, and
// the bytes of each index that tells identities apart per entry. Give -benchtime a number of entries,
// such as 20000x.
func BenchmarkGrown(b *testing.B) {
	for _, rows := range []int{0, 1_000_000, 3_000_000, 10_000_000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			server := pgtest.Start(b, "shared_buffers=128MB")
			cfg := logtest.Config(b, func(c *tlog.Config) { c.Name, c.Signer = "grown", logtest.Signer(b, "log.test", "grown") })
			name := grown(b, server, rows, cfg.Signer)
			if _, err := pgstore.Learn(b.Context(), openStore(b, openDB(b, server.URL(name)), "grown")); err != nil {
				b.Fatal(err)
			}
			admin := server.Connect(b, name)
			index := size(b, admin, "tlog_leaf_identity") / float64(max(rows, 1))
			for _, writers := range []int{1, 64, 256} {
				b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
					log := logtest.Open(b, openStore(b, openDB(b, server.URL(name)), "grown"), cfg)
					exec(b, admin, "CHECKPOINT")
					from := walPosition(b, admin)
					logtest.BenchmarkLog(b, log, writers)
					wal(b, admin, from)
					b.ReportMetric(index, "identity-index-B/entry")
				})
			}
		})
	}
}

// BenchmarkSearch searches a log of a million entries for a key that one of them has, for one that
// every hundredth has, for one that all have, and for two of them.
func BenchmarkSearch(b *testing.B) {
	const rows = 1_000_000
	server := pgtest.Start(b, "shared_buffers=128MB")
	store := openStore(b, openDB(b, server.URL(grown(b, server, rows, logtest.Signer(b, "log.test", "grown")))), "grown")
	for _, c := range []struct {
		name string
		and  bool
		keys []string
	}{
		{"rare", false, []string{"key 1 of 765400"}}, {"common", false, []string{"common"}}, {"absent", false, []string{"absent"}},
		{"all", false, []string{"everyone"}}, {"all and common", true, []string{"everyone", "common"}}, {"rare and all", true, []string{"key 1 of 765400", "everyone"}},
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
				list, err := store.Search(b.Context(), keys, c.and, rows, 1000)
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

// grown makes a database with a log "grown", whose rows are made up and belong together, and returns
// its name.
func grown(b *testing.B, server *pgtest.Server, rows int, signer *checkpoint.Signer) string {
	name := server.Database(b)
	if err := pg.Migrate(b.Context(), server.URL(name), "tlog"); err != nil {
		b.Fatal(err)
	}
	c := server.Connect(b, name)
	key := signer.Verifier().KeyID()
	exec(b, c, `INSERT INTO tlog.tlog (name, origin, face, key_sha256, created_ms) VALUES ('grown', $1, '', $2, 0)`, signer.Verifier().Origin(), key[:])
	const step = 100_000
	for from := 0; from < rows; from += step {
		exec(b, c, `INSERT INTO tlog.tlog_leaf (log_id, idx, time_ms, identity, leaf_hash, data) `+
			`SELECT id, i, i, sha256(i::text::bytea), sha256('\x00' || data), data FROM tlog.tlog, generate_series($1::int, $2::int) i, `+
			`LATERAL (SELECT repeat(encode(sha256(i::text::bytea), 'hex'), 16)::bytea) made (data)`, from, from+step-1)
		exec(b, c, `INSERT INTO tlog.tlog_key (log_id, idx, slot, key) SELECT id, i, ((i >> 16)::bigint << 40) + (('x' || left(encode(sha256(key), 'hex'), 6))::bit(24)::bigint << 16) + (i & 65535), key `+
			`FROM tlog.tlog, generate_series($1::int, $2::int) i, generate_series(1, 3) k, `+
			`LATERAL (SELECT CASE WHEN k = 2 THEN 'everyone' WHEN k = 3 AND i % 100 = 0 THEN 'common' ELSE 'key ' || k || ' of ' || i END::bytea) made (key)`, from, from+step-1)
	}
	top := plant(b, c, rows)
	signed, err := signer.Sign(int64(rows), top)
	if err != nil {
		b.Fatal(err)
	}
	exec(b, c, `INSERT INTO tlog.tlog_head (log_id, size, root, time_ms, checkpoint) SELECT id, $1, $2, $3, $4 FROM tlog.tlog`, rows, top[:], max(rows-1, 0), signed.Note)
	return name
}

// plant adds the full tiles of the rows that grown makes, and returns their root.
func plant(b *testing.B, c *pgx.Conn, rows int) tile.Hash {
	tree := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	var tails [8][]tile.Hash
	var full [][]any
	push := func(level int, h tile.Hash) {}
	push = func(level int, h tile.Hash) {
		if tails[level] = append(tails[level], h); len(tails[level]) < tile.Width {
			return
		}
		root := tile.Fold(tails[level])
		full = append(full, []any{1, level, 0, tile.Join(tails[level]), root[:]})
		tails[level] = tails[level][:0]
		push(level+1, root)
	}
	var cut [8]int64
	for i := range rows {
		id := sha256.Sum256(strconv.AppendInt(nil, int64(i), 10))
		h := tile.LeafHash(bytes.Repeat([]byte(hex.EncodeToString(id[:])), 16))
		if err := tree.Append(h[:], nil); err != nil {
			b.Fatal(err)
		}
		push(0, h)
		if len(full) < 256 && i < rows-1 {
			continue
		}
		for _, row := range full {
			row[2] = cut[row[1].(int)]
			cut[row[1].(int)]++
		}
		if _, err := c.CopyFrom(b.Context(), pgx.Identifier{"tlog", "tlog_tile"}, []string{"log_id", "level", "n", "hashes", "root"}, pgx.CopyFromRows(full)); err != nil {
			b.Fatal(err)
		}
		full = full[:0]
	}
	if rows == 0 {
		return tile.EmptyRoot()
	}
	root, err := tree.GetRootHash(nil)
	if err != nil {
		b.Fatal(err)
	}
	return tile.Hash(root)
}

// size is that of a table or an index in bytes.
func size(b *testing.B, c *pgx.Conn, name string) (bytes float64) {
	if err := c.QueryRow(b.Context(), "SELECT pg_relation_size(('tlog.' || $1)::regclass)::float8", name).Scan(&bytes); err != nil {
		b.Fatal(err)
	}
	return bytes
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
