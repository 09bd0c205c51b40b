package tlog

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/tile"
)

// view is a head with its right edge: a state of the log that readers can be served from.
// It is never changed.
type view struct {
	signed checkpoint.Signed
	timeMS int64
	edge   *edge
	state  State
}

// Engine is a log over a [Store]. It implements [Log].
//
// Reads work from Open on. Appends wait until Run is running.
type Engine struct {
	cfg     Config
	store   Store
	pool    *pool
	cache   *cache[*tile.Full]
	metrics *metrics
	running atomic.Bool

	published atomic.Pointer[view]  // what readers see; the guard holds it
	withheld  atomic.Pointer[error] // why readers see nothing: what the database holds is a fork
	news      news                  // tells of every new published
	look      *lookout              // by which readers ask for what other processes wrote
	halted    atomic.Pointer[error] // why the log takes no entries any more

	// The sequencer's own, touched by Open and then by Run only.
	tip  *view // the last head that is known to be committed
	mark Mark  // what the guard held when we last knew
}

var _ Log = (*Engine)(nil)

// Create makes a log that does not exist yet, with seeds as its first entries, in one commit.
// [Open] opens it. It fails with ErrExists if the name or the origin is taken, and with
// ErrRollback if the guard remembers entries of that origin: then a database was lost.
func Create(ctx context.Context, store Store, cfg Config, seeds []Entry) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	e := newEngine(store, cfg)
	origin := cfg.Register
	if cfg.Guard != nil {
		mark, err := cfg.Guard.Last(ctx, origin)
		if err != nil {
			return fmt.Errorf("create log %s: ask the guard: %w", cfg.Name, err)
		}
		if mark.Size > 0 {
			return fmt.Errorf("create log %s: %w: the guard remembers %q with %d entries, the database does not have it", cfg.Name, ErrRollback, origin, mark.Size)
		}
	}
	batch := make([]*pending, len(seeds))
	for i, s := range seeds {
		batch[i] = &pending{entry: s, identity: s.Identity()}
	}
	d := Description{
		Name: cfg.Name, Origin: origin, Face: cfg.Face,
		KeySHA256: cfg.Signer.Verifier().KeyID(), CreatedMS: cfg.Clock.Now().UnixMilli(), Follows: cfg.Follows,
	}
	var a *attempt
	err = store.Create(ctx, d, func(tx Tx) (*Batch, error) {
		a = &attempt{base: &view{edge: emptyEdge}}
		rows := e.place(a, tx.Head(), nil, batch)
		for i, p := range batch {
			if p.err != nil {
				return nil, fmt.Errorf("seed %d: %w", i, p.err)
			}
		}
		return e.batch(a, rows)
	})
	if err != nil {
		return fmt.Errorf("create log %s: %w", cfg.Name, err)
	}
	cfg.Logger.InfoContext(ctx, "log created", "origin", origin, "entries", len(seeds))
	if cfg.Guard != nil && len(seeds) > 0 {
		if err := cfg.Guard.Advance(ctx, Mark{}, cfg.registered(a.next.signed), nil); err != nil {
			return fmt.Errorf("create log %s: created, but the guard does not hold it: %w", cfg.Name, err)
		}
	}
	return nil
}

// Open opens a log that exists. It checks that the stored origin and key are the signer's, that
// the head's signature verifies, that the right edge folds to the head's root, that the last
// leaves hash to what the tree says, and that the guard's head is a prefix of it; it moves the
// guard forward if it is behind.
//
// It fails with ErrNotFound where there is no such log, and with ErrCorrupt where a stored row
// does not belong to the signed tree. If the guard remembers a head that the store does not hold,
// Open succeeds: the log serves reads and refuses writes, and Health returns ErrRollback. If at the
// guard's size the store holds another root, it serves no reads either: nothing tells how far the two
// histories are one, and its checkpoint contradicts one that was shown.
func Open(ctx context.Context, store Store, cfg Config) (*Engine, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	e := newEngine(store, cfg)
	if err := e.open(ctx); err != nil {
		return nil, fmt.Errorf("open log %s: %w", cfg.Name, err)
	}
	return e, nil
}

func newEngine(store Store, cfg Config) *Engine {
	return &Engine{cfg: cfg, store: store, pool: newPool(cfg.MaxPending), cache: newCache[*tile.Full](cfg.CacheTiles * fullBytes), look: newLookout()}
}

func (e *Engine) open(ctx context.Context) error {
	if err := e.checkDescription(ctx); err != nil {
		return err
	}
	head, err := e.store.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the head: %w", err)
	}
	v, err := e.load(ctx, e.store, head)
	if err != nil {
		return err
	}
	last, err := e.store.Leaves(ctx, max(0, head.Size-1)&^(tile.Width-1), head.Size)
	if err != nil {
		return fmt.Errorf("read the last leaves: %w", err)
	}
	for _, l := range last {
		if err := e.tree(v).checkLeaf(ctx, l); err != nil {
			return err
		}
	}
	// What the store has in memory for finding duplicates it reads now, and no append waits for it.
	if n := len(last); n > 0 {
		if _, err := e.store.Find(ctx, [][32]byte{last[n-1].Identity}); err != nil {
			return fmt.Errorf("find the last entry: %w", err)
		}
	}
	if e.metrics, err = newMetrics(e.cfg.Metrics, e.cfg.Name, e.pool.len); err != nil {
		return err
	}
	e.metrics.healthy.Set(1)
	e.tip = v
	if err := e.openGuard(ctx, v); err != nil {
		return err
	}
	if e.withheld.Load() == nil {
		e.show(v)
	}
	return nil
}

func (e *Engine) checkDescription(ctx context.Context) error {
	d, err := e.store.Describe(ctx)
	if err != nil {
		return err
	}
	v := e.cfg.Signer.Verifier()
	switch {
	case d.Origin != e.cfg.Register:
		return fmt.Errorf("its origin is %q, the configuration says %q: a log keeps its origin for life", d.Origin, e.cfg.Register)
	case d.KeySHA256 != v.KeyID():
		return fmt.Errorf("its key has SHA-256 %x, the configured one %x: a log keeps its key for life", d.KeySHA256, v.KeyID())
	case d.Face != "" && e.cfg.Face != "" && d.Face != e.cfg.Face:
		return fmt.Errorf("it was created for %s, not for %s", d.Face, e.cfg.Face)
	}
	return nil
}

// Run is the sequencer: it commits what Append queues until ctx is cancelled, then takes no more
// entries, commits those that wait, and returns. If the log must stop (corruption, a conflict, a
// rollback) Run refuses writes and goes on until ctx is cancelled, so that reads stay; it returns
// the reason then.
func (e *Engine) Run(ctx context.Context) error {
	if !e.running.CompareAndSwap(false, true) {
		return fmt.Errorf("log %s: the sequencer is running already", e.cfg.Name)
	}
	defer e.running.Store(false)
	interval := republishGap
	if e.cfg.Poll > 0 {
		interval = e.cfg.Poll
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	work := context.WithoutCancel(ctx) // a commit is never abandoned
	var aside sync.WaitGroup
	aside.Go(func() { e.prepareStore(ctx) })
	defer aside.Wait()
	for {
		select {
		case <-ctx.Done():
			return e.drain(work)
		case <-e.pool.ready:
			e.flush(work)
		case <-tick.C:
			e.refresh(work, e.cfg.Poll > 0)
		case <-e.look.asked:
			e.look.do(func() { e.refresh(work, true) })
		}
	}
}

// flush commits one batch.
func (e *Engine) flush(ctx context.Context) {
	runtime.Gosched() // whoever is about to append does before
	gap := time.NewTimer(minGap)
	if batch := e.pool.take(e.cfg.MaxBatch, e.cfg.MaxBatchBytes); len(batch) > 0 {
		e.commit(ctx, batch)
		<-gap.C
	}
}

func (e *Engine) drain(ctx context.Context) error {
	e.pool.close(fmt.Errorf("%w: the server is shutting down", ErrUnavailable))
	for e.pool.len() > 0 {
		e.flush(ctx)
	}
	return e.Health()
}

// Health returns nil if the log takes entries, and otherwise why it stopped for good: ErrRollback,
// ErrCorrupt or ErrConflict, each with the row or the sizes. Reads work in any case.
func (e *Engine) Health() error {
	if err := e.halted.Load(); err != nil {
		return *err
	}
	return nil
}

// Pending returns how many entries wait for their commit.
func (e *Engine) Pending() int { return e.pool.len() }

// halt makes the log refuse writes from now on.
func (e *Engine) halt(err error) {
	if !e.halted.CompareAndSwap(nil, &err) {
		return
	}
	e.metrics.healthy.Set(0)
	if errors.Is(err, ErrRollback) {
		e.metrics.rollback.Set(1)
	}
	e.cfg.Logger.Error("the log takes no more entries; it goes on serving reads", "err", err)
	e.pool.close(unavailable(err))
}

func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
