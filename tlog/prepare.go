package tlog

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Preparer is a Store that becomes faster by something it makes of the entries of a log, such as one that
// an earlier build has filled.
type Preparer interface {
	// Prepare makes it, beside all else, and tells log how it goes on. It ends early with an error when
	// ctx is cancelled, and goes on where it was when it is called again.
	Prepare(ctx context.Context, log *slog.Logger) error
}

// prepareAgain is how long after a failure a store prepares anew.
const prepareAgain = 10 * time.Second

// prepareStore has the store prepare, until that is done. The log works without it: no failure stops it.
func (e *Engine) prepareStore(ctx context.Context) {
	p, ok := e.store.(Preparer)
	for ok {
		err := p.Prepare(ctx, e.cfg.Logger)
		if err == nil || ctx.Err() != nil {
			return
		}
		e.cfg.Logger.WarnContext(ctx, "the store cannot prepare for a large log, which works and is slower", "err", err)
		if errors.Is(err, ErrCorrupt) {
			return // nothing to wait for: fsck names the row
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(prepareAgain):
		}
	}
}
