package tlog

import (
	"context"
	"fmt"

	"github.com/transparency-dev/merkle/compact"

	"github.com/sigbox/sigbox/tlog/tile"
)

// CompactRange returns the roots of the perfect subtrees that the tree of the given size is made
// of, left to right. Whoever has them can go on with the tree from there. ErrRange where size is
// negative or beyond the published head.
func CompactRange(ctx context.Context, l Log, size int64) ([][]byte, error) {
	cp, err := l.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	if size < 0 || size > cp.Size {
		return nil, fmt.Errorf("%w: size %d of a tree of %d", ErrRange, size, cp.Size)
	}
	ids := compact.RangeNodes(0, uint64(size), nil)
	hashes := make([][]byte, len(ids))
	for i, id := range ids {
		p := tile.Locate(id.Level, id.Index)
		data, err := l.Tile(ctx, p.Level, p.N, p.First+p.Count())
		if err != nil {
			return nil, err
		}
		tail, err := tile.Split(data[p.First*tile.HashSize:])
		if err != nil {
			return nil, err
		}
		root := tile.Fold(tail)
		hashes[i] = root[:]
	}
	return hashes, nil
}
