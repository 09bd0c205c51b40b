package logrpc

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	"github.com/sigbox/sigbox/tlog"
)

// Follow streams a log.
func (s *Server) Follow(req *pb.FollowRequest, stream pb.Logs_FollowServer) error {
	ctx := stream.Context()
	l, err := s.log(req.GetLog())
	if err != nil {
		return s.refuse(ctx, err)
	}
	select {
	case s.followers <- struct{}{}:
		defer func() { <-s.followers }()
	default:
		return s.refuse(ctx, status.Errorf(codes.ResourceExhausted, "%d followers are as many as this server takes: retry later, or at another replica", cap(s.followers)))
	}
	f := &follower{server: s, log: l, next: req.GetStart(), shown: req.GetOldSize()}
	err = f.run(ctx, stream.Send)
	switch { // how streams end every day is not worth a line
	case err == nil:
		return nil
	case s.drained() != nil:
		return s.drained()
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	}
	return s.refuse(ctx, err)
}

// follower is one stream.
type follower struct {
	server *Server
	log    *served
	next   int64 // index of the entry that is sent next
	shown  int64 // size of the last checkpoint that the client has
}

// run sends until the stream ends. A nil error is the end of a frozen log.
func (f *follower) run(ctx context.Context, send func(*pb.FollowResponse) error) error {
	m, head, err := f.begin(ctx)
	if err != nil {
		return err
	}
	for {
		if err := send(m); err != nil || m.Final {
			return err
		}
		if f.next == head {
			if err := f.wait(ctx); err != nil {
				return err
			}
		} else if err := f.server.drained(); err != nil {
			return err
		}
		if m, head, err = f.message(ctx); err != nil {
			return err
		}
	}
}

// begin checks what the client asks for and makes the first message.
func (f *follower) begin(ctx context.Context) (*pb.FollowResponse, int64, error) {
	if err := f.server.drained(); err != nil {
		return nil, 0, err
	}
	cp, err := f.log.Engine.Checkpoint(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, n := range []number{{"start", f.next}, {"old_size", f.shown}} {
		if err := n.within(cp.Size, cp.Size); err != nil {
			return nil, 0, err
		}
	}
	edge, err := tlog.CompactRange(ctx, f.log.Engine, f.next)
	if err != nil {
		return nil, 0, err
	}
	m, head, err := f.message(ctx)
	if err != nil {
		return nil, 0, err
	}
	m.Range = edge
	return m, head, nil
}

// message makes the next message and moves on. It returns the size of the message's checkpoint too.
func (f *follower) message(ctx context.Context) (_ *pb.FollowResponse, head int64, err error) {
	state, err := f.log.Engine.State(ctx) // before the checkpoint, which is the last one then
	if err != nil {
		return nil, 0, err
	}
	cp, err := f.log.Engine.Checkpoint(ctx)
	if err != nil {
		return nil, 0, err
	}
	m := &pb.FollowResponse{First: f.next, Checkpoint: cp.Note}
	if m.Entries, err = f.log.source.read(ctx, f.next, cp.Size); err != nil {
		return nil, 0, err
	}
	f.next += int64(len(m.Entries))
	if m.Prefix, err = f.log.consistency(ctx, f.next, cp.Size); err != nil {
		return nil, 0, err
	}
	if m.Consistency, err = f.log.consistency(ctx, f.shown, cp.Size); err != nil {
		return nil, 0, err
	}
	f.shown = cp.Size
	m.Final = state.Frozen && f.next == cp.Size
	return m, cp.Size, nil
}

// wait returns when there is something to send, or when it is time for a heartbeat.
func (f *follower) wait(ctx context.Context) error {
	if err := f.sleep(ctx, f.server.pace, nil); err != nil {
		return err
	}
	return f.sleep(ctx, f.server.heartbeat-f.server.pace, f.log.Engine.Changed(f.next))
}

// sleep returns after d, when news come, or with an error when the stream must end.
func (f *follower) sleep(ctx context.Context, d time.Duration, news <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-news:
	case <-ctx.Done():
		return ctx.Err()
	case <-f.server.draining:
		return f.server.drained()
	}
	return nil
}

// drained is the error of streams while the server shuts down, nil before.
func (s *Server) drained() error {
	select {
	case <-s.draining:
		return status.Error(codes.Unavailable, "the server is shutting down: call again, from where you are")
	default:
		return nil
	}
}
