package tlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/sigbox/sigbox/tlog/checkpoint"
)

// load makes a view of a head row. The signature, the row and the right edge must agree, or the
// answer is ErrCorrupt.
func (e *Engine) load(ctx context.Context, r Reader, head Head) (*view, error) {
	signed, err := e.openNote(head)
	if err != nil {
		return nil, err
	}
	edge, err := loadEdge(ctx, r, head)
	if err != nil {
		return nil, err
	}
	return &view{signed: signed, timeMS: head.TimeMS, edge: edge, state: stateOf(head)}, nil
}

func stateOf(head Head) State {
	return State{Frozen: head.Frozen, Lost: head.Lost, Reason: head.Reason}
}

// openNote verifies the checkpoint of a head row.
func (e *Engine) openNote(head Head) (checkpoint.Signed, error) {
	signed, err := e.cfg.Signer.Verifier().Open(head.Note)
	if err != nil {
		return signed, fmt.Errorf("%w: the stored checkpoint: %w", ErrCorrupt, err)
	}
	if signed.Size != head.Size || signed.Root != head.Root {
		return signed, fmt.Errorf("%w: the head row has size %d and root %x, its checkpoint %d and %x",
			ErrCorrupt, head.Size, head.Root, signed.Size, signed.Root)
	}
	return signed, nil
}

// baseline returns the view of a head row that was just read: the tip, the tip frozen, or a later
// one that another process wrote. A head that does not extend the tip is ErrRollback.
func (e *Engine) baseline(ctx context.Context, r Reader, head Head) (*view, error) {
	tip := e.tip.edge
	if head.Size == tip.size && head.Root == tip.root {
		if e.tip.state == stateOf(head) {
			return e.tip, nil
		}
		signed, err := e.openNote(head)
		return &view{signed: signed, timeMS: head.TimeMS, edge: tip, state: stateOf(head)}, err
	}
	v, err := e.load(ctx, r, head)
	if err != nil {
		return nil, err
	}
	return v, e.extends(ctx, r, v, Mark{Size: tip.size, Root: tip.root}, "this process has seen")
}

// errFork says that the database does not lack history, but holds another one.
var errFork = fmt.Errorf("%w: another history", ErrRollback)

// extends checks that a view has a head as its prefix.
func (e *Engine) extends(ctx context.Context, r Reader, v *view, old Mark, who string) error {
	if old.Size == 0 {
		return nil
	}
	if old.Size > v.edge.size {
		return fmt.Errorf("%w: the database has size %d, %s size %d", ErrRollback, v.edge.size, who, old.Size)
	}
	// Without the cache: v may be a fork.
	root, err := tree{store: r, edge: v.edge}.root(ctx, old.Size)
	if err != nil {
		return fmt.Errorf("compare size %d with size %d: %w", v.edge.size, old.Size, err)
	}
	if root != old.Root {
		return fmt.Errorf("%w: at size %d the database (size %d) has root %x, %s %x", errFork, old.Size, v.edge.size, root, who, old.Root)
	}
	return nil
}

// publish shows a committed view to readers, after the guard holds it. growth is how it was
// reached from the view before, if it is known.
func (e *Engine) publish(ctx context.Context, v *view, g *growth) error {
	if p := e.published.Load(); p.edge.size == v.edge.size && p.state == v.state {
		return nil
	}
	if err := e.hold(ctx, v, g); err != nil {
		return err
	}
	e.show(v)
	return nil
}

func (e *Engine) show(v *view) {
	e.published.Store(v)
	e.news.tell()
	e.metrics.size.Set(float64(e.tip.edge.size))
	e.metrics.published.Set(float64(v.edge.size))
	if v.state.Frozen {
		e.metrics.frozen.Set(1)
	}
	_ = e.cfg.Hook.Hit(PointHeadPublished)
}

// openGuard compares a view with the guard and moves the guard up to it.
func (e *Engine) openGuard(ctx context.Context, v *view) (err error) {
	if e.cfg.Guard == nil {
		return nil
	}
	if v.state.Lost > 0 {
		e.cfg.Logger.WarnContext(ctx, "this log is frozen and is not compared with the guard", "reason", v.state.Reason)
		return nil
	}
	if e.mark, err = e.cfg.Guard.Last(ctx, e.cfg.Register); err != nil {
		return fmt.Errorf("ask the guard: %w", err)
	}
	if e.mark.Size == 0 && v.edge.size > 0 {
		e.cfg.Logger.WarnContext(ctx, "the guard does not know this log yet; it starts here", "size", v.edge.size)
	}
	err = e.hold(ctx, v, nil)
	if errors.Is(err, errFork) {
		why := err
		e.withheld.Store(&why)
		e.published.Store(&view{edge: emptyEdge})
	}
	if errors.Is(err, ErrRollback) {
		e.halt(err)
		return nil
	}
	return err
}

// hold makes sure that the guard holds a head, or a later one that the database has too. It fails
// with ErrRollback if the guard holds anything else.
func (e *Engine) hold(ctx context.Context, v *view, g *growth) error {
	if e.cfg.Guard == nil {
		return nil
	}
	want := Mark{Size: v.edge.size, Root: v.edge.root}
	for stuck := 0; stuck < 3; {
		if e.mark == want {
			return nil
		}
		if e.mark.Size >= want.Size {
			return e.passed(ctx, v)
		}
		proof, err := e.proofFrom(ctx, v, g)
		if err != nil {
			return err
		}
		if err = e.cfg.Hook.Hit(PointGuardSent); err == nil {
			err = e.cfg.Guard.Advance(ctx, e.mark, e.cfg.registered(v.signed), proof)
		}
		if err == nil {
			err = e.cfg.Hook.Hit(PointGuardDone)
		}
		if err == nil {
			e.mark = want
			return nil
		}
		if !errors.Is(err, ErrGuardMoved) {
			return fmt.Errorf("move the guard from size %d to %d: %w", e.mark.Size, want.Size, err)
		}
		moved, err := e.cfg.Guard.Last(ctx, e.cfg.Register)
		if err != nil {
			return fmt.Errorf("ask the guard: %w", err)
		}
		// Another process that publishes its own heads, all before this one, is no reason to give up.
		if moved.Size <= e.mark.Size {
			stuck++
		}
		e.mark = moved
	}
	return fmt.Errorf("the guard refuses size %d although it is at size %d", want.Size, e.mark.Size)
}

// proofFrom returns the consistency proof from the guard's head to a view.
func (e *Engine) proofFrom(ctx context.Context, v *view, g *growth) ([][]byte, error) {
	switch {
	case e.mark.Size == 0:
		return nil, nil
	case g != nil && g.from.size == e.mark.Size && g.from.root == e.mark.Root:
		return g.consistency(), nil
	}
	if err := e.extends(ctx, e.store, v, e.mark, "the guard remembers"); err != nil {
		return nil, err
	}
	return e.tree(v).consistency(ctx, e.mark.Size, v.edge.size)
}

// passed checks a guard that is ahead of a view: another process has moved it, and the database
// must hold what it remembers.
func (e *Engine) passed(ctx context.Context, v *view) error {
	head, err := e.store.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the head: %w", err)
	}
	newest, err := e.load(ctx, e.store, head)
	if err != nil {
		return err
	}
	if err := e.extends(ctx, e.store, newest, e.mark, "the guard remembers"); err != nil {
		return err
	}
	return e.extends(ctx, e.store, newest, Mark{Size: v.edge.size, Root: v.edge.root}, "this process has seen")
}

// refresh looks for a head that waits for the guard, or that another process wrote.
func (e *Engine) refresh(ctx context.Context, look bool) {
	if e.Health() != nil {
		return
	}
	err := e.publish(ctx, e.tip, nil)
	if err == nil && look {
		err = e.poll(ctx)
	}
	if err == nil {
		return
	}
	if errors.Is(err, ErrRollback) || errors.Is(err, ErrCorrupt) {
		e.halt(err)
		return
	}
	e.cfg.Logger.WarnContext(ctx, "the newest head is not published yet", "err", err)
}

func (e *Engine) poll(ctx context.Context) error {
	head, err := e.store.Head(ctx)
	if err != nil {
		return fmt.Errorf("look for a newer head: %w", err)
	}
	v, err := e.baseline(ctx, e.store, head)
	if err != nil {
		return err
	}
	e.tip = v
	return e.publish(ctx, v, nil)
}
