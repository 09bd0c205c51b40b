package logtest

import (
	"crypto/sha256"
	"fmt"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	sumdb "golang.org/x/mod/sumdb/tlog"
)

// Naive is a Merkle tree written down from the definitions of RFC 6962 section 2.1, with no
// cleverness to get wrong: the model that logs are compared with.
type Naive [][32]byte // leaf hashes

// Add appends a leaf input.
func (n *Naive) Add(input []byte) {
	*n = append(*n, sha256.Sum256(append([]byte{0}, input...)))
}

// Root is MTH(D[n]).
func (n Naive) Root() [32]byte {
	switch len(n) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return n[0]
	}
	k := split(len(n))
	left, right := n[:k].Root(), n[k:].Root()
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

// Inclusion is PATH(m, D[n]).
func (n Naive) Inclusion(m int) [][]byte {
	if len(n) == 1 {
		return nil
	}
	k := split(len(n))
	if m < k {
		h := n[k:].Root()
		return append(n[:k].Inclusion(m), h[:])
	}
	h := n[:k].Root()
	return append(n[k:].Inclusion(m-k), h[:])
}

// Consistency is PROOF(m, D[n]).
func (n Naive) Consistency(m int) [][]byte {
	if m == 0 || m == len(n) {
		return nil
	}
	return n.subproof(m, true)
}

func (n Naive) subproof(m int, complete bool) [][]byte {
	if m == len(n) {
		if complete {
			return nil
		}
		h := n.Root()
		return [][]byte{h[:]}
	}
	k := split(len(n))
	if m <= k {
		h := n[k:].Root()
		return append(n[:k].subproof(m, complete), h[:])
	}
	h := n[:k].Root()
	return append(n[k:].subproof(m-k, false), h[:])
}

// Tile is the hashes of a tile (C2SP tlog-tiles), as many as there are.
func (n Naive) Tile(level, number int) [][32]byte {
	span := 1
	for range level {
		span *= 256
	}
	var hashes [][32]byte
	for i := number * 256; i < (number+1)*256 && (i+1)*span <= len(n); i++ {
		hashes = append(hashes, n[i*span:(i+1)*span].Root())
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
