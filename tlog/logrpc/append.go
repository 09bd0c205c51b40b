package logrpc

import (
	"context"
	"fmt"

	rekor "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sigbox/sigbox/internal/quota"
	pb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/tile"
)

// Parser makes an entry of a request, after every check of it. Its errors are told to the client
// word by word, as INVALID_ARGUMENT.
type Parser func(*pb.AppendRequest) (tlog.Entry, error)

// RekorV1 is a Parser of proposed entries in JSON.
func RekorV1(parse func(json []byte) (tlog.Entry, error)) Parser {
	return func(req *pb.AppendRequest) (tlog.Entry, error) {
		if _, ok := req.GetEntry().(*pb.AppendRequest_RekorV1); !ok {
			return nil, wrongForm(req, "rekor_v1, a proposed entry as JSON")
		}
		return parse(req.GetRekorV1())
	}
}

// RekorV2 is a Parser of Rekor v2 requests.
func RekorV2(parse func(*rekor.CreateEntryRequest) (tlog.Entry, error)) Parser {
	return func(req *pb.AppendRequest) (tlog.Entry, error) {
		if _, ok := req.GetEntry().(*pb.AppendRequest_RekorV2); !ok {
			return nil, wrongForm(req, "rekor_v2, a CreateEntryRequest")
		}
		return parse(req.GetRekorV2())
	}
}

// CT is a Parser of chains of DER certificates.
func CT(parse func(chain [][]byte, precert bool) (tlog.Entry, error)) Parser {
	return func(req *pb.AppendRequest) (tlog.Entry, error) {
		switch req.GetEntry().(type) {
		case *pb.AppendRequest_Certificate:
			return parse(req.GetCertificate().GetCertificates(), false)
		case *pb.AppendRequest_Precertificate:
			return parse(req.GetPrecertificate().GetCertificates(), true)
		}
		return nil, wrongForm(req, "certificate or precertificate, a chain in DER")
	}
}

func wrongForm(req *pb.AppendRequest, want string) error {
	return fmt.Errorf("entry: log %s takes %s", req.GetLog(), want)
}

// Append puts an entry into a log.
func (s *Server) Append(ctx context.Context, req *pb.AppendRequest) (*pb.AppendResponse, error) {
	l, err := s.log(req.GetLog())
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	if l.Parse == nil {
		return nil, s.refuse(ctx, status.Errorf(codes.FailedPrecondition, "log %s takes no entries through this service", l.Name))
	}
	visit, err := s.quotas.ArriveRPC(ctx)
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	defer visit.End()
	out, err := l.append(ctx, req, visit)
	err = s.refuse(ctx, err)
	visit.Settle(quota.OurFault(status.Code(err)))
	return out, err
}

func (l *served) append(ctx context.Context, req *pb.AppendRequest, visit *quota.Visit) (*pb.AppendResponse, error) {
	e, err := l.Parse(req)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := l.Writers.Admit(e, visit); err != nil {
		return nil, err
	}
	receipt, err := l.Engine.Append(ctx, e)
	if err != nil {
		return nil, err
	}
	if receipt.Duplicate {
		visit.Duplicate()
	}
	out, err := l.receipt(receipt)
	if err == nil && l.Promise != nil {
		out.Sct, err = l.Promise(e, receipt)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// receipt makes the answer, after checking that it proves what it says.
func (l *served) receipt(r tlog.Receipt) (*pb.AppendResponse, error) {
	e, err := l.source.entry(r.Leaf)
	if err != nil {
		return nil, err
	}
	hash := tile.LeafHash(e.Leaf)
	if r.Checkpoint.Origin != l.Origin {
		return nil, fmt.Errorf("%w: checkpoint of %q, this is %q", tlog.ErrCorrupt, r.Checkpoint.Origin, l.Origin)
	}
	cp := r.Checkpoint
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(e.Index), uint64(cp.Size), hash[:], r.Proof, cp.Root[:]); err != nil {
		return nil, fmt.Errorf("%w: leaf %d in the tree of size %d: %w", tlog.ErrCorrupt, e.Index, cp.Size, err)
	}
	return &pb.AppendResponse{Entry: e, LeafHash: hash[:], Duplicate: r.Duplicate, Inclusion: r.Proof, Checkpoint: cp.Note}, nil
}
