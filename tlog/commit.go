package tlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sigbox/sigbox/tlog/tile"
)

// attempt is one try to commit a batch.
type attempt struct {
	base   *view      // the head that was locked
	fresh  []*pending // entries that the log does not hold, in the order of their indexes
	timeMS int64      // of the fresh entries
	growth *growth    // base with the fresh entries
	next   *view      // the head that was signed; nil if nothing was written
}

// commit brings a batch into the log and wakes everyone who waits for it, whatever happens.
func (e *Engine) commit(ctx context.Context, batch []*pending) {
	started := e.cfg.Clock.Now()
	a, err := e.update(ctx, batch)
	if err == nil {
		a.tell()
		err = e.advance(ctx, a)
	}
	for _, p := range batch {
		switch {
		case p.err != nil: // its own
		case err != nil:
			p.err = unavailable(err)
		default:
			p.view = e.published.Load()
		}
	}
	if err != nil && (errors.Is(err, ErrRollback) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrConflict)) {
		e.halt(err)
	}
	e.report(ctx, batch, a, err, started)
	_ = e.cfg.Hook.Hit(PointResponseReleased)
	e.pool.settle(batch)
}

// update commits a batch, trying again as the failure table says. When it returns an error other
// than ErrUnknownOutcome, nothing of the batch is in the log.
func (e *Engine) update(ctx context.Context, batch []*pending) (a *attempt, err error) {
	if err := e.Health(); err != nil {
		return nil, err
	}
	// No new history as long as the guard does not hold the old.
	if err := e.publish(ctx, e.tip, nil); err != nil {
		return nil, err
	}
	var unknown error
	a = &attempt{}
	identities := make([][32]byte, len(batch))
	for i, p := range batch {
		identities[i] = p.identity
	}
	pause := retryPause
	for try := 0; ; try++ {
		err := e.store.Update(ctx, identities, func(tx Tx) (*Batch, error) {
			a = &attempt{}
			return e.build(ctx, a, tx, batch, identities)
		})
		switch {
		case err == nil:
			return a, nil
		case errors.Is(err, ErrUnknownOutcome):
			// The next try holds the head lock, so the old transaction is over by then, and
			// finds the entries where they are noted here, or finds that they are not there.
			// The right edge is keyed by the head row: it is loaded anew if the row moved.
			unknown = err
			for _, p := range a.fresh {
				p.lost, p.lostAt = true, Found{Index: p.leaf.Index, TimeMS: p.leaf.TimeMS}
			}
		case errors.Is(err, ErrRollback), errors.Is(err, ErrCorrupt), errors.Is(err, ErrConflict):
			return nil, err
		case unknown == nil && !errors.Is(err, ErrTransient):
			return nil, err
		}
		if unknown == nil && try == maxRetries {
			return nil, err
		}
		if unknown != nil && try == maxResolves {
			return nil, fmt.Errorf("%w; not resolved: %w", unknown, err)
		}
		e.metrics.retries.Inc()
		e.cfg.Logger.WarnContext(ctx, "commit failed, trying again", "try", try+1, "err", err)
		time.Sleep(pause/2 + rand.N(pause))
		pause = min(2*pause, maxPause)
	}
}

// build decides, under the head lock, what a batch writes: nothing (nil) if the log holds every
// entry already.
func (e *Engine) build(ctx context.Context, a *attempt, tx Tx, batch []*pending, identities [][32]byte) (_ *Batch, err error) {
	head := tx.Head()
	if a.base, err = e.baseline(ctx, tx, head); err != nil {
		return nil, err
	}
	found, err := tx.Find(ctx, identities)
	if err != nil {
		return nil, fmt.Errorf("look for duplicates: %w", err)
	}
	for _, at := range found {
		if at.Index >= head.Size {
			return nil, fmt.Errorf("%w: leaf %d is beyond the head's size %d", ErrCorrupt, at.Index, head.Size)
		}
	}
	rows := e.place(a, head, found, batch)
	if len(a.fresh) == 0 {
		return nil, nil
	}
	return e.batch(a, rows)
}

// place gives every entry that is new its index and the batch's one time, and encodes it. An
// entry that cannot be logged gets its own error and no index.
func (e *Engine) place(a *attempt, head Head, found map[[32]byte]Found, batch []*pending) (rows Rows) {
	var refuse error
	if a.timeMS, refuse = e.stamp(head); head.Frozen {
		refuse = ErrFrozen
	}
	for _, p := range batch {
		at, ok := found[p.identity]
		p.leaf, p.growth, p.known, p.err = Leaf{Index: at.Index}, nil, false, nil
		switch {
		case ok:
			p.known = !p.lost || p.lostAt != at
		case refuse != nil:
			p.err = refuse
		default:
			var keys []Key
			if p.leaf, p.err = e.encode(p, head.Size+int64(len(a.fresh)), a.timeMS); p.err == nil {
				keys, p.err = searchKeys(p)
			}
			if p.err == nil {
				a.fresh = append(a.fresh, p)
				rows.Leaves = append(rows.Leaves, p.leaf)
				rows.Keys = append(rows.Keys, keys...)
			}
		}
	}
	return rows
}

// stamp returns the one time of a batch: the clock's, but always after the head's.
func (e *Engine) stamp(head Head) (int64, error) {
	now := e.cfg.Clock.Now().UnixMilli()
	if head.TimeMS > now+maxAhead.Milliseconds() {
		return 0, fmt.Errorf("%w: the head's time is %d ms ahead of the clock", ErrUnavailable, head.TimeMS-now)
	}
	if head.TimeMS > now {
		e.cfg.Logger.Warn("the clock is behind the head's time", "ms", head.TimeMS-now)
	}
	return max(now, head.TimeMS+1), nil
}

// batch grows the tree and returns what is to be written. The store calls Seal when all of it is
// written and read back, with the head lock still held.
func (e *Engine) batch(a *attempt, rows Rows) (*Batch, error) {
	hashes := make([]tile.Hash, len(rows.Leaves))
	for i := range rows.Leaves {
		hashes[i] = rows.Leaves[i].Hash
	}
	a.growth = grow(a.base.edge, hashes)
	rows.Tiles = a.growth.tiles
	if err := e.cfg.Hook.Hit(PointSequenced); err != nil {
		return nil, err
	}
	return &Batch{Rows: rows, Seal: func(stored Rows) (Head, error) { return e.seal(a, rows, stored) }}, nil
}

// seal signs the new head, if what the database holds is what the tree was grown from.
func (e *Engine) seal(a *attempt, written, stored Rows) (Head, error) {
	if err := e.checkStored(a, written, stored); err != nil {
		return Head{}, err
	}
	if err := e.cfg.Hook.Hit(PointRootRecomputed); err != nil {
		return Head{}, err
	}
	to := a.growth.to
	signed, err := e.cfg.Signer.Sign(to.size, to.root)
	if err != nil {
		return Head{}, err
	}
	if err := e.cfg.Hook.Hit(PointHeadSigned); err != nil {
		return Head{}, err
	}
	a.next = &view{signed: signed, timeMS: a.timeMS, edge: to}
	return Head{Size: to.size, Root: to.root, TimeMS: a.timeMS, Note: signed.Note}, nil
}

// checkStored compares the rows as they were read back with those that were written, and computes
// the root from them by a second code path. Anything amiss is ErrCorrupt.
func (e *Engine) checkStored(a *attempt, written, stored Rows) error {
	if len(stored.Leaves) != len(written.Leaves) || len(stored.Tiles) != len(written.Tiles) {
		return fmt.Errorf("%w: wrote %d leaves and %d tiles, read back %d and %d", ErrCorrupt,
			len(written.Leaves), len(written.Tiles), len(stored.Leaves), len(stored.Tiles))
	}
	hashes := make([]tile.Hash, len(stored.Leaves))
	for i, l := range stored.Leaves {
		w := written.Leaves[i]
		hash, err := leafHash(e.cfg.LeafInput, l)
		if err != nil {
			return err
		}
		if hash != l.Hash || l.Hash != w.Hash || l.Index != w.Index || l.TimeMS != w.TimeMS || l.Identity != w.Identity {
			return fmt.Errorf("%w: leaf %d is not what was written", ErrCorrupt, w.Index)
		}
		hashes[i] = hash
	}
	for i, t := range stored.Tiles {
		w := written.Tiles[i]
		if t.Level != w.Level || t.N != w.N || t.Root != w.Root || !bytes.Equal(t.Hashes, w.Hashes) {
			return fmt.Errorf("%w: tile level %d n %d is not what was written", ErrCorrupt, w.Level, w.N)
		}
	}
	if root := recompute(a.base.edge.compactRange(), a.base.edge.size, nil); root != a.base.edge.root {
		return fmt.Errorf("%w: the right edge in memory folds to %x, the head at size %d is %x", ErrCorrupt, root, a.base.edge.size, a.base.edge.root)
	}
	if root := recompute(a.base.edge.compactRange(), a.base.edge.size, hashes); root != a.growth.to.root {
		return fmt.Errorf("%w: the recomputed root at size %d is %x, not %x", ErrCorrupt, a.growth.to.size, root, a.growth.to.root)
	}
	return nil
}

// advance makes a committed attempt the tip of the log and shows it to readers.
func (e *Engine) advance(ctx context.Context, a *attempt) error {
	e.tip = a.base
	if a.next != nil {
		e.tip = a.next
	}
	if err := e.publish(ctx, e.tip, a.growth); err != nil {
		return fmt.Errorf("committed, but not published: %w", err)
	}
	return nil
}

// tell answers those who asked to be told before the guard is (AppendEarly).
func (a *attempt) tell() {
	for _, p := range a.fresh {
		p.growth, p.next = a.growth, a.next
		close(p.durable)
	}
}

func (e *Engine) report(ctx context.Context, batch []*pending, a *attempt, err error, started time.Time) {
	elapsed := e.cfg.Clock.Now().Sub(started)
	e.metrics.commit.Observe(elapsed.Seconds())
	e.metrics.size.Set(float64(e.tip.edge.size))
	if err != nil {
		e.metrics.failed.WithLabelValues("commit").Add(float64(len(batch)))
		e.cfg.Logger.ErrorContext(ctx, "batch failed", "entries", len(batch), "elapsed", elapsed, "err", err)
		return
	}
	var known, refused int
	for _, p := range batch {
		switch {
		case p.err != nil:
			refused++
		case p.known:
			known++
		}
	}
	e.metrics.batch.Observe(float64(len(a.fresh)))
	e.metrics.appended.Add(float64(len(a.fresh)))
	e.metrics.duplicates.Add(float64(known))
	e.metrics.failed.WithLabelValues("entry").Add(float64(refused))
	e.cfg.Logger.InfoContext(ctx, "batch committed", "new", len(a.fresh), "known", known, "refused", refused,
		"size", e.tip.edge.size, "elapsed", elapsed)
}
