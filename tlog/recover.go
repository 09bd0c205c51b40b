package tlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/sigbox/sigbox/tlog/tile"
)

// ErrNoSource says that a store cannot bring a log's lost history back, and why.
var ErrNoSource = errors.New("tlog: this is not where the lost entries can come from")

const (
	recoverBatches = 4        // of Config.MaxBatch entries and Config.MaxBatchBytes in one commit, roughly
	recoverKeys    = 8 * 1024 // entries whose search keys are read at once
)

// Recover brings back what a log lacks of the history that its guard remembers, from another store
// that holds it: the old primary, a newer backup, a standby. It writes rows and moves the head,
// and nothing else.
//
// The source must hold a log of the same origin and key whose signed head extends this log and
// holds the guard's; otherwise the answer is ErrNoSource. Every row is checked: leaf hashes against
// the source's head, identities and search keys as far as a can compute them, the order of times.
// (Attestations are outside of the tree, and are taken as they are.) The rows go in by several
// commits, each cut where the log itself once committed, so that what is signed for it, a prefix
// of the source's head, is a head that the log has signed before. The last commit stores the
// source's own checkpoint. A recovery that is cut short is taken up by the next one.
//
// Nobody may append to the source. Recover returns how the log stood at first; if it was sound,
// nothing was done. a's Verifier and LeafInput are those of cfg.
func Recover(ctx context.Context, store Store, cfg Config, source Store, a Audit) (Standing, error) {
	e, _, s, err := compare(ctx, store, cfg)
	switch {
	case err != nil:
	case s.Sound():
		return s, nil
	case s.Forked:
		err = fmt.Errorf("%w: at size %d the database has another root than the guard: entries are not missing, they are others, and none may be written over", ErrRollback, s.Guard.Size)
	case s.State.Lost > 0:
		err = fmt.Errorf("its loss was accepted, which is final: %s", s.State.Reason)
	default:
		err = e.recover(ctx, source, a, s)
	}
	if err != nil {
		return s, fmt.Errorf("recover log %s: %w", cfg.Name, err)
	}
	return s, nil
}

func (e *Engine) recover(ctx context.Context, source Store, a Audit, s Standing) error {
	r := &recovery{Engine: e, audit: a, source: source, guard: s.Guard}
	if err := r.open(ctx, s); err != nil {
		return err
	}
	if err := r.end(ctx); err != nil {
		return err
	}
	for tries := 0; ; {
		done, err := r.step(ctx)
		switch {
		case done:
			return r.finish(ctx)
		case err == nil:
			tries = 0
		case errors.Is(err, ErrTransient), errors.Is(err, ErrUnknownOutcome):
			if tries++; tries > maxRetries {
				return err
			}
		default:
			return err
		}
	}
}

// recovery copies what a log lacks.
type recovery struct {
	*Engine
	audit  Audit
	source Store
	head   Head // of the source
	last   *view
	tree   tree // of last
	guard  Mark

	keys             map[int64][]Key // of the source's entries [keysFrom, keysTo)
	keysFrom, keysTo int64
}

// open holds the source to what this log and its guard say.
func (r *recovery) open(ctx context.Context, s Standing) (err error) {
	d, err := r.source.Describe(ctx)
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: it holds no log of this name: %w", ErrNoSource, err)
	}
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	v, register := r.cfg.Signer.Verifier(), r.cfg.Registered()
	if d.Origin != register || d.KeySHA256 != v.KeyID() {
		return fmt.Errorf("%w: it holds log %q with key %x, this is %q with %x", ErrNoSource, d.Origin, d.KeySHA256, register, v.KeyID())
	}
	if r.head, err = r.source.Head(ctx); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	if r.last, err = r.load(ctx, r.source, r.head); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	r.tree = tree{store: r.source, edge: r.last.edge, cache: newCache[*tile.Full](r.cfg.CacheTiles * fullBytes), leaf: r.cfg.LeafInput}
	switch {
	case r.head.Lost > 0:
		return fmt.Errorf("%w: it has lost history itself: %s", ErrNoSource, r.head.Reason)
	case r.head.Size < s.Guard.Size:
		return fmt.Errorf("%w: it has %d entries, the guard remembers %d: %d are missing there too", ErrNoSource, r.head.Size, s.Guard.Size, s.Guard.Size-r.head.Size)
	}
	end, err := r.source.Leaf(ctx, r.head.Size-1)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	if end.TimeMS != r.head.TimeMS {
		return fmt.Errorf("%w: source: its head has time %d, its last leaf %d", ErrCorrupt, r.head.TimeMS, end.TimeMS)
	}
	if err := r.holds(ctx, s.Guard, "the guard remembers"); err != nil {
		return err
	}
	return r.holds(ctx, s.Log, "this database has")
}

// holds checks that a head is a prefix of the source's.
func (r *recovery) holds(ctx context.Context, m Mark, who string) error {
	root, err := r.tree.root(ctx, m.Size)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	if root != m.Root {
		return fmt.Errorf("%w: it holds another history: at size %d it has root %x, %s %x", ErrNoSource, m.Size, root, who, m.Root)
	}
	return nil
}

// end freezes this log if the source is frozen, before it gets the rows: at no moment does it hold
// the whole history and take entries.
func (r *recovery) end(ctx context.Context) error {
	if !r.head.Frozen {
		return nil
	}
	err := r.store.Freeze(ctx, func(head Head) (Ending, error) {
		if head.Frozen {
			return Ending{}, errFrozenAlready
		}
		return Ending{}, nil
	})
	if errors.Is(err, errFrozenAlready) {
		return nil
	}
	return err
}

// step commits the next entries. done says that there are none.
func (r *recovery) step(ctx context.Context) (done bool, err error) {
	head, err := r.store.Head(ctx)
	if err != nil {
		return false, fmt.Errorf("read the head: %w", err)
	}
	base, err := r.load(ctx, r.store, head)
	if err != nil {
		return false, err
	}
	if head.Size > r.head.Size {
		return false, fmt.Errorf("%w: it has %d entries, this database %d", ErrNoSource, r.head.Size, head.Size)
	}
	if err := r.holds(ctx, base.mark(), "this database has"); err != nil {
		return false, err
	}
	if head.Size == r.head.Size {
		return true, nil
	}
	rows, err := r.read(ctx, head)
	if err != nil {
		return false, err
	}
	if err := r.still(ctx); err != nil {
		return false, err
	}
	err = r.store.Update(ctx, nil, func(tx Tx) (*Batch, error) {
		if now := tx.Head(); now.Size != head.Size || now.Root != head.Root {
			return nil, fmt.Errorf("the log moved from size %d to %d meanwhile: another recovery is at work, or a sigbox without the guard", head.Size, now.Size)
		}
		return r.rebuild(ctx, base, rows)
	})
	if err == nil && r.audit.Progress != nil {
		r.audit.Progress(head.Size+int64(len(rows.Leaves)), r.head.Size)
	}
	return false, err
}

// still checks that nobody appends to the source: its head would contradict what is appended here.
func (r *recovery) still(ctx context.Context) error {
	head, err := r.source.Head(ctx)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	if head.Size != r.head.Size || head.Frozen != r.head.Frozen {
		return fmt.Errorf("%w: it has moved from size %d to %d: stop whatever still runs on it, for good", ErrNoSource, r.head.Size, head.Size)
	}
	return nil
}

// rebuild returns the batch of rows that the source has after base.
func (r *recovery) rebuild(ctx context.Context, base *view, rows Rows) (*Batch, error) {
	n := len(rows.Leaves)
	a := &attempt{base: base, timeMS: rows.Leaves[n-1].TimeMS}
	hashes := make([]tile.Hash, n)
	for i := range rows.Leaves {
		hashes[i] = rows.Leaves[i].Hash
	}
	a.growth = grow(base.edge, hashes)
	rows.Tiles = a.growth.tiles
	want, err := r.tree.root(ctx, a.growth.to.size)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	if err := r.cfg.Hook.Hit(PointSequenced); err != nil {
		return nil, err
	}
	return &Batch{Rows: rows, Seal: func(stored Rows) (Head, error) {
		if err := r.checkStored(a, rows, stored); err != nil {
			return Head{}, err
		}
		if a.growth.to.root != want {
			return Head{}, fmt.Errorf("%w: at size %d the rows have root %x, the source's head %x", ErrCorrupt, a.growth.to.size, a.growth.to.root, want)
		}
		if err := r.cfg.Hook.Hit(PointRootRecomputed); err != nil {
			return Head{}, err
		}
		return r.seal(a)
	}}, nil
}

// seal returns the source's own head for the whole of its history, and for a part of it one that
// is signed here: nothing that the source's head does not hold is ever signed.
func (r *recovery) seal(a *attempt) (Head, error) {
	to := a.growth.to
	next := Head{Size: to.size, Root: to.root, TimeMS: a.timeMS, Note: r.head.Note}
	if to.size < r.head.Size {
		signed, err := r.cfg.Signer.Sign(to.size, to.root)
		if err != nil {
			return Head{}, err
		}
		next.Note = signed.Note
	}
	return next, r.cfg.Hook.Hit(PointHeadSigned)
}

// finish lets the guard see what is there now.
func (r *recovery) finish(ctx context.Context) error {
	log, err := Open(ctx, r.store, r.cfg)
	if err != nil {
		return err
	}
	return log.Health()
}
