package tlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"

	"github.com/sigbox/sigbox/tlog/tile"
)

// tree reads nodes of the tree that a right edge commits to. What it reads from the store it
// checks against the edge, tile by tile from the top down, so that stored bytes which do not
// belong to the tree are ErrCorrupt and are never served or built on.
type tree struct {
	store Reader
	edge  *edge
	cache *cache[*tile.Full] // of checked tiles; nil for none
	leaf  func(stored []byte) ([]byte, error)
}

// fullBytes is what a full tile takes in memory with its inner nodes.
const fullBytes = 2 * tile.FullSize

// full returns a full tile of the tree.
func (t tree) full(ctx context.Context, level int, n int64) (*tile.Full, error) {
	if f, ok := t.cache.get(level, n); ok {
		return f, nil
	}
	want, err := t.hash(ctx, level+1, n)
	if err != nil {
		return nil, err
	}
	row, err := t.store.Tile(ctx, level, n)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%w: tile level %d n %d is missing", ErrCorrupt, level, n)
	}
	if err != nil {
		return nil, fmt.Errorf("read tile level %d n %d: %w", level, n, err)
	}
	f, err := checkTile(row, want)
	if err != nil {
		return nil, err
	}
	t.cache.put(level, n, f, fullBytes)
	return f, nil
}

// checkTile expands a stored tile and compares its root with what the tree says.
func checkTile(row TileRow, want tile.Hash) (*tile.Full, error) {
	hashes, err := tile.Split(row.Hashes)
	if err != nil || len(hashes) != tile.Width {
		return nil, fmt.Errorf("%w: tile level %d n %d has %d bytes", ErrCorrupt, row.Level, row.N, len(row.Hashes))
	}
	f := tile.Expand(hashes)
	if f.Root() != want {
		return nil, fmt.Errorf("%w: tile level %d n %d folds to %x, the tree says %x", ErrCorrupt, row.Level, row.N, f.Root(), want)
	}
	return f, nil
}

// hash returns hash i of a tile level.
func (t tree) hash(ctx context.Context, level int, i int64) (tile.Hash, error) {
	return t.at(ctx, tile.Position{Level: level, N: i / tile.Width, First: int(i % tile.Width)})
}

// at returns a node.
func (t tree) at(ctx context.Context, p tile.Position) (tile.Hash, error) {
	if h, ok := t.edge.node(p); ok {
		return h, nil
	}
	if p.N >= hashesAt(t.edge.size, p.Level)/tile.Width {
		panic(fmt.Sprintf("tlog: bad math: node %+v is not in the tree of size %d", p, t.edge.size))
	}
	f, err := t.full(ctx, p.Level, p.N)
	if err != nil {
		return tile.Hash{}, err
	}
	return f.Node(p.Height, p.First>>p.Height), nil
}

func (t tree) nodes(ctx context.Context, ids []compact.NodeID) ([][]byte, error) {
	hashes := make([][]byte, len(ids))
	for i, id := range ids {
		h, err := t.at(ctx, tile.Locate(id.Level, id.Index))
		if err != nil {
			return nil, err
		}
		hashes[i] = h[:]
	}
	return hashes, nil
}

// root returns the root of the tree's prefix of that size.
func (t tree) root(ctx context.Context, size int64) (tile.Hash, error) {
	if size < 0 || size > t.edge.size {
		return tile.Hash{}, fmt.Errorf("%w: size %d of a tree of %d", ErrRange, size, t.edge.size)
	}
	hashes, err := t.nodes(ctx, compact.RangeNodes(0, uint64(size), nil))
	if err != nil {
		return tile.Hash{}, err
	}
	return foldRange(hashes), nil
}

func (t tree) inclusion(ctx context.Context, index, size int64) ([][]byte, error) {
	if index < 0 || index >= size || size > t.edge.size {
		return nil, fmt.Errorf("%w: leaf %d in size %d of a tree of %d", ErrRange, index, size, t.edge.size)
	}
	nodes, err := proof.Inclusion(uint64(index), uint64(size))
	return t.prove(ctx, nodes, err)
}

func (t tree) consistency(ctx context.Context, old, size int64) ([][]byte, error) {
	if old < 0 || old > size || size < 1 || size > t.edge.size {
		return nil, fmt.Errorf("%w: sizes %d and %d of a tree of %d", ErrRange, old, size, t.edge.size)
	}
	nodes, err := proof.Consistency(uint64(old), uint64(size))
	return t.prove(ctx, nodes, err)
}

func (t tree) prove(ctx context.Context, nodes proof.Nodes, err error) ([][]byte, error) {
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRange, err)
	}
	hashes, err := t.nodes(ctx, nodes.IDs)
	if err != nil {
		return nil, err
	}
	return nodes.Rehash(hashes, nodeHash)
}

// tile returns width hashes of a tile.
func (t tree) tile(ctx context.Context, level int, n int64, width int) ([]byte, error) {
	if level < 0 || n < 0 || width < 1 || width > tile.Width || n > hashesAt(t.edge.size, level)/tile.Width {
		return nil, fmt.Errorf("tile level %d n %d: %w", level, n, ErrNotFound)
	}
	var hashes []tile.Hash
	if n == hashesAt(t.edge.size, level)/tile.Width {
		if level < len(t.edge.tails) {
			hashes = t.edge.tails[level]
		}
	} else {
		f, err := t.full(ctx, level, n)
		if err != nil {
			return nil, err
		}
		hashes = f.Hashes()
	}
	if width > len(hashes) {
		return nil, fmt.Errorf("tile level %d n %d with %d hashes: %w", level, n, width, ErrNotFound)
	}
	return tile.Join(hashes[:width]), nil
}

// checkLeaf compares a stored leaf with the tree.
func (t tree) checkLeaf(ctx context.Context, l Leaf) error {
	want, err := t.hash(ctx, 0, l.Index)
	if err != nil {
		return err
	}
	have, err := leafHash(t.leaf, l)
	if err != nil {
		return err
	}
	if have != want || l.Hash != want {
		return fmt.Errorf("%w: leaf %d hashes to %x, its row says %x, the tree says %x", ErrCorrupt, l.Index, have, l.Hash, want)
	}
	return nil
}

// leafHash computes the hash of a leaf from its stored bytes.
func leafHash(input func([]byte) ([]byte, error), l Leaf) (tile.Hash, error) {
	in := l.Data
	if input != nil {
		var err error
		if in, err = input(l.Data); err != nil {
			return tile.Hash{}, fmt.Errorf("%w: leaf %d: %w", ErrCorrupt, l.Index, err)
		}
	}
	return tile.LeafHash(in), nil
}
