package peerconn

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// How long things take.
const (
	pingAfter   = 10 * time.Second // without a frame, to find dead peers
	pingTimeout = 5 * time.Second
	maxBackoff  = 2 * time.Second
	dialTimeout = 3 * time.Second
)

// New returns a connection to HOST:PORT, which connects when it is used. more comes after the options
// that every connection has.
func New(address string, creds credentials.TransportCredentials, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds), grpc.WithNoProxy(),
		// Not the one that gRPC looks for in a TXT record: where there is no resolver for the world, as in a
		// closed network, every connection would wait until that question times out.
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxBackoff},
			MinConnectTimeout: dialTimeout,
		}),
	}
	return grpc.NewClient("dns:///"+address, append(options, more...)...)
}
