package tlog

import (
	"context"
	"fmt"

	"github.com/transparency-dev/merkle/compact"

	"github.com/sigbox/sigbox/tlog/tile"
)

// edge is the right border of a tree: all that is needed to append to it, to serve its partial
// tiles and to authenticate everything else. It is never changed.
type edge struct {
	size int64
	root tile.Hash
	// tails[L] are the hashes of the partial tile of tile level L; its length is the digit L of
	// size in base 256, and there are as many levels as size has digits.
	tails [][]tile.Hash
}

var emptyEdge = &edge{root: tile.EmptyRoot()}

// hashesAt returns how many hashes tile level L has in a tree of that size.
func hashesAt(size int64, level int) int64 {
	if level > 7 {
		return 0
	}
	return size >> (tile.Height * level)
}

// loadEdge reads the right edge of the tree of a head row: at most 255 hashes per level. They
// must fold to the head's root, or the answer is ErrCorrupt.
func loadEdge(ctx context.Context, r Reader, head Head) (*edge, error) {
	e := &edge{size: head.Size, root: head.Root}
	for level := 0; hashesAt(head.Size, level) > 0; level++ {
		to := hashesAt(head.Size, level)
		from := to &^ (tile.Width - 1)
		tail, err := loadTail(ctx, r, level, from, to)
		if err != nil {
			return nil, fmt.Errorf("right edge at size %d: %w", head.Size, err)
		}
		e.tails = append(e.tails, tail)
	}
	if root := e.fold(); root != head.Root {
		return nil, fmt.Errorf("%w: the right edge at size %d folds to %x, the head row says %x", ErrCorrupt, head.Size, root, head.Root)
	}
	return e, nil
}

func loadTail(ctx context.Context, r Reader, level int, from, to int64) (tail []tile.Hash, err error) {
	if from == to {
		return nil, nil
	}
	what := "leaf"
	if level == 0 {
		tail, err = r.LeafHashes(ctx, from, to)
	} else {
		what = fmt.Sprintf("tile of level %d with number", level-1)
		tail, err = r.TileRoots(ctx, level-1, from, to)
	}
	if err != nil {
		return nil, err
	}
	if int64(len(tail)) != to-from {
		return nil, fmt.Errorf("%w: of rows [%d, %d) %d are there: a %s is missing", ErrCorrupt, from, to, len(tail), what)
	}
	return tail, nil
}

// node returns the root of a perfect subtree that lies in the partial tiles.
func (e *edge) node(p tile.Position) (tile.Hash, bool) {
	if p.Level >= len(e.tails) || p.N != hashesAt(e.size, p.Level)/tile.Width || p.First+p.Count() > len(e.tails[p.Level]) {
		return tile.Hash{}, false
	}
	return tile.Fold(e.tails[p.Level][p.First : p.First+p.Count()]), true
}

// compactRange returns the roots of the perfect subtrees that the tree is made of, left to right.
func (e *edge) compactRange() [][]byte {
	ids := compact.RangeNodes(0, uint64(e.size), nil)
	hashes := make([][]byte, len(ids))
	for i, id := range ids {
		h, ok := e.node(tile.Locate(id.Level, id.Index))
		if !ok {
			panic(fmt.Sprintf("tlog: bad math: node %v is not in the right edge at size %d", id, e.size))
		}
		hashes[i] = h[:]
	}
	return hashes
}

// fold computes the root from the tails.
func (e *edge) fold() tile.Hash {
	return foldRange(e.compactRange())
}

// foldRange computes the root of a tree from its compact range.
func foldRange(hashes [][]byte) tile.Hash {
	if len(hashes) == 0 {
		return tile.EmptyRoot()
	}
	root := tile.Hash(hashes[len(hashes)-1])
	for i := len(hashes) - 2; i >= 0; i-- {
		root = tile.NodeHash(tile.Hash(hashes[i]), root)
	}
	return root
}

// nodeHash is tile.NodeHash for the Merkle library.
func nodeHash(left, right []byte) []byte {
	h := tile.NodeHash(tile.Hash(left), tile.Hash(right))
	return h[:]
}
