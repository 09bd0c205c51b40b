package tlog

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/sigbox/sigbox/tlog/tile"
)

// read returns the source's rows after a head, checked, as many as one commit takes. They end where
// a batch of the log ended, which is where the time of entries changes: a head has the time of its
// last entry, and the next head a later one. From the guard's mark on, the rest goes in at once:
// as soon as the log holds what the guard remembers it may go on, and it must hold all by then.
func (r *recovery) read(ctx context.Context, head Head) (Rows, error) {
	var leaves []Leaf
	cut, size := 0, 0
	for at := head.Size; at < r.head.Size; {
		to := min(at-at%tile.Width+tile.Width, r.head.Size)
		more, err := r.leaves(ctx, at, to)
		if err != nil {
			return Rows{}, err
		}
		for _, l := range more {
			last := head.TimeMS
			if n := len(leaves); n > 0 {
				last = leaves[n-1].TimeMS
			}
			if l.TimeMS < last || l.Index == head.Size && l.TimeMS == last || l.TimeMS > r.head.TimeMS {
				return Rows{}, fmt.Errorf("%w: source: leaf %d has time %d, the one before it %d, the head %d", ErrCorrupt, l.Index, l.TimeMS, last, r.head.TimeMS)
			}
			if l.TimeMS > last && l.Index < r.guard.Size {
				cut = len(leaves)
			}
			leaves = append(leaves, l)
			size += len(l.Data) + len(l.Attestation)
		}
		if at = to; cut > 0 && (len(leaves) >= recoverBatches*r.cfg.MaxBatch || size >= recoverBatches*r.cfg.MaxBatchBytes) {
			return r.withKeys(ctx, leaves[:cut])
		}
	}
	return r.withKeys(ctx, leaves)
}

// leaves returns leaves of the source with their attestations, checked against its head.
func (r *recovery) leaves(ctx context.Context, from, to int64) ([]Leaf, error) {
	leaves, err := r.source.Leaves(ctx, from, to)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	attestations, err := r.source.Attestations(ctx, from, to)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	for i := range leaves {
		l := &leaves[i]
		if l.Index != from+int64(i) {
			return nil, fmt.Errorf("%w: source: leaf %d is missing", ErrCorrupt, from+int64(i))
		}
		if l.Attestation = attestations[l.Index]; len(l.Attestation) == 0 {
			l.Attestation = nil
		}
		if err := r.tree.checkLeaf(ctx, *l); err != nil {
			return nil, fmt.Errorf("source: %w", err)
		}
		if err := r.audit.checkIdentity(*l); err != nil {
			return nil, fmt.Errorf("source: %w", err)
		}
	}
	if int64(len(leaves)) != to-from {
		return nil, fmt.Errorf("%w: source: leaf %d is missing", ErrCorrupt, from+int64(len(leaves)))
	}
	return leaves, nil
}

// withKeys adds the search keys of leaves.
func (r *recovery) withKeys(ctx context.Context, leaves []Leaf) (Rows, error) {
	rows := Rows{Leaves: leaves}
	for _, l := range leaves {
		if l.Index >= r.keysTo || l.Index < r.keysFrom {
			if err := r.loadKeys(ctx, l.Index); err != nil {
				return Rows{}, err
			}
		}
		keys := r.keys[l.Index]
		if err := r.checkKeys(l, keys); err != nil {
			return Rows{}, fmt.Errorf("source: %w", err)
		}
		rows.Keys = append(rows.Keys, keys...)
	}
	return rows, nil
}

func (r *recovery) loadKeys(ctx context.Context, from int64) error {
	r.keysFrom, r.keysTo = from, min(from+recoverKeys, r.head.Size)
	r.keys = make(map[int64][]Key)
	err := r.source.Keys(ctx, r.keysFrom, r.keysTo, func(k Key) error {
		k.Key = bytes.Clone(k.Key)
		r.keys[k.Index] = append(r.keys[k.Index], k)
		return nil
	})
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	return nil
}

// checkKeys compares the search keys of a leaf with those that it must have.
func (r *recovery) checkKeys(l Leaf, have []Key) error {
	slices.SortFunc(have, func(a, b Key) int { return bytes.Compare(a.Key, b.Key) })
	for i, k := range have {
		if i > 0 && bytes.Equal(k.Key, have[i-1].Key) || len(k.Key) > maxKeyBytes || len(have) > maxKeys {
			return fmt.Errorf("%w: leaf %d has a search key twice, or more or longer ones than an entry may have", ErrCorrupt, l.Index)
		}
	}
	if r.audit.Keys == nil {
		return nil
	}
	want, err := r.audit.Keys(l)
	if err != nil {
		return fmt.Errorf("%w: leaf %d: search keys: %w", ErrCorrupt, l.Index, err)
	}
	want = slices.Clone(want)
	slices.SortFunc(want, bytes.Compare)
	want = slices.CompactFunc(want, bytes.Equal)
	if !slices.EqualFunc(have, want, func(k Key, w []byte) bool { return bytes.Equal(k.Key, w) }) {
		return fmt.Errorf("%w: leaf %d is stored under other search keys than its own", ErrCorrupt, l.Index)
	}
	return nil
}
