package tlog

import (
	"context"
	"errors"
	"fmt"
)

// errFrozenAlready ends a freeze that has nothing to do.
var errFrozenAlready = errors.New("the log is frozen already")

// Freeze ends the log for good, in order with appends: those that it does not see fail with
// ErrFrozen. With Config.SayFrozen it signs the head that is locked then once more, with the line
// that says that no other follows. A log that is frozen already stays as it is. One that has
// stopped (see Health) is not frozen. State tells it a moment later, if Run runs.
func (e *Engine) Freeze(ctx context.Context) error {
	if err := e.Health(); err != nil {
		return fmt.Errorf("freeze log %s: %w", e.cfg.Name, err)
	}
	err := e.store.Freeze(ctx, func(head Head) (Ending, error) {
		if head.Frozen {
			return Ending{}, errFrozenAlready
		}
		if _, err := e.openNote(head); err != nil {
			return Ending{}, err
		}
		if seen := e.published.Load().edge.size; head.Size < seen {
			return Ending{}, fmt.Errorf("%w: the database has size %d, this process has seen size %d", ErrRollback, head.Size, seen)
		}
		if !e.cfg.SayFrozen {
			return Ending{}, nil
		}
		last, err := e.cfg.Signer.SignFrozen(head.Size, head.Root, e.cfg.Clock.Now())
		return Ending{Note: last.Note}, err
	})
	if err != nil && !errors.Is(err, errFrozenAlready) {
		return fmt.Errorf("freeze log %s: %w", e.cfg.Name, err)
	}
	e.look.ask() // nobody waits for it
	return nil
}
