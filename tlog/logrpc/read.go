package logrpc

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
)

// GetCheckpoint returns the published head.
func (s *Server) GetCheckpoint(ctx context.Context, req *pb.GetCheckpointRequest) (*pb.GetCheckpointResponse, error) {
	l, err := s.log(req.GetLog())
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	cp, _, err := l.Engine.Latest(ctx)
	return &pb.GetCheckpointResponse{Checkpoint: cp.Note}, s.refuse(ctx, err)
}

// number is a field of a request, an index or a size.
type number struct {
	name  string
	value int64
}

// natural refuses numbers below 0.
func natural(fields ...number) error {
	for _, n := range fields {
		if n.value < 0 {
			return status.Errorf(codes.InvalidArgument, "%s is %d: want 0 or more", n.name, n.value)
		}
	}
	return nil
}

// within refuses a number that is negative or greater than limit, which the size of the head sets.
func (n number) within(limit, size int64) error {
	if n.value > limit {
		return status.Errorf(codes.OutOfRange, "%s is %d: the published head has %d entries", n.name, n.value, size)
	}
	return natural(n)
}

// GetEntry returns one entry with its proof.
func (s *Server) GetEntry(ctx context.Context, req *pb.GetEntryRequest) (*pb.GetEntryResponse, error) {
	l, err := s.log(req.GetLog())
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	out, err := l.get(ctx, req.GetIndex())
	return out, s.refuse(ctx, err)
}

func (l *served) get(ctx context.Context, index int64) (*pb.GetEntryResponse, error) {
	cp, err := l.Engine.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	if err := (number{"index", index}).within(cp.Size-1, cp.Size); err != nil {
		return nil, err
	}
	leaf, err := l.Engine.Leaf(ctx, index)
	if err != nil {
		return nil, err
	}
	e, err := l.source.entry(leaf)
	if err != nil {
		return nil, err
	}
	path, err := l.Engine.Inclusion(ctx, index, cp.Size)
	if err != nil {
		return nil, err
	}
	return &pb.GetEntryResponse{Entry: e, Attestation: leaf.Attestation, Inclusion: path, Checkpoint: cp.Note}, nil
}

// GetEntries returns consecutive entries.
func (s *Server) GetEntries(ctx context.Context, req *pb.GetEntriesRequest) (*pb.GetEntriesResponse, error) {
	l, err := s.log(req.GetLog())
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	entries, err := l.list(ctx, req.GetStart(), req.GetCount())
	return &pb.GetEntriesResponse{Entries: entries}, s.refuse(ctx, err)
}

func (l *served) list(ctx context.Context, start, count int64) ([]*pb.Entry, error) {
	cp, err := l.Engine.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	if count < 1 {
		return nil, status.Errorf(codes.InvalidArgument, "count is %d: want 1 or more", count)
	}
	if err := (number{"start", start}).within(cp.Size-1, cp.Size); err != nil {
		return nil, err
	}
	return l.source.load(ctx, start, start+min(count, cp.Size-start))
}

// GetInclusionProof proves that a tree holds a leaf.
func (s *Server) GetInclusionProof(ctx context.Context, req *pb.GetInclusionProofRequest) (*pb.GetInclusionProofResponse, error) {
	hashes, err := s.prove(ctx, req.GetLog(), number{"index", req.GetIndex()}, req.GetSize(), false)
	return &pb.GetInclusionProofResponse{Hashes: hashes}, s.refuse(ctx, err)
}

// GetConsistencyProof proves that one tree is a prefix of another.
func (s *Server) GetConsistencyProof(ctx context.Context, req *pb.GetConsistencyProofRequest) (*pb.GetConsistencyProofResponse, error) {
	hashes, err := s.prove(ctx, req.GetLog(), number{"old_size", req.GetOldSize()}, req.GetSize(), true)
	return &pb.GetConsistencyProofResponse{Hashes: hashes}, s.refuse(ctx, err)
}

// prove returns the proof of a leaf, or of a smaller tree, in the tree of a size.
func (s *Server) prove(ctx context.Context, name string, what number, size int64, tree bool) ([][]byte, error) {
	l, err := s.log(name)
	if err != nil {
		return nil, err
	}
	if err := natural(what, number{"size", size}); err != nil {
		return nil, err
	}
	if what.value > size || what.value == size && !tree {
		return nil, status.Errorf(codes.InvalidArgument, "%s is %d: beyond size, which is %d", what.name, what.value, size)
	}
	cp, err := l.Engine.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	if err := (number{"size", size}).within(cp.Size, cp.Size); err != nil {
		return nil, err
	}
	if tree {
		return l.consistency(ctx, what.value, size)
	}
	return l.Engine.Inclusion(ctx, what.value, size)
}

// consistency is that of the engine, and empty for two empty trees.
func (l *served) consistency(ctx context.Context, old, size int64) ([][]byte, error) {
	if old == size {
		return nil, nil
	}
	return l.Engine.Consistency(ctx, old, size)
}
