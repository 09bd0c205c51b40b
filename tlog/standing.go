package tlog

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Standing is how a log in a database stands to what its guard remembers.
type Standing struct {
	Origin string
	Log    Mark // the head in the database, whose signature and right edge are good
	Guard  Mark // size 0 where the guard does not know the log
	State  State
	Forked bool // at the guard's size the database has another root
}

// Behind says that the database lacks the entries [Log.Size, Guard.Size).
func (s Standing) Behind() bool { return s.Log.Size < s.Guard.Size }

// Sound says that the database holds what the guard remembers.
func (s Standing) Sound() bool { return !s.Behind() && !s.Forked }

// Compare tells how a log stands to its guard, which Config must have. It changes nothing.
func Compare(ctx context.Context, store Store, cfg Config) (Standing, error) {
	_, _, s, err := compare(ctx, store, cfg)
	if err != nil {
		return s, fmt.Errorf("compare log %s with its guard: %w", cfg.Name, err)
	}
	return s, nil
}

func compare(ctx context.Context, store Store, cfg Config) (e *Engine, v *view, s Standing, err error) {
	if cfg, err = cfg.withDefaults(); err != nil {
		return nil, nil, s, err
	}
	if cfg.Guard == nil {
		return nil, nil, s, errors.New("there is no guard to compare with")
	}
	e = newEngine(store, cfg)
	if err := e.checkDescription(ctx); err != nil {
		return nil, nil, s, err
	}
	head, err := store.Head(ctx)
	if err != nil {
		return nil, nil, s, fmt.Errorf("read the head: %w", err)
	}
	if v, err = e.load(ctx, store, head); err != nil {
		return nil, nil, s, err
	}
	s = Standing{Origin: v.signed.Origin, Log: v.mark(), State: v.state}
	if s.Guard, err = cfg.Guard.Last(ctx, cfg.Register); err != nil {
		return nil, nil, s, fmt.Errorf("ask the guard: %w", err)
	}
	if s.Guard.Size == 0 || s.Behind() {
		return e, v, s, nil
	}
	root, err := tree{store: store, edge: v.edge}.root(ctx, s.Guard.Size)
	s.Forked = root != s.Guard.Root
	return e, v, s, err
}

func (v *view) mark() Mark { return Mark{Size: v.edge.size, Root: v.edge.root} }

// ErrNotConfirmed is returned by AcceptLoss where the log does not stand as its caller said.
var ErrNotConfirmed = errors.New("tlog: the log does not stand as was confirmed")

// AcceptLoss gives up what a rolled back log lacks. The log ends where it is, for good: whatever
// it signed after the lost entries would contradict what it has signed before, so it never signs
// again. Its head row is left as it is, and so is the guard. From then on [Log.State] tells the
// reason, and Open does not compare the log with its guard any more.
//
// confirmed is how the log stood when somebody decided this; if it stands differently now,
// nothing is done. A log that is sound, or whose database holds another history than the guard, is
// refused: the first lacks nothing, and what the second would publish is not a part of the log.
func AcceptLoss(ctx context.Context, store Store, cfg Config, confirmed Standing) error {
	e, _, now, err := compare(ctx, store, cfg)
	switch {
	case err != nil:
	case now != confirmed:
		err = fmt.Errorf("%w: it has %d entries and the guard remembers %d", ErrNotConfirmed, now.Log.Size, now.Guard.Size)
	case now.Sound():
		err = fmt.Errorf("%w: it has lost nothing", ErrNotConfirmed)
	case now.Forked:
		err = fmt.Errorf("%w: the database holds another history than the guard, not a part of the same", ErrRollback)
	case now.State.Lost > 0:
		err = fmt.Errorf("%w: its loss was accepted already", ErrNotConfirmed)
	case now.State.Frozen:
		err = fmt.Errorf("%w: it was frozen with %d entries, and the guard remembers %d: the database was put together from several", ErrRollback, now.Log.Size, now.Guard.Size)
	default:
		err = e.giveUp(ctx, now)
	}
	if err != nil {
		return fmt.Errorf("accept the loss of log %s: %w", cfg.Name, err)
	}
	return nil
}

func (e *Engine) giveUp(ctx context.Context, now Standing) error {
	return e.store.Freeze(ctx, func(head Head) (Ending, error) {
		if have := (Mark{Size: head.Size, Root: head.Root}); have != now.Log || head.Frozen {
			return Ending{}, fmt.Errorf("%w: it has moved to %d entries meanwhile", ErrNotConfirmed, head.Size)
		}
		return Ending{Lost: now.Guard.Size - now.Log.Size, Reason: fmt.Sprintf("%d entries from index %d on were lost and given up on %s; the guard remembers size %d and root %x",
			now.Guard.Size-now.Log.Size, now.Log.Size, e.cfg.Clock.Now().UTC().Format(time.DateOnly), now.Guard.Size, now.Guard.Root)}, nil
	})
}
