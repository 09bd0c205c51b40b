package ctlog

import (
	"context"
	"fmt"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
)

// Tree returns the log as tiles of it are read (C2SP tlog-tiles): an entry is the MerkleTreeLeaf (RFC 6962 3.4)
// that its hash is of, which get-entries calls leaf_input, and its chain is left out.
func (s *Server) Tree() tlog.Log { return tree{s.log} }

type tree struct{ tlog.Log }

func (t tree) Leaves(ctx context.Context, start, end int64) ([]tlog.Leaf, error) {
	list, err := t.Log.Leaves(ctx, start, end)
	if err != nil {
		return nil, err
	}
	out := make([]tlog.Leaf, len(list))
	for i, l := range list {
		out[i] = l
		if out[i].Data, _, err = certificate.Parse(l.Data); err != nil {
			return nil, fmt.Errorf("logged entry %d: %w: %w", l.Index, tlog.ErrCorrupt, err)
		}
	}
	return out, nil
}
