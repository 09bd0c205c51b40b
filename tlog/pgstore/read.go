package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/tile"
)

// querier is a pool or a connection within a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// reader reads one log, in a transaction or outside.
type reader struct {
	log  int64
	q    querier
	pool *pgxpool.Pool // nil in a transaction

	filters table // of the first full regions
}

func (r reader) head(ctx context.Context) (tlog.Head, error) {
	h, err := one(ctx, r, func(row pgx.CollectableRow) (h tlog.Head, err error) {
		err = row.Scan(&h.Size, (*hash)(&h.Root), &h.TimeMS, &h.Note, &h.Frozen, &h.Lost, &h.Reason)
		return h, err
	}, headSQL, r.log)
	if err != nil {
		return tlog.Head{}, fmt.Errorf("head row: %w", err)
	}
	return h, nil
}

func (r reader) Leaf(ctx context.Context, index int64) (tlog.Leaf, error) {
	l, err := one(ctx, r, func(row pgx.CollectableRow) (l tlog.Leaf, err error) {
		err = row.Scan(&l.Index, &l.TimeMS, (*hash)(&l.Identity), (*hash)(&l.Hash), &l.Data, &l.Attestation)
		return l, err
	}, leafSQL, r.log, index)
	if err != nil {
		return tlog.Leaf{}, fmt.Errorf("leaf %d: %w", index, err)
	}
	return l, nil
}

func (r reader) Leaves(ctx context.Context, from, to int64) ([]tlog.Leaf, error) {
	return collect(ctx, r, scanLeaf, leavesSQL, r.log, from, to)
}

func (r reader) LeafHashes(ctx context.Context, from, to int64) ([]tile.Hash, error) {
	return collect(ctx, r, scanHash, leafHashesSQL, r.log, from, to)
}

func (r reader) Tile(ctx context.Context, level int, n int64) (tlog.TileRow, error) {
	t, err := one(ctx, r, scanTile(level, n), tileSQL, r.log, level, n)
	if err != nil {
		return tlog.TileRow{}, fmt.Errorf("tile level %d n %d: %w", level, n, err)
	}
	return t, nil
}

func (r reader) TileRoots(ctx context.Context, level int, from, to int64) ([]tile.Hash, error) {
	return collect(ctx, r, scanHash, tileRootsSQL, r.log, level, from, to)
}

func (r reader) Find(ctx context.Context, identities [][32]byte) (map[[32]byte]tlog.Found, error) {
	return r.find(ctx, identities, identities)
}

// find looks for some identities in the regions that have a filter, and for others in those that have
// none.
func (r reader) find(ctx context.Context, filtered, open [][32]byte) (map[[32]byte]tlog.Found, error) {
	return firsts(collect(ctx, r, scanFound, findSQL, r.findArguments(filtered, open)...))
}

// findArguments are those of findSQL.
func (r reader) findArguments(filtered, open [][32]byte) []any {
	others := make([][]byte, len(open))
	for i := range open {
		others[i] = open[i][:]
	}
	some, regions := candidates(r.filters, filtered)
	return []any{r.log, some, regions, others, r.filters.n}
}

// foundRow is a row of findSQL.
type foundRow struct {
	identity [32]byte
	tlog.Found
}

func scanFound(row pgx.CollectableRow) (v foundRow, err error) {
	err = row.Scan((*hash)(&v.identity), &v.Index, &v.TimeMS)
	return v, err
}

// firsts returns the first place of each identity.
func firsts(rows []foundRow, err error) (map[[32]byte]tlog.Found, error) {
	if err != nil {
		return nil, err
	}
	found := make(map[[32]byte]tlog.Found, len(rows))
	for _, v := range rows {
		if first, twice := found[v.identity]; !twice || v.Index < first.Index {
			found[v.identity] = v.Found
		}
	}
	return found, nil
}

func scanLeaf(row pgx.CollectableRow) (l tlog.Leaf, err error) {
	err = row.Scan(&l.Index, &l.TimeMS, (*hash)(&l.Identity), (*hash)(&l.Hash), &l.Data)
	return l, err
}

func scanHash(row pgx.CollectableRow) (h tile.Hash, err error) {
	err = row.Scan((*hash)(&h))
	return h, err
}

func scanTile(level int, n int64) pgx.RowToFunc[tlog.TileRow] {
	return func(row pgx.CollectableRow) (tlog.TileRow, error) {
		t := tlog.TileRow{Level: level, N: n}
		err := row.Scan(&t.Hashes, (*hash)(&t.Root))
		return t, err
	}
}

// hash scans a bytea column of 32 bytes.
type hash [32]byte

func (h *hash) ScanBytes(b []byte) error {
	if len(b) != len(h) {
		return fmt.Errorf("%w: a column of %d bytes is not a hash", tlog.ErrCorrupt, len(b))
	}
	copy(h[:], b)
	return nil
}

// collect returns all rows of a query. Where a restarted server has left dead connections in the
// pool, it asks again.
func collect[T any](ctx context.Context, r reader, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	for try := 0; ; try++ {
		rows, err := r.q.Query(ctx, sql, args...)
		var list []T
		if err == nil {
			list, err = pgx.AppendRows([]T(nil), rows, scan)
		}
		if err == nil {
			return list, nil
		}
		if r.pool == nil || try > 0 || !pg.Lost(err) {
			return nil, fault("query", err)
		}
		r.pool.Reset()
	}
}

// one is collect for a query that returns one row; none is ErrNotFound.
func one[T any](ctx context.Context, r reader, scan pgx.RowToFunc[T], sql string, args ...any) (v T, err error) {
	list, err := collect(ctx, r, scan, sql, args...)
	if err == nil && len(list) == 0 {
		err = tlog.ErrNotFound
	}
	if err != nil {
		return v, err
	}
	return list[0], nil
}
