package tlog

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/sigbox/sigbox/tlog/tile"
)

// bundle is what Fsck knows of up to 256 leaves by themselves.
type bundle struct {
	leaves []checkedLeaf
	err    error // what is wrong with the leaf after them, or why no more could be read

	// Of 256 leaves:
	root tile.Hash
	tile error // what is wrong with their tile in the store
}

// checkedLeaf is a leaf that is good as far as its own row and the index of identities go.
type checkedLeaf struct {
	hash     [32]byte
	identity [32]byte
	timeMS   int64
	keys     [][32]byte // SHA-256 of its search keys
}

// read reads and checks the leaves of a bundle.
func (f *fsck) read(ctx context.Context, from, to int64) *bundle {
	rows, err := f.store.Leaves(ctx, from, to)
	if err != nil {
		return &bundle{err: err}
	}
	b := &bundle{leaves: make([]checkedLeaf, 0, len(rows))}
	for i, row := range rows {
		if row.Index != from+int64(i) {
			b.err = fmt.Errorf("%w: leaf %d is missing", ErrCorrupt, from+int64(i))
			break
		}
		l, err := f.leaf(row)
		if err != nil {
			b.err = err
			break
		}
		b.leaves = append(b.leaves, l)
	}
	if b.err == nil && int64(len(rows)) != to-from {
		b.err = fmt.Errorf("%w: leaf %d is missing", ErrCorrupt, from+int64(len(rows)))
	}
	f.find(ctx, b, rows[:len(b.leaves)])
	if len(b.leaves) == tile.Width {
		hashes := make([]tile.Hash, tile.Width)
		for i := range b.leaves {
			hashes[i] = b.leaves[i].hash
		}
		b.root = tile.Fold(hashes)
		b.tile = f.compareTile(ctx, 0, from/tile.Width, hashes, b.root)
	}
	return b
}

// leaf checks what the row of a leaf says against its data.
func (f *fsck) leaf(l Leaf) (c checkedLeaf, err error) {
	hash, err := leafHash(f.LeafInput, l)
	if err != nil {
		return c, err
	}
	if hash != l.Hash {
		return c, fmt.Errorf("%w: leaf %d hashes to %x, its row says %x", ErrCorrupt, l.Index, hash, l.Hash)
	}
	c = checkedLeaf{hash: hash, identity: l.Identity, timeMS: l.TimeMS}
	if err := f.checkIdentity(l); err != nil {
		return c, err
	}
	if f.Keys == nil {
		return c, nil
	}
	keys, err := f.Keys(l)
	if err != nil {
		return c, fmt.Errorf("%w: leaf %d: search keys: %w", ErrCorrupt, l.Index, err)
	}
	c.keys = make([][32]byte, 0, len(keys))
	for _, k := range keys {
		if h := sha256.Sum256(k); !slices.Contains(c.keys, h) {
			c.keys = append(c.keys, h)
		}
	}
	return c, nil
}

// find looks the good leaves of a bundle up by their identities. The first that is not found is
// good no more.
func (f *fsck) find(ctx context.Context, b *bundle, rows []Leaf) {
	find := f.findEach
	if a, ok := f.store.(Auditor); ok {
		find = a.Findable
	}
	n, err := find(ctx, rows)
	switch {
	case err != nil:
		b.leaves, b.err = nil, err
	case n < len(rows):
		b.leaves, b.err = b.leaves[:n], notFound(rows[n])
	}
}
