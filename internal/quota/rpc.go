package quota

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// ArriveRPC is [Quotas.Arrive] for a gRPC call.
func (q *Quotas) ArriveRPC(ctx context.Context) (*Visit, error) {
	if q == nil {
		return nil, nil
	}
	remote, h := RPCClient(ctx)
	return q.arrive(ctx, remote, h)
}

// RPCClient returns the other end of the connection of a gRPC call, "" outside one, and what proxies say
// about the client.
func RPCClient(ctx context.Context) (remote string, h http.Header) {
	if p, ok := peer.FromContext(ctx); ok {
		remote = p.Addr.String()
	}
	return remote, http.Header{
		"X-Forwarded-For": metadata.ValueFromIncomingContext(ctx, "x-forwarded-for"),
		"Forwarded":       metadata.ValueFromIncomingContext(ctx, "forwarded"),
	}
}

// GRPCStatus is RESOURCE_EXHAUSTED with a RetryInfo (google/rpc/error_details.proto).
func (e *ExceededError) GRPCStatus() *status.Status {
	st := status.New(codes.ResourceExhausted, e.Error())
	wait := time.Duration(e.Seconds()) * time.Second
	if detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)}); err == nil {
		return detailed
	}
	return st
}

// OurFault says whether a gRPC status is what is 5xx in HTTP.
func OurFault(c codes.Code) bool {
	switch c {
	case codes.Unknown, codes.DeadlineExceeded, codes.Internal, codes.Unavailable, codes.DataLoss:
		return true
	}
	return false
}
