package airgap

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// A part of entries is the leaves of a log, each behind its length as four bytes, big-endian.

// maxLeaf bounds a leaf, in bytes: the largest that any log of ours takes, and more.
const maxLeaf = 128 << 20

// WriteLeaf appends a leaf to a part of entries.
func WriteLeaf(w io.Writer, leaf []byte) error {
	if len(leaf) > maxLeaf {
		return fmt.Errorf("%w: a leaf of %d bytes", ErrTooLarge, len(leaf))
	}
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(leaf)))); err != nil {
		return err
	}
	_, err := w.Write(leaf)
	return err
}

var ranges = &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}

func newRange(size int64, hashes [][]byte) (*compact.Range, error) {
	for _, h := range hashes {
		if len(h) != sha256.Size {
			return nil, fmt.Errorf("a hash of %d bytes", len(h))
		}
	}
	return ranges.NewRange(0, uint64(size), slices.Clone(hashes))
}

func rootOf(r *compact.Range) ([]byte, error) {
	if r.End() == 0 {
		return rfc6962.DefaultHasher.EmptyRoot(), nil
	}
	return r.GetRootHash(nil)
}

// consistent checks a consistency proof. The empty tree is a prefix of every tree.
func consistent(old, size int64, path [][]byte, oldRoot, root [32]byte) error {
	if old == 0 && size > 0 && len(path) == 0 {
		return nil
	}
	return proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(old), uint64(size), path, oldRoot[:], root[:])
}

// leaves appends what is written to it, a part of entries, to a compact range. It keeps no leaf.
type leaves struct {
	tree   *compact.Range
	prefix []byte    // of the length of the leaf that comes
	left   int       // of the leaf that is being read
	leaf   hash.Hash // nil between leaves
}

func (l *leaves) Write(p []byte) (n int, err error) {
	n = len(p)
	for {
		if l.leaf != nil {
			k := min(l.left, len(p))
			l.leaf.Write(p[:k])
			p, l.left = p[k:], l.left-k
			if l.left > 0 {
				return n, nil
			}
			if err := l.tree.Append(l.leaf.Sum(nil), nil); err != nil {
				return 0, err
			}
			l.leaf = nil
		}
		if len(p) == 0 {
			return n, nil
		}
		k := min(4-len(l.prefix), len(p))
		l.prefix, p = append(l.prefix, p[:k]...), p[k:]
		if len(l.prefix) < 4 {
			return n, nil
		}
		size := binary.BigEndian.Uint32(l.prefix)
		if size > maxLeaf {
			return 0, fmt.Errorf("%w: a leaf of %d bytes", ErrTooLarge, size)
		}
		l.prefix, l.left, l.leaf = l.prefix[:0], int(size), sha256.New()
		l.leaf.Write([]byte{rfc6962.RFC6962LeafHashPrefix})
	}
}

// whole says whether the last leaf has come to its end.
func (l *leaves) whole() bool { return l.leaf == nil && len(l.prefix) == 0 }
