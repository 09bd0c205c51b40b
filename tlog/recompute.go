package tlog

import (
	"math/bits"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/tlog/tile"
)

// recompute returns the root of a tree of size old, given by its compact range, with leaves
// appended. It is the second code path beside grow: it shares no hashing code with it and
// follows the recursive definition of RFC 6962 2.1, from the top down.
func recompute(compactRange [][]byte, old int64, leaves []tile.Hash) tile.Hash {
	known := make(map[[2]int64][]byte, len(compactRange))
	for i, id := range compact.RangeNodes(0, uint64(old), nil) {
		from, to := id.Coverage()
		known[[2]int64{int64(from), int64(to)}] = compactRange[i]
	}
	var root func(from, to int64) []byte
	root = func(from, to int64) []byte {
		if h, ok := known[[2]int64{from, to}]; ok {
			return h
		}
		if to-from == 1 {
			return leaves[from-old][:]
		}
		split := from + 1<<(bits.Len64(uint64(to-from-1))-1) // the largest power of two below the length
		return rfc6962.DefaultHasher.HashChildren(root(from, split), root(split, to))
	}
	size := old + int64(len(leaves))
	if size == 0 {
		return tile.Hash(rfc6962.DefaultHasher.EmptyRoot())
	}
	return tile.Hash(root(0, size))
}
