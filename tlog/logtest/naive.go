package logtest

import (
	"crypto/sha256"
	"fmt"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	sumdb "golang.org/x/mod/sumdb/tlog"
)

// Naive is a Merkle tree written down from the definitions of RFC 6962 section 2.1, with no
// cleverness to get wrong, except that it remembers roots: the model that logs are compared with.
type Naive struct {
	Leaves [][32]byte // leaf hashes
	known  map[[2]int][32]byte
}

// Add appends a leaf input.
func (n *Naive) Add(input []byte) {
	n.Leaves = append(n.Leaves, sha256.Sum256(append([]byte{0}, input...)))
}

// Root is MTH(D[size]).
func (n *Naive) Root(size int) [32]byte { return n.mth(0, size) }

// mth is MTH(D[from:to]).
func (n *Naive) mth(from, to int) [32]byte {
	switch to - from {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return n.Leaves[from]
	}
	if h, ok := n.known[[2]int{from, to}]; ok {
		return h
	}
	k := from + split(to-from)
	left, right := n.mth(from, k), n.mth(k, to)
	h := sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
	if n.known == nil {
		n.known = make(map[[2]int][32]byte)
	}
	n.known[[2]int{from, to}] = h
	return h
}

// Inclusion is PATH(m, D[size]).
func (n *Naive) Inclusion(m, size int) [][]byte { return n.path(m, 0, size) }

// path is PATH(m-from, D[from:to]).
func (n *Naive) path(m, from, to int) [][]byte {
	if to-from == 1 {
		return nil
	}
	k := from + split(to-from)
	if m < k {
		h := n.mth(k, to)
		return append(n.path(m, from, k), h[:])
	}
	h := n.mth(from, k)
	return append(n.path(m, k, to), h[:])
}

// Consistency is PROOF(m, D[size]).
func (n *Naive) Consistency(m, size int) [][]byte {
	if m == 0 || m == size {
		return nil
	}
	return n.subproof(m, 0, size, true)
}

// subproof is SUBPROOF(m-from, D[from:to], complete).
func (n *Naive) subproof(m, from, to int, complete bool) [][]byte {
	if m == to {
		if complete {
			return nil
		}
		h := n.mth(from, to)
		return [][]byte{h[:]}
	}
	k := from + split(to-from)
	if m <= k {
		h := n.mth(k, to)
		return append(n.subproof(m, from, k, complete), h[:])
	}
	h := n.mth(from, k)
	return append(n.subproof(m, k, to, false), h[:])
}

// Tile is the hashes of a tile (C2SP tlog-tiles), as many as there are.
func (n *Naive) Tile(level, number int) [][32]byte {
	span := 1
	for range level {
		span *= 256
	}
	var hashes [][32]byte
	for i := number * 256; i < (number+1)*256 && (i+1)*span <= len(n.Leaves); i++ {
		hashes = append(hashes, n.mth(i*span, (i+1)*span))
	}
	return hashes
}

// split is the largest power of two smaller than n.
func split(n int) int {
	k := 1
	for k*2 < n {
		k *= 2
	}
	return k
}

// VerifyInclusion checks an inclusion proof with two independent verifiers.
func VerifyInclusion(index, size int64, leaf [32]byte, path [][]byte, root [32]byte) error {
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), uint64(size), leaf[:], path, root[:]); err != nil {
		return fmt.Errorf("inclusion of %d in %d: %w", index, size, err)
	}
	if err := sumdb.CheckRecord(hashes(path), size, root, index, leaf); err != nil {
		return fmt.Errorf("inclusion of %d in %d: sumdb: %w", index, size, err)
	}
	return nil
}

// VerifyConsistency checks a consistency proof with two independent verifiers.
func VerifyConsistency(old, size int64, path [][]byte, oldRoot, root [32]byte) error {
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(old), uint64(size), path, oldRoot[:], root[:]); err != nil {
		return fmt.Errorf("consistency of %d with %d: %w", size, old, err)
	}
	if old == 0 {
		return nil // sumdb has no proofs from the empty tree
	}
	if err := sumdb.CheckTree(hashes(path), size, root, old, oldRoot); err != nil {
		return fmt.Errorf("consistency of %d with %d: sumdb: %w", size, old, err)
	}
	return nil
}

func hashes(path [][]byte) []sumdb.Hash {
	list := make([]sumdb.Hash, len(path))
	for i, h := range path {
		list[i] = sumdb.Hash(h)
	}
	return list
}
