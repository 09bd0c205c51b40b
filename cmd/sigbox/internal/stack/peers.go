package stack

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	tlogpb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	trustpb "github.com/sigbox/sigbox/proto/sigbox/trust/v1"
)

// peerMethods are what services may ask of each other, and which one may. There is nothing else at a
// peers listener.
var peerMethods = map[string]string{
	tlogpb.Logs_Append_FullMethodName:      "ca",
	tlogpb.Logs_GetLog_FullMethodName:      "ca",
	trustpb.Statements_List_FullMethodName: "tuf",
}

// peerDoor is a listener for other services.
type peerDoor struct {
	service string
	address config.Address
	grpc    *grpc.Server
	ln      net.Listener
}

// peer returns the identity of a service towards others, and remembers it for reloads; nil where the
// configuration has none.
func (s *Server) peer(service string) (*identity, error) {
	p := s.cfg.Peers(service)
	if p == nil {
		return nil, nil
	}
	if id := s.live.peers[service]; id != nil {
		return id, nil
	}
	id := &identity{}
	if err := id.load(p.Certificate, p.Key, p.Authorities); err != nil {
		return nil, fmt.Errorf("%s.peers: %w", service, err)
	}
	s.live.peers[service] = id
	s.health.add(service+" peers certificate", "degraded", func(context.Context) error { return id.valid(s.clock.Now()) })
	s.addPeerExpiry(service, id)
	return id, nil
}

// peerDoor returns the listener of a service for others, nil where it has none.
func (s *Server) peerDoor(service string) (*peerDoor, error) {
	id, err := s.peer(service)
	if err != nil || id == nil || s.cfg.Peers(service).Listen == "" {
		return nil, err
	}
	d := &peerDoor{service: service, address: s.cfg.Peers(service).Listen}
	d.grpc = grpc.NewServer(
		grpc.Creds(credentials.NewTLS(id.peerServer())), grpc.MaxRecvMsgSize(4<<20), grpc.MaxConcurrentStreams(250), grpc.ConnectionTimeout(readHeaderTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(s.live.logUnary, admit), grpc.ChainStreamInterceptor(s.live.logStream, refuseStreams),
	)
	s.peers = append(s.peers, d)
	return d, nil
}

// admit lets a service call what is for it.
func admit(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	want, ok := peerMethods[info.FullMethod]
	if !ok {
		return nil, status.Errorf(codes.PermissionDenied, "%s is not for other services", info.FullMethod)
	}
	if cert := peerCertificate(ctx); cert == nil || !isPeer(cert, want) {
		return nil, status.Errorf(codes.PermissionDenied, "%s is for %s: your certificate does not name %s", info.FullMethod, want, peerName(want))
	}
	return next(ctx, req)
}

func refuseStreams(_ any, _ grpc.ServerStream, info *grpc.StreamServerInfo, _ grpc.StreamHandler) error {
	return status.Errorf(codes.PermissionDenied, "%s is not for other services", info.FullMethod)
}

// peerCertificate is what the other end of a call has shown, and the listener has verified.
func peerCertificate(ctx context.Context) *x509.Certificate {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return nil
	}
	return info.State.VerifiedChains[0][0]
}

// serve answers until ctx ends, then lets calls under way finish.
func (d *peerDoor) serve(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- d.grpc.Serve(d.ln) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve %s.peers at %s: %w", d.service, d.address, err)
	case <-ctx.Done():
	}
	ended := make(chan struct{})
	go func() { d.grpc.GracefulStop(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-time.After(drainTimeout):
	}
	d.grpc.Stop()
	return fmt.Errorf("some calls of other services did not finish within %s", drainTimeout)
}
