package rekorv2

import (
	"context"
	"errors"
	"fmt"

	rekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/rpcerr"
	"github.com/sigbox/sigbox/tlog/tile"
	"github.com/sigbox/sigbox/tlog/writers"
)

// CreateEntry appends an entry (gRPC).
func (s *Server) CreateEntry(ctx context.Context, req *pb.CreateEntryRequest) (*rekor.TransparencyLogEntry, error) {
	visit, err := s.quotas.ArriveRPC(ctx)
	if err != nil {
		return nil, s.refuse(ctx, err).Err()
	}
	defer visit.End()
	tle, err := s.create(ctx, req, visit, s.chain.Append)
	if err != nil {
		st := s.refuse(ctx, err)
		visit.Settle(quota.OurFault(st.Code()))
		return nil, st.Err()
	}
	visit.Settle(false)
	return tle, nil
}

// GetTile returns the hashes of a tile (gRPC). N is as in C2SP tlog-tiles, "x001/234.p/5".
func (s *Server) GetTile(ctx context.Context, req *pb.TileRequest) (*httpbody.HttpBody, error) {
	return s.readPath(ctx, fmt.Sprintf("tile/%d/%s", req.GetL(), req.GetN()))
}

// GetEntryBundle returns a bundle of entries (gRPC).
func (s *Server) GetEntryBundle(ctx context.Context, req *pb.EntryBundleRequest) (*httpbody.HttpBody, error) {
	return s.readPath(ctx, "tile/entries/"+req.GetN())
}

// GetCheckpoint returns the published checkpoint (gRPC).
func (s *Server) GetCheckpoint(ctx context.Context, _ *emptypb.Empty) (*httpbody.HttpBody, error) {
	log, _ := s.atAuthority(ctx)
	if log == nil {
		return nil, status.Error(codes.NotFound, "no log")
	}
	cp, _, err := log.Latest(ctx)
	if err != nil {
		return nil, s.refuse(ctx, err).Err()
	}
	return &httpbody.HttpBody{ContentType: "text/plain; charset=utf-8", Data: cp.Note}, nil
}

// atAuthority is AtHost for a call.
func (s *Server) atAuthority(ctx context.Context) (tlog.Log, *tlog.Tiles) {
	var authority string
	if list := metadata.ValueFromIncomingContext(ctx, ":authority"); len(list) > 0 {
		authority = list[0]
	}
	return s.at(authority)
}

func (s *Server) readPath(ctx context.Context, path string) (*httpbody.HttpBody, error) {
	p, err := tile.ParsePath(path)
	if err != nil {
		return nil, status.Error(codes.NotFound, "no such tile")
	}
	_, tiles := s.atAuthority(ctx)
	if tiles == nil {
		return nil, status.Error(codes.NotFound, "no such tile")
	}
	data, err := tiles.Read(ctx, p)
	if err != nil {
		return nil, s.refuse(ctx, err).Err()
	}
	return &httpbody.HttpBody{ContentType: "application/octet-stream", Data: data}, nil
}

// refuse turns an error into the status that the client is told and logs the cause.
func (s *Server) refuse(ctx context.Context, err error) *status.Status {
	st := statusOf(err)
	rpcerr.Log(ctx, s.logger, "rekor v2", st, err)
	return st
}

// statusOf is the table from our errors to gRPC's: upstream's codes and words where it has them.
func statusOf(err error) *status.Status {
	var refused *writers.RefusedError
	var exceeded *quota.ExceededError
	switch {
	case errors.As(err, &refused):
		return status.New(codes.PermissionDenied, refused.Error())
	case errors.As(err, &exceeded):
		return exceeded.GRPCStatus()
	case errors.Is(err, errKind):
		return status.New(codes.InvalidArgument, "invalid type, must be hashedrekord")
	case errors.Is(err, entry.ErrInvalid):
		return status.New(codes.InvalidArgument, "invalid hashedrekord request: "+err.Error())
	case errors.Is(err, tlog.ErrTooLarge):
		return status.New(codes.InvalidArgument, "entry too large for tile bundle")
	case errors.Is(err, tlog.ErrFrozen):
		return status.New(codes.Unimplemented, "log frozen")
	case errors.Is(err, tlog.ErrBusy):
		return status.New(codes.Unavailable, "reached max pushback; retry")
	case errors.Is(err, tlog.ErrNotFound), errors.Is(err, tlog.ErrRange):
		return status.New(codes.NotFound, "no such tile")
	}
	st := rpcerr.Status(err)
	if st.Code() == codes.Internal {
		return status.New(codes.Unknown, "failed to integrate entry")
	}
	return st
}
