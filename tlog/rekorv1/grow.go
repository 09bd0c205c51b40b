package rekorv1

import (
	"context"
	"fmt"

	"github.com/sigbox/sigbox/tlog"
)

// Advance takes over the shard that goes on for a last one that was frozen, if there is one. Requests
// that meet it do so by themselves; it is for a server that nobody asks.
func (s *Server) Advance(ctx context.Context) error {
	for {
		list := s.list.Load()
		if frozen, err := list.active().frozen(ctx); err != nil || !frozen {
			return err
		}
		if longer, err := s.grow(ctx, list); err != nil || !longer {
			return err
		}
	}
}

// grow adds the shard that goes on for the last one of the list. It returns false where there is none
// or the last one takes entries, and true too where another request was faster. An error means that
// this cannot be told now.
func (s *Server) grow(ctx context.Context, list *shards) (longer bool, err error) {
	if s.next == nil {
		return false, nil
	}
	last := list.active()
	frozen, err := last.frozen(ctx)
	if err == nil && !frozen { // not known here: another process has frozen it
		if cp, err := last.log.Checkpoint(ctx); err == nil {
			last.log.Reach(ctx, cp.Size+1)
		}
		frozen, err = last.frozen(ctx)
	}
	if err != nil || !frozen {
		return false, err
	}
	s.growing.Lock()
	defer s.growing.Unlock()
	if s.list.Load() != list {
		return true, nil
	}
	next, err := s.next(ctx, last.from)
	if err != nil || next == nil {
		return false, unavailable(err)
	}
	more, err := list.then(*next)
	if err != nil {
		return false, fmt.Errorf("rekor v1: %w", err)
	}
	s.list.Store(&more)
	s.logger.InfoContext(ctx, "rekor v1: a shard is frozen, and the next one takes entries",
		"frozen", last.treeID, "next", next.TreeID, "index", more.active().first)
	return true, nil
}

// unavailable says that the next shard cannot be had now; a client that tries again may find it.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: the next shard: %w", tlog.ErrUnavailable, err)
}

func (sh *shard) frozen(ctx context.Context) (bool, error) {
	state, err := sh.log.State(ctx)
	return state.Frozen, err
}

// tree returns the shard with a tree id, nil where there is none, in this process or another.
func (s *Server) tree(ctx context.Context, id int64) (*shard, error) {
	for {
		list := s.list.Load()
		if sh := list.tree(id); sh != nil {
			return sh, nil
		}
		if longer, err := s.grow(ctx, list); err != nil || !longer {
			return nil, err
		}
	}
}
