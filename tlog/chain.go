package tlog

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// Chain is the shards of a log, oldest first, S being what a face knows of one. The last one takes entries;
// when it is frozen, the one that goes on for it is added. Readers take the list as it is and wait for
// nobody. It is safe for concurrent use.
type Chain[S any] struct {
	log  func(S) Log
	next func(context.Context, []S) ([]S, error)
	list atomic.Pointer[[]S] // never changed, only replaced by a longer one
	turn chan struct{}       // holds a token while the list is made longer: a request can give up waiting for it
}

// NewChain returns a chain that begins with list, which is not empty. log returns the log of a shard. next
// is asked for the list with the shard at its end that goes on for the last one, which is frozen: nil where
// there is none. It must not change the list that it is given. A chain without next stays as it is.
func NewChain[S any](list []S, log func(S) Log, next func(ctx context.Context, list []S) ([]S, error)) *Chain[S] {
	c := &Chain[S]{log: log, next: next, turn: make(chan struct{}, 1)}
	c.list.Store(&list)
	return c
}

// List returns the shards, which are not to be changed.
func (c *Chain[S]) List() []S { return *c.list.Load() }

// Last returns the shard that takes entries.
func (c *Chain[S]) Last() S { return lastOf(c.List()) }

func lastOf[S any](list []S) S { return list[len(list)-1] }

// Advance takes over the shard that goes on for a last one that was frozen, if there is one. Requests that
// meet it do so by themselves; it is for a process that nobody asks.
func (c *Chain[S]) Advance(ctx context.Context) error {
	for {
		list := c.List()
		if state, err := c.log(lastOf(list)).State(ctx); err != nil || !state.Frozen {
			return err
		}
		if longer, err := c.Grow(ctx, list); err != nil || !longer {
			return err
		}
	}
}

// Grow adds the shard that goes on for the last one of a list that List has returned. It returns false where
// there is none or the last one takes entries, and true too where another request was faster. An error means
// that this cannot be told now; it wraps ErrUnavailable where the next shard cannot be had, and is that of
// ctx where it ended first.
func (c *Chain[S]) Grow(ctx context.Context, list []S) (longer bool, err error) {
	if c.next == nil {
		return false, nil
	}
	if frozen, err := c.endsHere(ctx, c.log(lastOf(list))); err != nil || !frozen {
		return false, err
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if len(c.List()) > len(list) {
		return true, nil
	}
	more, err := c.next(ctx, list)
	if err != nil || more == nil {
		return false, err
	}
	c.list.Store(&more)
	return true, nil
}

// endsHere tells whether a log is frozen. Where this process does not know, another one may have frozen it.
func (c *Chain[S]) endsHere(ctx context.Context, log Log) (bool, error) {
	state, err := log.State(ctx)
	if err != nil || state.Frozen {
		return state.Frozen, err
	}
	if cp, err := log.Checkpoint(ctx); err == nil {
		log.Reach(ctx, cp.Size+1)
	}
	state, err = log.State(ctx)
	return state.Frozen, err
}

// Append appends to the shard that takes entries, and returns it. Where that one was frozen meanwhile the
// entry goes to its successor: the client sees nothing of it. Errors are those of [Log].
func (c *Chain[S]) Append(ctx context.Context, e Entry) (S, Receipt, error) {
	for {
		list := c.List()
		sh := lastOf(list)
		receipt, err := c.log(sh).Append(ctx, e)
		if !errors.Is(err, ErrFrozen) {
			return sh, receipt, err
		}
		longer, grown := c.Grow(ctx, list)
		switch state, unknown := c.log(sh).State(ctx); {
		case longer:
		case grown != nil:
			return sh, receipt, grown
		case c.next != nil && (!state.Frozen || unknown != nil): // its last head is not published yet, as when the guard is away
			return sh, receipt, fmt.Errorf("%w: the end of the shard is not published yet", ErrUnavailable)
		default:
			return sh, receipt, err
		}
	}
}
