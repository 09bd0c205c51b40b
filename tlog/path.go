package tlog

import (
	"context"
	"fmt"

	"github.com/sigbox/sigbox/tlog/tile"
)

// ReadPath returns the bytes that a C2SP tlog-tiles path names: the hashes of a tile or a bundle
// of entries, as stored. ErrNotFound where the published tree has no such tile, ErrTooLarge where
// an entry does not fit into a bundle.
func ReadPath(ctx context.Context, l Log, p tile.Path) ([]byte, error) {
	if p.Level != tile.Entries {
		return l.Tile(ctx, p.Level, p.N, p.Width)
	}
	if p.N > (1<<62)/tile.Width {
		return nil, fmt.Errorf("%w: bundle %d", ErrNotFound, p.N)
	}
	from := p.N * tile.Width
	leaves, err := l.Leaves(ctx, from, from+int64(p.Width))
	if err != nil {
		return nil, err
	}
	if len(leaves) != p.Width {
		return nil, fmt.Errorf("%w: bundle %d has %d entries, want %d", ErrNotFound, p.N, len(leaves), p.Width)
	}
	size := 2 * len(leaves)
	for _, leaf := range leaves {
		size += len(leaf.Data)
	}
	bundle := make([]byte, 0, size)
	for _, leaf := range leaves {
		if tile.LeafHash(leaf.Data) != leaf.Hash {
			return nil, fmt.Errorf("%w: data of leaf %d", ErrCorrupt, leaf.Index)
		}
		if bundle, err = tile.AppendEntry(bundle, leaf.Data); err != nil {
			return nil, fmt.Errorf("%w: leaf %d: %w", ErrTooLarge, leaf.Index, err)
		}
	}
	return bundle, nil
}

// Tiles is ReadPath with full bundles, each of which costs 256 rows and hashes, kept in memory. It is
// safe for concurrent use.
type Tiles struct {
	log     Log
	bundles *cache[[]byte]
}

// BundleBytes bounds the memory that one Tiles keeps bundles in.
const BundleBytes = 16 << 20

// NewTiles returns a reader of a log.
func NewTiles(l Log) *Tiles { return &Tiles{log: l, bundles: newCache[[]byte](BundleBytes)} }

// Read is [ReadPath]. The caller must not change what it returns.
func (t *Tiles) Read(ctx context.Context, p tile.Path) ([]byte, error) {
	if p.Level != tile.Entries || p.Width < tile.Width {
		return ReadPath(ctx, t.log, p)
	}
	if b, ok := t.bundles.get(p.Level, p.N); ok {
		return b, nil
	}
	b, err := ReadPath(ctx, t.log, p)
	if err == nil {
		t.bundles.put(p.Level, p.N, b, len(b))
	}
	return b, err
}
