package tlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/compact"

	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/tile"
)

// Audit is what Fsck holds a log to.
type Audit struct {
	Verifier  *checkpoint.Verifier                // the log's origin and key; required
	LeafInput func(stored []byte) ([]byte, error) // as Config.LeafInput
	// Identity returns what Entry.Identity gave for a leaf. Default: identities are not looked at.
	Identity func(Leaf) ([32]byte, error)
	// Keys returns the search keys that a leaf must be found under, or ErrUnknownKeys. Default:
	// keys are not looked at.
	Keys func(Leaf) ([][]byte, error)
	// Progress is told now and then how many leaves of the log are checked. Default: nobody is.
	Progress func(done, size int64)
}

// ErrUnknownKeys is what Audit.Keys returns for a leaf whose search keys cannot be recomputed from
// what is stored. Such a leaf may have any.
var ErrUnknownKeys = errors.New("tlog: search keys cannot be recomputed")

// Fsck recomputes a log from its leaves: every leaf hash, tile and root, the checkpoint, the
// order of times, the index of identities and, if it is told how, identities and search keys. It returns the head that
// it found to be good, or an ErrCorrupt that names the first row which is not. The log may be in
// use; what is appended meanwhile is not looked at.
func Fsck(ctx context.Context, store Store, a Audit) (checkpoint.Signed, error) {
	f := &fsck{Audit: a, store: store, tree: hasher.NewEmptyRange(0)}
	signed, err := f.run(ctx)
	if err != nil {
		return checkpoint.Signed{}, fmt.Errorf("fsck: %w", err)
	}
	return signed, nil
}

type fsck struct {
	Audit
	store  Store
	head   Head
	tree   *compact.Range
	timeMS int64 // of the last leaf
	keys   int64 // that must be stored
	more   bool  // keys that are not known may be stored too
	tails  [8][]tile.Hash
}

func (f *fsck) run(ctx context.Context) (signed checkpoint.Signed, err error) {
	d, err := f.store.Describe(ctx)
	if err != nil {
		return signed, err
	}
	if d.Origin != f.Verifier.Origin() || d.KeySHA256 != f.Verifier.KeyID() {
		return signed, fmt.Errorf("%w: the log is of origin %q and key %x, not of %q and %x", ErrCorrupt, d.Origin, d.KeySHA256, f.Verifier.Origin(), f.Verifier.KeyID())
	}
	if f.head, err = f.store.Head(ctx); err != nil {
		return signed, err
	}
	if signed, err = f.Verifier.Open(f.head.Note); err != nil {
		return signed, fmt.Errorf("%w: the stored checkpoint: %w", ErrCorrupt, err)
	}
	if signed.Size != f.head.Size || signed.Root != f.head.Root {
		return signed, fmt.Errorf("%w: the head row is not that of its checkpoint", ErrCorrupt)
	}
	for from := int64(0); from < f.head.Size; from += tile.Width {
		if err := f.bundle(ctx, from, min(from+tile.Width, f.head.Size)); err != nil {
			return signed, err
		}
		if f.Progress != nil {
			f.Progress(min(from+tile.Width, f.head.Size), f.head.Size)
		}
	}
	return signed, f.finish(ctx)
}

// bundle checks up to 256 leaves.
func (f *fsck) bundle(ctx context.Context, from, to int64) error {
	leaves, err := f.store.Leaves(ctx, from, to)
	if err != nil {
		return err
	}
	identities := make([][32]byte, len(leaves))
	for i, l := range leaves {
		if l.Index != from+int64(i) {
			return fmt.Errorf("%w: leaf %d is missing", ErrCorrupt, from+int64(i))
		}
		if err := f.leaf(ctx, l); err != nil {
			return err
		}
		identities[i] = l.Identity
	}
	if int64(len(leaves)) != to-from {
		return fmt.Errorf("%w: leaf %d is missing", ErrCorrupt, from+int64(len(leaves)))
	}
	found, err := f.store.Find(ctx, identities)
	if err != nil {
		return err
	}
	for _, l := range leaves {
		if at, ok := found[l.Identity]; !ok || at.Index != l.Index || at.TimeMS != l.TimeMS {
			return fmt.Errorf("%w: leaf %d is not found by its identity", ErrCorrupt, l.Index)
		}
	}
	return f.checkKeys(ctx, leaves)
}

func (f *fsck) leaf(ctx context.Context, l Leaf) error {
	hash, err := leafHash(f.LeafInput, l)
	if err != nil {
		return err
	}
	if hash != l.Hash {
		return fmt.Errorf("%w: leaf %d hashes to %x, its row says %x", ErrCorrupt, l.Index, hash, l.Hash)
	}
	if l.TimeMS < f.timeMS || l.TimeMS > f.head.TimeMS {
		return fmt.Errorf("%w: leaf %d has time %d, the one before it %d, the head %d", ErrCorrupt, l.Index, l.TimeMS, f.timeMS, f.head.TimeMS)
	}
	f.timeMS = l.TimeMS
	if err := f.checkIdentity(l); err != nil {
		return err
	}
	if err := f.tree.Append(hash[:], nil); err != nil {
		return err
	}
	return f.push(ctx, 0, l.Index, hash)
}

func (a Audit) checkIdentity(l Leaf) error {
	if a.Identity == nil {
		return nil
	}
	id, err := a.Identity(l)
	if err != nil {
		return fmt.Errorf("%w: leaf %d: identity: %w", ErrCorrupt, l.Index, err)
	}
	if id != l.Identity {
		return fmt.Errorf("%w: leaf %d has identity %x, its row says %x", ErrCorrupt, l.Index, id, l.Identity)
	}
	return nil
}

// push adds a hash to a tile level, and compares the tile with the stored one if it is full.
func (f *fsck) push(ctx context.Context, level int, i int64, h tile.Hash) error {
	f.tails[level] = append(f.tails[level], h)
	if len(f.tails[level]) < tile.Width {
		return nil
	}
	n, root := i/tile.Width, tile.Fold(f.tails[level])
	row, err := f.store.Tile(ctx, level, n)
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: tile level %d n %d is missing", ErrCorrupt, level, n)
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(row.Hashes, tile.Join(f.tails[level])) || row.Root != root {
		return fmt.Errorf("%w: tile level %d n %d is not the one of its leaves", ErrCorrupt, level, n)
	}
	f.tails[level] = f.tails[level][:0]
	return f.push(ctx, level+1, n, root)
}

func (f *fsck) checkKeys(ctx context.Context, leaves []Leaf) error {
	if f.Keys == nil {
		return nil
	}
	var keys []Key
	for _, l := range leaves {
		list, err := f.Keys(l)
		if errors.Is(err, ErrUnknownKeys) {
			f.more = true
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: leaf %d: search keys: %w", ErrCorrupt, l.Index, err)
		}
		distinct := make(map[string]bool, len(list))
		for _, k := range list {
			if !distinct[string(k)] {
				distinct[string(k)] = true
				keys = append(keys, Key{Key: k, Index: l.Index})
			}
		}
	}
	f.keys += int64(len(keys))
	missing, err := f.store.MissingKeys(ctx, keys)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: search key %x of leaf %d is missing", ErrCorrupt, missing[0].Key, missing[0].Index)
	}
	return nil
}

// finish checks the root and looks for rows that nothing accounts for.
func (f *fsck) finish(ctx context.Context) error {
	if root := foldRange(f.tree.Hashes()); root != f.head.Root {
		return fmt.Errorf("%w: the leaves have root %x, the head row at size %d says %x", ErrCorrupt, root, f.head.Size, f.head.Root)
	}
	if f.head.Size > 0 && f.timeMS != f.head.TimeMS {
		return fmt.Errorf("%w: the head has time %d, the last leaf %d", ErrCorrupt, f.head.TimeMS, f.timeMS)
	}
	if f.Keys != nil {
		n, err := f.store.KeyCount(ctx, f.head.Size)
		if err != nil {
			return err
		}
		if n < f.keys || n > f.keys && !f.more {
			return fmt.Errorf("%w: %d search keys are stored, the leaves have %d", ErrCorrupt, n, f.keys)
		}
	}
	return f.beyond(ctx)
}

// beyond looks for leaves and tiles beyond the head. A head that has moved explains them.
func (f *fsck) beyond(ctx context.Context) error {
	next, err := f.store.LeafHashes(ctx, f.head.Size, f.head.Size+1)
	what := fmt.Sprintf("leaf %d", f.head.Size)
	for level := 0; err == nil && len(next) == 0 && level < 8; level++ {
		n := hashesAt(f.head.Size, level) / tile.Width
		what = fmt.Sprintf("tile level %d n %d", level, n)
		next, err = f.store.TileRoots(ctx, level, n, n+1)
	}
	if err != nil || len(next) == 0 {
		return err
	}
	head, err := f.store.Head(ctx)
	if err != nil {
		return err
	}
	if head.Size == f.head.Size {
		return fmt.Errorf("%w: %s is there, the head is at size %d", ErrCorrupt, what, f.head.Size)
	}
	return nil
}
