package tlog

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
)

// bundle is what Fsck knows of up to 256 leaves by themselves.
type bundle struct {
	leaves []checkedLeaf
	err    error // what is wrong with the leaf after them, or why no more could be read
}

// checkedLeaf is a leaf that is good as far as its own row and the index of identities go.
type checkedLeaf struct {
	hash   [32]byte
	timeMS int64
	keys   [][32]byte // SHA-256 of its search keys
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
	c = checkedLeaf{hash: hash, timeMS: l.TimeMS}
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
	identities := make([][32]byte, len(rows))
	for i, l := range rows {
		identities[i] = l.Identity
	}
	found, err := f.store.Find(ctx, identities)
	if err != nil {
		b.leaves, b.err = nil, err
		return
	}
	for i, l := range rows {
		if at, ok := found[l.Identity]; !ok || at.Index != l.Index || at.TimeMS != l.TimeMS {
			b.leaves, b.err = b.leaves[:i], fmt.Errorf("%w: leaf %d is not found by its identity", ErrCorrupt, l.Index)
			return
		}
	}
}

// keyRange is of how many leaves the search keys are compared at once: what lies together in the
// index of search keys in PostgreSQL. It is a multiple of tile.Width, and bounds the memory used.
const keyRange = 1 << 16

// keyRow is a search key of a leaf.
type keyRow struct {
	index int64
	key   [32]byte // SHA-256
}

func (k keyRow) compare(other keyRow) int {
	if c := cmp.Compare(k.index, other.index); c != 0 {
		return c
	}
	return bytes.Compare(k.key[:], other.key[:])
}

// compareKeys compares the search keys that leaves up to end have with those that are stored.
func (f *fsck) compareKeys(ctx context.Context, end int64) error {
	if f.Keys == nil {
		return nil
	}
	have := make([]keyRow, 0, len(f.want))
	err := f.store.Keys(ctx, f.from, end, func(k Key) error {
		have = append(have, keyRow{k.Index, sha256.Sum256(k.Key)})
		return nil
	})
	if err != nil {
		return err
	}
	want := f.want
	slices.SortFunc(want, keyRow.compare)
	slices.SortFunc(have, keyRow.compare)
	for len(want) > 0 || len(have) > 0 {
		switch order := firstOf(want, have); {
		case order == 0:
			want, have = want[1:], have[1:]
		case order < 0:
			return fmt.Errorf("%w: a search key of leaf %d is missing, the one with SHA-256 %x", ErrCorrupt, want[0].index, want[0].key)
		default:
			return fmt.Errorf("%w: leaf %d is found under a search key that it does not have, or twice, the one with SHA-256 %x", ErrCorrupt, have[0].index, have[0].key)
		}
	}
	f.from, f.want = end, f.want[:0]
	return nil
}

// firstOf compares the first rows of two lists, of which one may be empty.
func firstOf(want, have []keyRow) int {
	switch {
	case len(have) == 0:
		return -1
	case len(want) == 0:
		return 1
	}
	return want[0].compare(have[0])
}
