package stack

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/internal/quota"
)

// logUnary writes the one line of a gRPC call, as httpx does of other requests.
func (l *live) logUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	began := time.Now()
	ctx, id := l.identify(ctx)
	answer, err := next(ctx, req)
	size := 0
	if m, ok := answer.(proto.Message); ok && err == nil {
		size = proto.Size(m)
	}
	l.line(ctx, id, info.FullMethod, err, size, time.Since(began))
	return answer, err
}

func (l *live) logStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	began := time.Now()
	ctx, id := l.identify(stream.Context())
	s := &counted{ServerStream: stream, ctx: ctx}
	err := next(srv, s)
	l.line(ctx, id, info.FullMethod, err, s.bytes, time.Since(began))
	return err
}

// identify gives a call its request id, which it answers with too.
func (l *live) identify(ctx context.Context) (context.Context, string) {
	id := httpx.NewRequestID(metadata.ValueFromIncomingContext(ctx, "x-request-id"))
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-request-id", id)) // fails where the call is over
	return httpx.WithRequestID(ctx, id), id
}

func (l *live) line(ctx context.Context, id, method string, err error, size int, took time.Duration) {
	level := l.requests.Level(method)
	if !l.log.Enabled(ctx, level) {
		return
	}
	remote, header := quota.RPCClient(ctx)
	l.log.LogAttrs(ctx, level, "request", slog.String("request_id", id), slog.String("method", "gRPC"), slog.String("route", method),
		slog.String("status", status.Code(err).String()), slog.Int("bytes", size), httpx.Took(took), slog.String("client", l.requests.Client(remote, header)))
}

// counted is a stream that counts the bytes of its messages.
type counted struct {
	grpc.ServerStream
	ctx   context.Context
	bytes int
}

func (c *counted) Context() context.Context { return c.ctx }

func (c *counted) SendMsg(m any) error {
	err := c.ServerStream.SendMsg(m)
	if p, ok := m.(proto.Message); ok && err == nil {
		c.bytes += proto.Size(p)
	}
	return err
}
