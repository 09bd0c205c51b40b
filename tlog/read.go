package tlog

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/tile"
)

func (e *Engine) tree(v *view) tree {
	return tree{store: e.store, edge: v.edge, cache: e.cache, leaf: e.cfg.LeafInput}
}

// shown is what readers see. It fails with ErrRollback where there is nothing that they may see.
func (e *Engine) shown() (*view, error) {
	if err := e.withheld.Load(); err != nil {
		return nil, unavailable(*err)
	}
	return e.published.Load(), nil
}

// now is the tree that readers see.
func (e *Engine) now() (tree, error) {
	v, err := e.shown()
	if err != nil {
		return tree{}, err
	}
	return e.tree(v), nil
}

// Checkpoint implements [Log].
func (e *Engine) Checkpoint(ctx context.Context) (checkpoint.Signed, error) {
	cp, _, err := e.Head(ctx)
	return cp, err
}

// Head implements [Log].
func (e *Engine) Head(context.Context) (checkpoint.Signed, int64, error) {
	v, err := e.shown()
	if err != nil {
		return checkpoint.Signed{}, 0, err
	}
	return v.signed, v.timeMS, nil
}

// Latest implements [Log].
func (e *Engine) Latest(ctx context.Context) (checkpoint.Signed, int64, error) {
	if e.Health() == nil { // one that has halted stays where it is
		known, done := context.WithTimeout(ctx, headPatience)
		defer done()
		if err := e.catchUp(known); err != nil {
			e.cfg.Logger.DebugContext(ctx, "the published head is shown, which may not be the newest", "err", err)
		}
	}
	return e.Head(ctx)
}

// State implements [Log].
func (e *Engine) State(context.Context) (State, error) { return e.published.Load().state, nil }

// Inclusion implements [Log].
func (e *Engine) Inclusion(ctx context.Context, index, size int64) ([][]byte, error) {
	e.Reach(ctx, size)
	t, err := e.now()
	if err != nil {
		return nil, err
	}
	return t.inclusion(ctx, index, size)
}

// Consistency implements [Log].
func (e *Engine) Consistency(ctx context.Context, old, size int64) ([][]byte, error) {
	e.Reach(ctx, size)
	t, err := e.now()
	if err != nil {
		return nil, err
	}
	return t.consistency(ctx, old, size)
}

// Root implements [Log].
func (e *Engine) Root(ctx context.Context, size int64) ([32]byte, error) {
	e.Reach(ctx, size)
	t, err := e.now()
	if err != nil {
		return tile.Hash{}, err
	}
	return t.root(ctx, size)
}

// Tile implements [Log].
func (e *Engine) Tile(ctx context.Context, level int, n int64, width int) ([]byte, error) {
	if level >= 0 && level < 7 && n >= 0 && width > 0 && n < 1<<(62-8*(level+1)) {
		e.Reach(ctx, (n*tile.Width+int64(width))<<(8*level))
	}
	t, err := e.now()
	if err != nil {
		return nil, err
	}
	return t.tile(ctx, level, n, width)
}

// Leaf implements [Log].
func (e *Engine) Leaf(ctx context.Context, index int64) (Leaf, error) {
	if index < math.MaxInt64 {
		e.Reach(ctx, index+1)
	}
	t, err := e.now()
	if err != nil {
		return Leaf{}, err
	}
	return e.leaf(ctx, t, index)
}

func (e *Engine) leaf(ctx context.Context, t tree, index int64) (Leaf, error) {
	if index < 0 || index >= t.edge.size {
		return Leaf{}, fmt.Errorf("leaf %d of %d: %w", index, t.edge.size, ErrNotFound)
	}
	l, err := t.store.Leaf(ctx, index)
	if errors.Is(err, ErrNotFound) {
		return Leaf{}, fmt.Errorf("%w: leaf %d of %d is missing", ErrCorrupt, index, t.edge.size)
	}
	if err != nil {
		return Leaf{}, fmt.Errorf("read leaf %d: %w", index, err)
	}
	if l.Index != index {
		return Leaf{}, fmt.Errorf("read leaf %d: the store gave leaf %d", index, l.Index)
	}
	if err := t.checkLeaf(ctx, l); err != nil {
		return Leaf{}, err
	}
	return l, nil
}

// Leaves implements [Log].
func (e *Engine) Leaves(ctx context.Context, from, to int64) ([]Leaf, error) {
	e.Reach(ctx, to)
	t, err := e.now()
	if err != nil {
		return nil, err
	}
	if from < 0 || from > to {
		return nil, fmt.Errorf("%w: leaves [%d, %d)", ErrRange, from, to)
	}
	if to = min(to, t.edge.size); from >= to {
		return nil, nil
	}
	leaves, err := t.store.Leaves(ctx, from, to)
	if err != nil {
		return nil, fmt.Errorf("read leaves [%d, %d): %w", from, to, err)
	}
	for i, l := range leaves {
		if l.Index != from+int64(i) {
			return nil, fmt.Errorf("%w: leaf %d of %d is missing", ErrCorrupt, from+int64(i), t.edge.size)
		}
		if err := t.checkLeaf(ctx, l); err != nil {
			return nil, err
		}
	}
	if int64(len(leaves)) != to-from {
		return nil, fmt.Errorf("%w: leaf %d of %d is missing", ErrCorrupt, from+int64(len(leaves)), t.edge.size)
	}
	return leaves, nil
}

// Find implements [Log].
func (e *Engine) Find(ctx context.Context, identity [32]byte) (int64, error) {
	if _, err := e.shown(); err != nil {
		return 0, err
	}
	found, err := e.store.Find(ctx, [][32]byte{identity})
	if err != nil {
		return 0, fmt.Errorf("find an entry: %w", err)
	}
	at, ok := found[identity]
	if ok {
		e.Reach(ctx, at.Index+1)
	}
	v, err := e.shown()
	if err != nil {
		return 0, err
	}
	if !ok || at.Index >= v.edge.size {
		return 0, fmt.Errorf("entry with identity %x: %w", identity, ErrNotFound)
	}
	return at.Index, nil
}

// Search implements [Log].
func (e *Engine) Search(ctx context.Context, keys [][]byte, and bool, limit int) (Hits, error) {
	if err := e.catchUp(ctx); err != nil {
		return Hits{}, fmt.Errorf("search: %w", err)
	}
	v, err := e.shown()
	if err != nil {
		return Hits{}, err
	}
	hits := Hits{Size: v.edge.size}
	if limit = min(limit, e.cfg.MaxResults); len(keys) == 0 || limit <= 0 {
		return hits, nil
	}
	if hits.Indexes, err = e.store.Search(ctx, keys, and, hits.Size, limit); err != nil {
		return Hits{}, fmt.Errorf("search: %w", err)
	}
	if len(hits.Indexes) == limit {
		hits.From = hits.Indexes[0]
	}
	return hits, nil
}

// LeafHashes implements [Log].
func (e *Engine) LeafHashes(ctx context.Context, indexes []int64) ([][32]byte, error) {
	v, err := e.shown()
	if err != nil || len(indexes) == 0 {
		return nil, err
	}
	if first, last := indexes[0], indexes[len(indexes)-1]; first < 0 || last >= v.edge.size {
		return nil, fmt.Errorf("leaves %d to %d of %d: %w", first, last, v.edge.size, ErrNotFound)
	}
	leaves, err := e.store.LeavesAt(ctx, indexes)
	if err != nil {
		return nil, fmt.Errorf("read %d leaves: %w", len(indexes), err)
	}
	hashes := make([][32]byte, len(indexes))
	for i, index := range indexes {
		if i >= len(leaves) || leaves[i].Index != index {
			return nil, fmt.Errorf("%w: leaf %d of %d is missing", ErrCorrupt, index, v.edge.size)
		}
		if hashes[i], err = leafHash(e.cfg.LeafInput, leaves[i]); err != nil {
			return nil, err
		}
		if hashes[i] != leaves[i].Hash {
			return nil, fmt.Errorf("%w: leaf %d hashes to %x, its row says %x", ErrCorrupt, index, hashes[i], leaves[i].Hash)
		}
	}
	return hashes, nil
}
