package web

import (
	"context"
	"errors"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sigbox/sigbox/internal/quota"
	tsapb "github.com/sigbox/sigbox/proto/sigbox/tsa/v1"
)

// metadataCode is the trailer of a gRPC answer with what httpx.ErrorCode is over HTTP.
const metadataCode = "sigbox-error"

// RegisterGRPC adds the service sigbox.tsa.v1.Timestamps to a gRPC server.
func (f *Face) RegisterGRPC(r grpc.ServiceRegistrar) {
	tsapb.RegisterTimestampsServer(r, &grpcServer{f: f})
}

type grpcServer struct {
	tsapb.UnimplementedTimestampsServer
	f *Face
}

func (g *grpcServer) Stamp(ctx context.Context, in *tsapb.StampRequest) (*tsapb.StampResponse, error) {
	visit, err := g.f.quotas.ArriveRPC(ctx)
	if err != nil {
		return nil, g.f.refuseRPC(ctx, refusalOf(err))
	}
	defer visit.End()
	resp, refused := g.f.stampQuery(ctx, in.GetTimeStampReq())
	if refused != nil {
		visit.Settle(refused.status >= http.StatusInternalServerError)
		return nil, g.f.refuseRPC(ctx, refused)
	}
	visit.Settle(false)
	return &tsapb.StampResponse{TimeStampResp: resp}, nil
}

func (f *Face) stampQuery(ctx context.Context, der []byte) ([]byte, *refusal) {
	if len(der) > maxBody {
		return nil, &refusal{http.StatusRequestEntityTooLarge, textTooLarge, nil}
	}
	req, refused := parseQuery(der)
	if refused != nil {
		return nil, refused
	}
	return f.stampParsed(ctx, req)
}

func (g *grpcServer) GetChain(context.Context, *tsapb.GetChainRequest) (*tsapb.GetChainResponse, error) {
	answer := &tsapb.GetChainResponse{}
	for _, c := range g.f.used.Load().authority.Chain() {
		answer.Certificates = append(answer.Certificates, c.Raw)
	}
	return answer, nil
}

// refuseRPC logs the true reason and returns what the client may read.
func (f *Face) refuseRPC(ctx context.Context, ref *refusal) error {
	f.logRefused(ctx, ref)
	_ = grpc.SetTrailer(ctx, metadata.Pairs(metadataCode, codeOf(ref))) // fails where the call is over
	var exceeded *quota.ExceededError
	if errors.As(ref.cause, &exceeded) {
		return exceeded.GRPCStatus().Err()
	}
	return status.Error(ref.rpcCode(), ref.text)
}

// rpcCode is the status over gRPC.
func (ref *refusal) rpcCode() codes.Code {
	switch {
	case ref.status == http.StatusServiceUnavailable:
		return codes.Unavailable
	case ref.status >= http.StatusInternalServerError:
		return codes.Internal
	}
	return codes.InvalidArgument
}
