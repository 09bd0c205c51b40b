package logrpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sigbox/sigbox/internal/quota"
	pb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/rpcerr"
	"github.com/sigbox/sigbox/tlog/writers"
)

// FollowPath is the HTTP/2 path of the stream, for servers that treat streams otherwise.
const FollowPath = pb.Logs_Follow_FullMethodName

// Engine is a log that can be followed. *tlog.Engine is one.
type Engine interface {
	tlog.Log
	// Changed returns a channel that is closed once the published head is larger than size.
	Changed(size int64) <-chan struct{}
	// Health returns why the log takes no entries for good, nil if it takes them.
	Health() error
}

// Log is one log of the service.
type Log struct {
	Name   string   // unique in the service
	Origin string   // of its checkpoints
	Face   string   // what Append takes: "rekor-v1", "rekor-v2", "ct"
	KeyID  [32]byte // SHA-256 of the SubjectPublicKeyInfo of its key
	Engine Engine
	// Parse checks what is appended. nil: the log is not appended to through this service.
	Parse Parser
	// Writers says whose entries are taken; nil takes everybody's.
	Writers *writers.Gate
	// Split takes the stored bytes of an entry apart into Merkle leaf input and what is kept beside
	// it. nil: all of it is the leaf.
	Split func(stored []byte) (leaf, extra []byte, err error)
	// Promise returns the SCT for an entry that was appended, in a CT log. nil elsewhere.
	Promise func(tlog.Entry, tlog.Receipt) (sct []byte, err error)
}

// Config is what a Server is made of. Zero fields have the defaults named here.
type Config struct {
	Logs   []Log
	Quotas *quota.Quotas // of those who append; nil is none

	MaxFollowers int           // streams at a time; default 1,000
	Heartbeat    time.Duration // between messages to an idle follower; default 15 s, which clients rely on
	Pace         time.Duration // between batches to a follower that keeps up; default 100 ms
	Logger       *slog.Logger  // default slog.Default()
}

// Server answers the service sigbox.tlog.v1.Logs. It is safe for concurrent use.
type Server struct {
	pb.UnimplementedLogsServer
	mu        sync.RWMutex
	logs      map[string]*served
	quotas    *quota.Quotas
	slots     chan struct{} // one item for each read that its followers cause
	followers chan struct{} // one item for each stream
	heartbeat time.Duration
	pace      time.Duration
	logger    *slog.Logger
	draining  chan struct{}
	drain     sync.Once
}

// served is a log with what its followers share.
type served struct {
	Log
	source *source
}

// New returns a Server.
func New(c Config) (*Server, error) {
	s := &Server{logs: map[string]*served{}, quotas: c.Quotas, heartbeat: c.Heartbeat, pace: c.Pace, logger: c.Logger, draining: make(chan struct{})}
	if c.MaxFollowers <= 0 {
		c.MaxFollowers = 1000
	}
	s.followers = make(chan struct{}, c.MaxFollowers)
	if s.heartbeat <= 0 {
		s.heartbeat = 15 * time.Second
	}
	if s.pace <= 0 {
		s.pace = 100 * time.Millisecond
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	s.slots = make(chan struct{}, maxReads)
	for _, l := range c.Logs {
		if err := s.Add(l); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Add adds a log, as when it goes on for one that is full, while the others are served.
func (s *Server) Add(l Log) error {
	if l.Name == "" || l.Origin == "" || l.Engine == nil {
		return errors.New("log service: a log needs Name, Origin and Engine")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.logs[l.Name] != nil {
		return fmt.Errorf("log service: two logs are named %q", l.Name)
	}
	s.logs[l.Name] = &served{Log: l, source: newSource(l, s.slots)}
	return nil
}

// RegisterGRPC adds the service sigbox.tlog.v1.Logs.
func (s *Server) RegisterGRPC(r grpc.ServiceRegistrar) { pb.RegisterLogsServer(r, s) }

// Drain ends all streams, and those that begin later, with Unavailable, so that their clients go to
// another replica or come back. Other calls are still answered.
func (s *Server) Drain() { s.drain.Do(func() { close(s.draining) }) }

func (s *Server) log(name string) (*served, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if l := s.logs[name]; l != nil {
		return l, nil
	}
	return nil, status.Errorf(codes.NotFound, "there is no log %.64q: ListLogs names them", name)
}

// refuse turns an error into what the client is told, and writes down what the client is not.
func (s *Server) refuse(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	st, ours := status.FromError(err)
	var refused *writers.RefusedError
	switch {
	case errors.As(err, &refused):
		st = status.New(codes.PermissionDenied, refused.Error())
	case !ours:
		st = rpcerr.Status(err)
	}
	rpcerr.Log(ctx, s.logger, "log service", st, err)
	return st.Err()
}

// ListLogs describes all logs.
func (s *Server) ListLogs(ctx context.Context, _ *pb.ListLogsRequest) (*pb.ListLogsResponse, error) {
	out := &pb.ListLogsResponse{}
	s.mu.RLock()
	logs := slices.Collect(maps.Values(s.logs))
	s.mu.RUnlock()
	for _, l := range logs {
		d, err := l.describe(ctx)
		if err != nil {
			return nil, s.refuse(ctx, err)
		}
		out.Logs = append(out.Logs, d)
	}
	slices.SortFunc(out.Logs, func(a, b *pb.Log) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// GetLog describes one log.
func (s *Server) GetLog(ctx context.Context, req *pb.GetLogRequest) (*pb.Log, error) {
	l, err := s.log(req.GetLog())
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	d, err := l.describe(ctx)
	return d, s.refuse(ctx, err)
}

func (l *served) describe(ctx context.Context) (*pb.Log, error) {
	cp, _, err := l.Engine.Latest(ctx)
	if err != nil && l.Engine.Health() == nil { // a log that has halted may have none to show
		return nil, err
	}
	state, err := l.Engine.State(ctx)
	if err != nil {
		return nil, err
	}
	d := &pb.Log{
		Name: l.Name, Origin: l.Origin, Face: l.Face, KeyId: l.KeyID[:], Checkpoint: cp.Note, State: pb.Log_STATE_ACTIVE,
	}
	switch {
	case l.Engine.Health() != nil:
		d.State = pb.Log_STATE_HALTED
	case state.Frozen:
		d.State = pb.Log_STATE_FROZEN
	}
	return d, nil
}
