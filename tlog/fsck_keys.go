package tlog

import (
	"context"
	"crypto/sha256"
	"fmt"
)

// keyRange is of how many leaves the search keys are compared at once: what lies together in the
// index of search keys in PostgreSQL. It is a multiple of tile.Width, and bounds the memory used.
const keyRange = 1 << 16

// keyRows are the search keys that leaves from an index on must have, and which of them were found.
type keyRows struct {
	from int64
	ends []int32    // where the keys of each leaf end in the list
	keys [][32]byte // SHA-256
	have []bool
}

func (r *keyRows) add(keys [][32]byte) {
	r.keys = append(r.keys, keys...)
	r.ends = append(r.ends, int32(len(r.keys)))
}

func (r *keyRows) to() int64 { return r.from + int64(len(r.ends)) }

// of returns where the keys of a leaf are in the list.
func (r *keyRows) of(i int64) (from, to int32) {
	if i > 0 {
		from = r.ends[i-1]
	}
	return from, r.ends[i]
}

// mark notes that a key is stored, and returns false if its leaf does not have it, or not once more.
func (r *keyRows) mark(index int64, key [32]byte) bool {
	if index < r.from || index >= r.to() {
		return false
	}
	from, to := r.of(index - r.from)
	for i := from; i < to; i++ {
		if r.keys[i] == key && !r.have[i] {
			r.have[i] = true
			return true
		}
	}
	return false
}

// compareKeys compares the search keys that some leaves must have with those that are stored. Of
// several that differ it names one of the first leaf.
func (f *fsck) compareKeys(ctx context.Context, want *keyRows) error {
	want.have = make([]bool, len(want.keys))
	odd, oddKey := want.to(), [32]byte{}
	err := f.store.Keys(ctx, want.from, want.to(), func(k Key) error {
		if key := sha256.Sum256(k.Key); !want.mark(k.Index, key) && k.Index < odd {
			odd, oddKey = k.Index, key
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := int64(0); i < int64(len(want.ends)) && want.from+i <= odd; i++ {
		from, to := want.of(i)
		for n := from; n < to; n++ {
			if !want.have[n] {
				return leafError{want.from + i, fmt.Errorf("%w: a search key of leaf %d is missing, the one with SHA-256 %x", ErrCorrupt, want.from+i, want.keys[n])}
			}
		}
	}
	if odd < want.to() {
		return leafError{odd, fmt.Errorf("%w: leaf %d is found under a search key that it does not have, or twice, the one with SHA-256 %x", ErrCorrupt, odd, oddKey)}
	}
	return nil
}

// endKeys is called when all keys are known of the leaves up to a place where a range of them ends, or
// the log, or what is good of it (last). Keys are compared while the leaves behind them are read; what
// is wrong with them is told at the end of the next range at the latest, before anything behind them.
func (f *fsck) endKeys(ctx context.Context, last bool) error {
	if f.Keys == nil {
		return nil
	}
	if f.compared != nil {
		if err := <-f.compared; err != nil {
			return err
		}
	}
	want, compared := f.want, make(chan error, 1)
	f.want, f.compared = &keyRows{from: want.to()}, compared
	f.work.Go(func() { compared <- f.compareKeys(ctx, want) })
	if !last {
		return nil
	}
	f.compared = nil
	return <-compared
}
