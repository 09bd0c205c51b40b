package handover

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	trustpb "github.com/sigbox/sigbox/proto/sigbox/trust/v1"
	"github.com/sigbox/sigbox/tuf/statement"
)

// Bounds of one answer.
const (
	maxStatements = 64
	maxStatement  = statement.MaxSize // bytes
	maxMessage    = maxStatements * (maxStatement + 16)
)

// Server is sigbox.trust.v1.Statements. It is safe for concurrent use.
type Server struct {
	trustpb.UnimplementedStatementsServer
	list func() [][]byte
}

// NewServer returns the service that answers with the envelopes that list returns, at most 64. It is
// called for each request; what it returns is not changed later.
func NewServer(list func() [][]byte) *Server { return &Server{list: list} }

// RegisterGRPC adds the service to a server, which must let nobody but peers in.
func (s *Server) RegisterGRPC(g *grpc.Server) { trustpb.RegisterStatementsServer(g, s) }

// List implements trustpb.StatementsServer.
func (s *Server) List(context.Context, *trustpb.ListRequest) (*trustpb.ListResponse, error) {
	return &trustpb.ListResponse{Statements: s.list()}, nil
}

// Fetch asks the peer at the other end for its statements, and says who has answered: another call over
// the same connection may reach another peer. The statements are not verified. The caller's context
// bounds how long it takes.
func Fetch(ctx context.Context, conn grpc.ClientConnInterface) (from *peer.Peer, list [][]byte, err error) {
	from = &peer.Peer{}
	answer, err := trustpb.NewStatementsClient(conn).List(ctx, &trustpb.ListRequest{}, grpc.MaxCallRecvMsgSize(maxMessage), grpc.Peer(from))
	if err != nil {
		return nil, nil, fmt.Errorf("fetch trust statements: %w", err)
	}
	if n := len(answer.GetStatements()); n > maxStatements {
		return nil, nil, fmt.Errorf("fetch trust statements: the peer has sent %d, want at most %d", n, maxStatements)
	}
	for i, s := range answer.GetStatements() {
		if len(s) > maxStatement {
			return nil, nil, fmt.Errorf("fetch trust statements: number %d has %d bytes, want at most %d", i+1, len(s), maxStatement)
		}
	}
	return from, answer.GetStatements(), nil
}
