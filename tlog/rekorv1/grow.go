package rekorv1

import (
	"context"
	"fmt"

	"github.com/sigbox/sigbox/tlog"
)

// Advance takes over the shard that goes on for a last one that was frozen, if there is one. Requests
// that meet it do so by themselves; it is for a server that nobody asks.
func (s *Server) Advance(ctx context.Context) error { return s.chain.Advance(ctx) }

func (s *Server) shards() shards { return s.chain.List() }

// after returns how the shards grow by what next says of the last one; nil where there is no next.
func (s *Server) after(next func(context.Context, Shard) (*Shard, error)) func(context.Context, []*shard) ([]*shard, error) {
	if next == nil {
		return nil
	}
	return func(ctx context.Context, list []*shard) ([]*shard, error) {
		last := shards(list).active()
		found, err := next(ctx, last.from)
		if err != nil { // a client that tries again may find it
			return nil, fmt.Errorf("%w: the next shard: %w", tlog.ErrUnavailable, err)
		}
		if found == nil {
			return nil, nil
		}
		more, err := shards(list).then(*found)
		if err != nil {
			return nil, fmt.Errorf("rekor v1: %w", err)
		}
		s.logger.InfoContext(ctx, "rekor v1: a shard is frozen, and the next one takes entries",
			"frozen", last.treeID, "next", found.TreeID, "index", more.active().first)
		return more, nil
	}
}

func (sh *shard) frozen(ctx context.Context) (bool, error) {
	state, err := sh.log.State(ctx)
	return state.Frozen, err
}

// tree returns the shard with a tree id, nil where there is none, in this process or another.
func (s *Server) tree(ctx context.Context, id int64) (*shard, error) {
	for {
		list := s.shards()
		if sh := list.tree(id); sh != nil {
			return sh, nil
		}
		if longer, err := s.chain.Grow(ctx, list); err != nil || !longer {
			return nil, err
		}
	}
}
