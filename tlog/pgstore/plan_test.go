package pgstore_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/pgstore"
)

// TestPlans looks at how much each statement reads, in the session that has prepared it: with empty
// tables, where a plan is made first and might be kept, and with a million rows, of which no
// statistics know yet.
func TestPlans(t *testing.T) {
	server := pgtest.Shared(t)
	name := newDatabase(t, server)
	db := openDB(t, server.URL(name), func(c *pg.Config) { c.Writers = 1 })
	store := openStore(t, db, "test")
	if err := tlog.Create(t.Context(), store, logtest.Config(t), nil); err != nil {
		t.Fatal(err)
	}
	admin := server.Connect(t, name)
	exec(t, admin, "VACUUM ANALYZE") // PostgreSQL knows for certain now that there is nothing to plan for
	const n = 1_000_000
	identities, keys, hashes := make([][]byte, 500), make([][]byte, 500), make([]int64, 500)
	regions, indexes := make([]int32, 500), make([]int64, 500)
	for i := range identities {
		identities[i] = fmt.Appendf(nil, "%08d%024d", i*n/500, 0)
		indexes[i] = int64(i * n / 500)
		regions[i] = int32(i * n / 500 >> 16)
		keys[i] = fmt.Appendf(nil, "key %d", i*n/500/2)
		hashes[i] = pgstore.KeyHash(keys[i])
	}
	var all []int64 // regions
	for region := int64(n >> 16); region >= 0; region-- {
		all = append(all, region)
	}
	for _, rows := range []int{0, n} {
		exec(t, admin, `INSERT INTO tlog.tlog_leaf (log_id, idx, time_ms, identity, leaf_hash, data) `+
			`SELECT id, i, i, rpad(lpad(i::text, 8, '0'), 32, '0')::bytea, lpad('', 32, '0')::bytea, '' FROM tlog.tlog, generate_series(0, $1 - 1) i`, rows)
		exec(t, admin, `INSERT INTO tlog.tlog_key (log_id, idx, slot, key) SELECT id, i, ((i >> 16)::bigint << 40) + (('x' || left(encode(sha256(key), 'hex'), 6))::bit(24)::bigint << 16) + (i & 65535), key `+
			`FROM tlog.tlog, generate_series(0, $1 - 1) i, LATERAL (SELECT ('key ' || i / 2)::bytea) k (key)`, rows)
		exec(t, admin, `INSERT INTO tlog.tlog_tile (log_id, level, n, hashes, root) `+
			`SELECT id, 0, i, repeat('0', 8192)::bytea, lpad('', 32, '0')::bytea FROM tlog.tlog, generate_series(0, $1 / 256 - 1) i`, rows)
		for _, s := range []struct {
			name, sql string
			arguments []any
			rows      int // that it returns when the tables are full
		}{
			{"find", pgstore.FindSQL, []any{identities, regions, identities[:0], 0}, 500},
			{"find in open regions", pgstore.FindSQL, []any{identities[:0], regions[:0], identities, 0}, 33},
			{"unfound", pgstore.UnfoundSQL, []any{indexes, slices.Repeat([]int64{-1}, 500), identities}, 500},
			{"leaf", pgstore.LeafSQL, []any{n / 2}, 1},
			{"leaves", pgstore.LeavesSQL, []any{n / 2, n/2 + 256}, 256},
			{"leaf hashes", pgstore.LeafHashesSQL, []any{n / 2, n/2 + 256}, 256},
			{"tile roots", pgstore.TileRootsSQL, []any{0, 2048, 2048 + 256}, 256},
			{"search any", pgstore.SearchAnySQL, []any{keys[:10], hashes[:10], all, n, 10000}, 20},
			{"search all", pgstore.SearchAllSQL, []any{keys[:1], hashes[:1], all, n, 10000, keys[0], hashes[0]}, 2},
			{"search these", pgstore.SearchTheseSQL, []any{keys[:1], hashes[:1], indexes}, 1},
			{"leaves at", pgstore.LeavesAtSQL, []any{indexes}, 500},
			{"keys", pgstore.KeysSQL, []any{1 << 40, 2 << 40, 0, n}, 1 << 16},
			{"keys of a part of a region", pgstore.KeysOfSQL, []any{1<<40 + hashes[40], 1<<40 + hashes[40] + 1<<16}, 2},
		} {
			pages, returned := pagesRead(t, db, s.sql, s.arguments)
			want := min(rows, s.rows)
			if s.sql == pgstore.UnfoundSQL { // it returns what is not there; the times are wrong
				want = s.rows
			}
			if returned != want {
				t.Errorf("%s returns %d rows of %d, want %d", s.name, returned, rows, want)
			}
			if most := 10*max(s.rows, 500) + 10; pages > most {
				t.Errorf("%s reads %d pages with %d rows, want at most %d", s.name, pages, rows, most)
			}
		}
	}
}

// pagesRead runs a statement of a log often enough for PostgreSQL to think of keeping a plan, in the
// one writing session, and then says how many pages it reads and how many rows it returns.
func pagesRead(t testing.TB, db *pg.DB, statement string, arguments []any) (pages, rows int) {
	t.Helper()
	err := db.Update(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		if err := tx.Begin(ctx, &pgx.Batch{}); err != nil {
			return err
		}
		var id int
		if err := tx.Conn().QueryRow(ctx, "SELECT max(id) FROM tlog.tlog").Scan(&id); err != nil {
			return err
		}
		arguments = append([]any{id}, arguments...)
		for range 6 {
			if _, err := tx.Conn().Exec(ctx, statement, arguments...); err != nil {
				return err
			}
		}
		before := pagesTouched(t, tx.Conn())
		found, err := tx.Conn().Query(ctx, statement, arguments...)
		if err != nil {
			return err
		}
		for found.Next() {
			rows++
		}
		if err := found.Err(); err != nil {
			return err
		}
		pages = pagesTouched(t, tx.Conn()) - before
		return tx.Commit(ctx, &pgx.Batch{})
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages, rows
}

// pagesTouched is how many pages of the log's tables this transaction has looked at.
func pagesTouched(t testing.TB, c *pgx.Conn) (n int) {
	t.Helper()
	err := c.QueryRow(t.Context(), `SELECT coalesce(sum(pg_stat_get_xact_blocks_fetched(oid)), 0) FROM pg_class WHERE relnamespace = 'tlog'::regnamespace`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
