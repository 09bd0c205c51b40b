package memstore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/tile"
)

// read is view for what a callback of Create may ask too, when there is no log yet.
func read[T any](s *Store, f func(*data) (T, error)) (T, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return f(&s.data)
}

// rows returns the leaves with from <= index < to.
func (d *data) rows(from, to int64) []tlog.Leaf {
	find := func(index int64) int {
		i, _ := slices.BinarySearchFunc(d.leaves, index, func(l tlog.Leaf, index int64) int { return cmp.Compare(l.Index, index) })
		return i
	}
	return d.leaves[find(from):max(find(from), find(to))]
}

// Leaf implements [tlog.Reader].
func (s *Store) Leaf(_ context.Context, index int64) (tlog.Leaf, error) {
	return read(s, func(d *data) (tlog.Leaf, error) {
		rows := d.rows(index, index+1)
		if len(rows) == 0 {
			return tlog.Leaf{}, fmt.Errorf("leaf %d: %w", index, tlog.ErrNotFound)
		}
		l := rows[0]
		l.Data, l.Attestation = bytes.Clone(l.Data), bytes.Clone(l.Attestation)
		return l, nil
	})
}

// Leaves implements [tlog.Reader].
func (s *Store) Leaves(_ context.Context, from, to int64) ([]tlog.Leaf, error) {
	return read(s, func(d *data) ([]tlog.Leaf, error) {
		var leaves []tlog.Leaf
		for _, l := range d.rows(from, to) {
			l.Data, l.Attestation = bytes.Clone(l.Data), nil
			leaves = append(leaves, l)
		}
		return leaves, nil
	})
}

// LeafHashes implements [tlog.Reader].
func (s *Store) LeafHashes(_ context.Context, from, to int64) ([]tile.Hash, error) {
	return read(s, func(d *data) ([]tile.Hash, error) {
		var hashes []tile.Hash
		for _, l := range d.rows(from, to) {
			hashes = append(hashes, l.Hash)
		}
		return hashes, nil
	})
}

// Tile implements [tlog.Reader].
func (s *Store) Tile(_ context.Context, level int, n int64) (tlog.TileRow, error) {
	return read(s, func(d *data) (tlog.TileRow, error) {
		t, ok := d.tiles[tileID{level, n}]
		if !ok {
			return tlog.TileRow{}, fmt.Errorf("tile level %d n %d: %w", level, n, tlog.ErrNotFound)
		}
		t.Hashes = bytes.Clone(t.Hashes)
		return t, nil
	})
}

// TileRoots implements [tlog.Reader].
func (s *Store) TileRoots(_ context.Context, level int, from, to int64) ([]tile.Hash, error) {
	return read(s, func(d *data) ([]tile.Hash, error) {
		var roots []tile.Hash
		for n := from; n < to; n++ {
			if t, ok := d.tiles[tileID{level, n}]; ok {
				roots = append(roots, t.Root)
			}
		}
		return roots, nil
	})
}

// Find implements [tlog.Reader].
func (s *Store) Find(_ context.Context, identities [][32]byte) (map[[32]byte]tlog.Found, error) {
	return read(s, func(d *data) (map[[32]byte]tlog.Found, error) {
		found := make(map[[32]byte]tlog.Found)
		for _, id := range identities {
			if i, ok := d.identities[id]; ok {
				for _, l := range d.rows(i, i+1) {
					found[id] = tlog.Found{Index: i, TimeMS: l.TimeMS}
				}
			}
		}
		return found, nil
	})
}
