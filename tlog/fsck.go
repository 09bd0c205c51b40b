package tlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/transparency-dev/merkle/compact"

	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/tile"
)

// Audit is what Fsck holds a log to.
type Audit struct {
	Verifier  *checkpoint.Verifier                // the log's origin and key; required
	Register  string                              // as Config.Register
	LeafInput func(stored []byte) ([]byte, error) // as Config.LeafInput
	// Identity returns what Entry.Identity gave for a leaf. Default: identities are not looked at.
	// It and Keys are called by several goroutines at once, for leaves whose hash is right.
	Identity func(Leaf) ([32]byte, error)
	// Keys returns the search keys that a leaf must be found under. Default: keys are not looked at.
	Keys func(Leaf) ([][]byte, error)
	// Progress is told now and then how many leaves of the log are checked. Default: nobody is.
	Progress func(done, size int64)
}

// Fsck recomputes a log from its leaves: every leaf hash, tile and root, the checkpoint, the
// order of times, the index of identities and, if it is told how, identities and search keys. It returns the head that
// it found to be good, or an ErrCorrupt that names the first row which is not. The log may be in
// use; what is appended meanwhile is not looked at.
func Fsck(ctx context.Context, store Store, a Audit) (checkpoint.Signed, error) {
	f := &fsck{Audit: a, store: store, tree: hasher.NewEmptyRange(0), want: &keyRows{}}
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
	tree   *compact.Range // of the leaves that are checked
	timeMS int64          // of the last of them
	tails  [8][]tile.Hash // of the levels above the leaves' tiles
	work   sync.WaitGroup // of what reads ahead or behind

	seen *seen // nil if the store notices by itself that an identity comes twice

	// Search keys are compared range by range.
	want     *keyRows   // of the range that is being read
	compared chan error // what came of the range before it; nil if there is none
}

func (f *fsck) run(ctx context.Context) (signed checkpoint.Signed, err error) {
	d, err := f.store.Describe(ctx)
	if err != nil {
		return signed, err
	}
	register := f.Register
	if register == "" {
		register = f.Verifier.Origin()
	}
	if d.Origin != register || d.KeySHA256 != f.Verifier.KeyID() {
		return signed, fmt.Errorf("%w: the log is of origin %q and key %x, not of %q and %x", ErrCorrupt, d.Origin, d.KeySHA256, register, f.Verifier.KeyID())
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
	if _, ok := f.store.(Auditor); ok {
		f.seen = newSeen(f.head.Size)
	}
	if err := f.leaves(ctx); err != nil {
		return signed, err
	}
	return signed, f.finish(ctx)
}

// leaves reads and checks all leaves. Bundles are read and hashed ahead, several at once, and put
// together in order.
func (f *fsck) leaves(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer f.work.Wait()
	defer stop()
	ahead := 3 * runtime.GOMAXPROCS(0) // some of them wait for the database
	next := int64(0)
	queue := make([]chan *bundle, 0, ahead)
	for len(queue) > 0 || next < f.head.Size {
		for ; len(queue) < ahead && next < f.head.Size; next += tile.Width {
			c, from, to := make(chan *bundle, 1), next, min(next+tile.Width, f.head.Size)
			f.work.Go(func() { c <- f.read(ctx, from, to) })
			queue = append(queue, c)
		}
		b := <-queue[0]
		queue = queue[1:]
		if err := f.add(ctx, b); err != nil {
			return err
		}
		if f.Progress != nil {
			f.Progress(f.done(), f.head.Size)
		}
	}
	return nil
}

// done is how many leaves are checked.
func (f *fsck) done() int64 { return int64(f.tree.End()) }

// add puts the next bundle on top of the leaves before it. An error names the first row that is not
// good, leaves before tiles.
func (f *fsck) add(ctx context.Context, b *bundle) error {
	err := f.grow(ctx, b)
	if err == nil {
		err = b.err
	}
	last := errors.Is(err, ErrCorrupt) || err == nil && f.done() == f.head.Size
	if err != nil && !last {
		return err
	}
	// What is looked at later than the leaf itself may be wrong with an earlier one.
	var inKeys, twice error
	if last || f.done()%keyRange == 0 {
		inKeys = f.endKeys(ctx, last)
	}
	if last || inKeys != nil || f.seen.full() {
		twice = f.lookAgain(ctx, last)
	}
	if twice != nil && inKeys == nil && !last {
		inKeys = f.endKeys(ctx, true)
	}
	if e := earlier(twice, inKeys); e != nil {
		return e
	}
	return err
}

// leafError is what is wrong with a leaf.
type leafError struct {
	index int64
	error
}

func (e leafError) Unwrap() error { return e.error }

// earlier returns the error of the earlier leaf, or one that is not of a leaf.
func earlier(a, b error) error {
	var of, than leafError
	switch {
	case a == nil, errors.As(a, &of) && b != nil && (!errors.As(b, &than) || than.index < of.index):
		return b
	}
	return a
}

func (f *fsck) grow(ctx context.Context, b *bundle) error {
	for _, l := range b.leaves {
		if l.timeMS < f.timeMS || l.timeMS > f.head.TimeMS {
			return fmt.Errorf("%w: leaf %d has time %d, the one before it %d, the head %d", ErrCorrupt, f.done(), l.timeMS, f.timeMS, f.head.TimeMS)
		}
		f.timeMS = l.timeMS
		f.want.add(l.keys)
		f.seen.add(Leaf{Index: f.done(), TimeMS: l.timeMS, Identity: l.identity})
		if err := f.tree.Append(l.hash[:], nil); err != nil {
			return err
		}
	}
	if b.tile != nil || len(b.leaves) < tile.Width {
		return b.tile
	}
	return f.push(ctx, 1, f.done()/tile.Width-1, b.root)
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
	if err := f.compareTile(ctx, level, n, f.tails[level], root); err != nil {
		return err
	}
	f.tails[level] = f.tails[level][:0]
	return f.push(ctx, level+1, n, root)
}

// compareTile compares a full tile with the stored one.
func (f *fsck) compareTile(ctx context.Context, level int, n int64, hashes []tile.Hash, root tile.Hash) error {
	row, err := f.store.Tile(ctx, level, n)
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: tile level %d n %d is missing", ErrCorrupt, level, n)
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(row.Hashes, tile.Join(hashes)) || row.Root != root {
		return fmt.Errorf("%w: tile level %d n %d is not the one of its leaves", ErrCorrupt, level, n)
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
