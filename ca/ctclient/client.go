package ctclient

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/peerconn"
	"github.com/sigbox/sigbox/keys"
	pb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
)

// How long things take.
const (
	defaultHedge = time.Second
	avoidFor     = 15 * time.Second       // after a failure; by then pings have found out
	patience     = 2 * time.Second        // with a log of which no replica answers: one may be starting again
	pause        = 200 * time.Millisecond // before a replica is asked again, give or take half
)

// ErrKey is wrapped by the error of Check where the log has another key.
var ErrKey = errors.New("ct client: the log has another key than the one that its promises are verified with")

// Config is what a Client needs. All fields but Hedge are required.
type Config struct {
	Addresses   []string // HOST:PORT of the log's replicas; of a name all addresses are used
	Log         string   // its name
	Key         crypto.PublicKey
	Credentials credentials.TransportCredentials
	Hedge       time.Duration // how long one replica may take before the next is asked too; default 1 s
}

// Client logs precertificates. It is safe for concurrent use.
type Client struct {
	log      string
	keyID    [32]byte
	hedge    time.Duration
	replicas []*replica
	turn     atomic.Uint64
}

type replica struct {
	address string
	conn    *grpc.ClientConn
	logs    pb.LogsClient
	avoid   atomic.Int64 // until this time (Unix nanoseconds) others are asked first
}

// New returns a client. It connects when it is used.
func New(cfg Config) (*Client, error) {
	if len(cfg.Addresses) == 0 || cfg.Log == "" || cfg.Credentials == nil {
		return nil, errors.New("ct client: addresses, log and credentials are required")
	}
	id, err := keys.ID(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("ct client: %w", err)
	}
	c := &Client{log: cfg.Log, keyID: id, hedge: cfg.Hedge}
	if c.hedge <= 0 {
		c.hedge = defaultHedge
	}
	for _, address := range cfg.Addresses {
		conn, err := peerconn.New(address, cfg.Credentials)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("ct client: %s: %w", address, err), c.Close())
		}
		conn.Connect()
		c.replicas = append(c.replicas, &replica{address: address, conn: conn, logs: pb.NewLogsClient(conn)})
	}
	return c, nil
}

// Close ends all connections.
func (c *Client) Close() error {
	var errs []error
	for _, r := range c.replicas {
		errs = append(errs, r.conn.Close())
	}
	return errors.Join(errs...)
}

// Check asks every replica what the log's key is, until ctx ends. Its error wraps ErrKey where one says
// another; it is nil where at least one has answered and all that did have the key.
func (c *Client) Check(ctx context.Context) error {
	answers := make(chan error, len(c.replicas))
	for _, r := range c.replicas {
		go func() { answers <- r.check(ctx, c.log, c.keyID) }()
	}
	var unreachable []error
	for range c.replicas {
		switch err := <-answers; {
		case errors.Is(err, ErrKey):
			return err
		case err != nil:
			unreachable = append(unreachable, err)
		}
	}
	if len(unreachable) == len(c.replicas) {
		return errors.Join(unreachable...)
	}
	return nil
}

func (r *replica) check(ctx context.Context, log string, want [32]byte) error {
	l, err := r.logs.GetLog(ctx, &pb.GetLogRequest{Log: log})
	if err != nil {
		return fmt.Errorf("%s: %w", r.address, err)
	}
	if string(l.GetKeyId()) != string(want[:]) {
		return fmt.Errorf("%w: %s has %x, want %x", ErrKey, r.address, l.GetKeyId(), want)
	}
	return nil
}

// answer is how one try went.
type answer struct {
	sct []byte
	err error
}

// AddPreChain implements ca.SCTSource.
func (c *Client) AddPreChain(ctx context.Context, chain [][]byte) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the tries that lost
	req := &pb.AppendRequest{Log: c.log, Entry: &pb.AppendRequest_Precertificate{Precertificate: &pb.CertificateChain{Certificates: chain}}}
	order, giveUp := c.order(), time.Now().Add(patience)
	answers := make(chan answer)
	tries, waiting := 0, 0
	try := func() {
		r, wait := order[tries%len(order)], time.Duration(0)
		if tries >= len(order) {
			wait = pause/2 + rand.N(pause)
		}
		tries, waiting = tries+1, waiting+1
		go func() {
			a := r.add(ctx, req, wait)
			select {
			case answers <- a:
			case <-ctx.Done():
			}
		}()
	}
	slow := time.NewTicker(c.hedge)
	defer slow.Stop()
	var errs []error
	try()
	for {
		select {
		case <-ctx.Done():
			return nil, errors.Join(append(errs, fmt.Errorf("ct client: no promise of %s in time: %w", c.log, context.Cause(ctx)))...)
		case <-slow.C:
			if waiting < 2 && time.Now().Before(giveUp) {
				order[(tries-1)%len(order)].delay()
				try()
			}
		case a := <-answers:
			waiting--
			if a.err == nil || final(a.err) {
				return a.sct, a.err
			}
			errs = append(errs, a.err)
			switch {
			case tries < len(order), time.Now().Before(giveUp):
				try()
			case waiting == 0:
				return nil, errors.Join(errs...)
			}
		}
	}
}

// final says that no other replica would answer otherwise.
func final(err error) bool {
	return errors.Is(err, ca.ErrLogEnded) || status.Code(err) == codes.InvalidArgument
}

// order is in which order the replicas are asked: each one in its turn, those that failed or are not
// connected last.
func (c *Client) order() []*replica {
	n := len(c.replicas)
	first := int(c.turn.Add(1) % uint64(n))
	list := append(slices.Clone(c.replicas[first:]), c.replicas[:first]...)
	now := time.Now().UnixNano()
	slices.SortStableFunc(list, func(a, b *replica) int {
		return boolCompare(a.away(now), b.away(now))
	})
	return list
}

func (r *replica) away(now int64) bool {
	return r.avoid.Load() > now || r.conn.GetState() != connectivity.Ready
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (r *replica) delay() { r.avoid.Store(time.Now().Add(avoidFor).UnixNano()) }

// add asks one replica, after a wait.
func (r *replica) add(ctx context.Context, req *pb.AppendRequest, wait time.Duration) answer {
	select {
	case <-ctx.Done():
		return answer{err: ctx.Err()}
	case <-time.After(wait):
	}
	out, err := r.logs.Append(ctx, req)
	switch status.Code(err) {
	case codes.OK:
		r.avoid.Store(0)
		if len(out.GetSct()) == 0 {
			return answer{err: fmt.Errorf("%s: the log answered without a promise: it is no CT log, or of an older version", r.address)}
		}
		return answer{sct: out.GetSct()}
	case codes.Canceled: // another one was faster, or the caller has gone
	case codes.FailedPrecondition: // of log.proto: the log is frozen
		return answer{err: fmt.Errorf("%w: %s: %w", ca.ErrLogEnded, r.address, err)}
	default:
		r.delay()
	}
	return answer{err: fmt.Errorf("%s: %w", r.address, err)}
}
