package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/tile"
)

// reader reads one log, in a transaction or outside.
type reader struct {
	log int64
	q   queries
}

func (r reader) head(ctx context.Context) (h tlog.Head, err error) {
	err = r.q.head.QueryRowContext(ctx, r.log).Scan(&h.Size, (*hash)(&h.Root), &h.TimeMS, &h.Note, &h.Frozen, &h.Lost, &h.Reason)
	if err != nil {
		return tlog.Head{}, fault("read the head row", err)
	}
	return h, nil
}

func (r reader) Leaf(ctx context.Context, index int64) (tlog.Leaf, error) {
	leaves, err := collect(ctx, r.q.leaf, scanLeaf, r.log, index)
	if err == nil && len(leaves) == 0 {
		err = tlog.ErrNotFound
	}
	if err != nil {
		return tlog.Leaf{}, fmt.Errorf("leaf %d: %w", index, err)
	}
	return leaves[0], nil
}

func (r reader) Leaves(ctx context.Context, from, to int64) ([]tlog.Leaf, error) {
	return collect(ctx, r.q.leaves, scanLeaf, r.log, from, to)
}

func (r reader) LeafHashes(ctx context.Context, from, to int64) ([]tile.Hash, error) {
	return collect(ctx, r.q.leafHashes, scanHash, r.log, from, to)
}

func (r reader) Tile(ctx context.Context, level int, n int64) (tlog.TileRow, error) {
	t := tlog.TileRow{Level: level, N: n}
	err := r.q.tile.QueryRowContext(ctx, r.log, level, n).Scan(&t.Hashes, (*hash)(&t.Root))
	if errors.Is(err, sql.ErrNoRows) {
		return tlog.TileRow{}, fmt.Errorf("tile level %d n %d: %w", level, n, tlog.ErrNotFound)
	}
	if err != nil {
		return tlog.TileRow{}, fault(fmt.Sprintf("tile level %d n %d", level, n), err)
	}
	return t, nil
}

func (r reader) TileRoots(ctx context.Context, level int, from, to int64) ([]tile.Hash, error) {
	return collect(ctx, r.q.tileRoots, scanHash, r.log, level, from, to)
}

func (r reader) Find(ctx context.Context, identities [][32]byte) (map[[32]byte]tlog.Found, error) {
	type row struct {
		identity hash
		tlog.Found
	}
	list := make([]string, len(identities))
	for i, id := range identities {
		list[i] = hex.EncodeToString(id[:])
	}
	arg, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	rows, err := collect(ctx, r.q.find, func(s scanner) (v row, err error) {
		err = s.Scan(&v.identity, &v.Index, &v.TimeMS)
		return v, err
	}, r.log, string(arg))
	found := make(map[[32]byte]tlog.Found, len(rows))
	for _, v := range rows {
		found[v.identity] = v.Found
	}
	return found, err
}

func search(ctx context.Context, stmt *sql.Stmt, log int64, keys [][]byte, size int64, limit int) ([]int64, error) {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = hex.EncodeToString(k)
	}
	arg, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	found, err := collect(ctx, stmt, func(s scanner) (i int64, err error) { return i, s.Scan(&i) }, log, string(arg), size, limit)
	slices.Reverse(found)
	return found, err
}

type scanner interface{ Scan(dest ...any) error }

func scanLeaf(s scanner) (l tlog.Leaf, err error) {
	err = s.Scan(&l.Index, &l.TimeMS, (*hash)(&l.Identity), (*hash)(&l.Hash), &l.Data, &l.Attestation)
	return l, err
}

func scanHash(s scanner) (h tile.Hash, err error) {
	err = s.Scan((*hash)(&h))
	return h, err
}

// hash scans 32 bytes.
type hash [32]byte

func (h *hash) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok || len(b) != len(h) {
		return fmt.Errorf("%w: a column of %d bytes is not a hash", tlog.ErrCorrupt, len(b))
	}
	copy(h[:], b)
	return nil
}

func collect[T any](ctx context.Context, stmt *sql.Stmt, scan func(scanner) (T, error), args ...any) (list []T, err error) {
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, fault("query", err)
	}
	defer rows.Close()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, fault("scan", err)
		}
		list = append(list, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fault("query", err)
	}
	return list, nil
}
