package follow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	"github.com/sigbox/sigbox/tlog/checkpoint"
)

// ErrBehind says that the server's head is smaller than one that it, or another replica, has proven
// before, and has stayed so for Config.Patience. The log may have lost entries.
var ErrBehind = errors.New("the server is behind what this follower has verified")

// Config is how a log is followed.
type Config struct {
	Client   pb.LogsClient        // its connection bounds messages: gRPC's default of 4 MiB suffices
	Log      string               // its name in the service
	Verifier *checkpoint.Verifier // its key and origin, from a source other than the server
	// Save keeps the entries of a batch and the state after them, both or none. Its error ends Run.
	Save func(context.Context, Batch) error

	Silence  time.Duration // without any message before the server counts as dead; default 45 s
	Patience time.Duration // with a server that is behind, before ErrBehind; default 2 minutes
	Logger   *slog.Logger  // default: discards
}

const (
	firstPause = 100 * time.Millisecond // before it connects again; then twice as long, and so on
	maxPause   = 10 * time.Second
)

// Run follows a log from a state on until ctx ends. It returns nil when the server says that the log
// is frozen and all of it was saved; a *[Refusal] for what cannot be true; the error of Save; the
// server's status where it will not change by itself; [ErrBehind]; or ctx's error.
func Run(ctx context.Context, c Config, from State) error {
	if c.Client == nil || c.Verifier == nil || c.Save == nil {
		return errors.New("follow: Client, Verifier and Save are needed")
	}
	if c.Silence <= 0 {
		c.Silence = 45 * time.Second
	}
	if c.Patience <= 0 {
		c.Patience = 2 * time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	at, err := open(from, c.Verifier)
	if err != nil {
		return fmt.Errorf("follow log %s: %w", c.Log, err)
	}
	f := &follower{Config: c, at: at}
	if err := f.run(ctx); err != nil {
		return fmt.Errorf("follow log %s: at entry %d: %w", c.Log, f.at.Size, err)
	}
	return nil
}

type follower struct {
	Config
	at     position
	behind time.Time // since when the server has been behind; zero if it is not
	pause  time.Duration
}

func (f *follower) run(ctx context.Context) error {
	for {
		err := f.stream(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if err := f.fatal(err); err != nil {
			return err
		}
		f.pause = min(max(2*f.pause, firstPause), maxPause)
		f.Logger.WarnContext(ctx, "the log's stream ended; connecting again", "log", f.Log, "entry", f.at.Size, "err", err)
		select {
		case <-time.After(f.pause/2 + rand.N(f.pause)): // not a secret
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// final is an error after which connecting again is of no use.
type final struct{ error }

func (e final) Unwrap() error { return e.error }

// fatal returns the error with which a broken stream ends Run, nil if it does not.
func (f *follower) fatal(err error) error {
	var end final
	if errors.As(err, &end) {
		return end.error
	}
	code := status.Code(err)
	if code != codes.OutOfRange {
		f.behind = time.Time{}
	}
	switch code {
	case codes.NotFound, codes.InvalidArgument, codes.FailedPrecondition, codes.Unimplemented,
		codes.PermissionDenied, codes.Unauthenticated, codes.DataLoss:
		return err
	case codes.OutOfRange:
		if f.at.last.Note == nil {
			return err // it was never there
		}
		if f.behind.IsZero() {
			f.behind = time.Now()
		}
		if time.Since(f.behind) >= f.Patience {
			return fmt.Errorf("%w, for %v: %w", ErrBehind, f.Patience, err)
		}
	}
	return nil
}

// stream follows until the stream ends.
func (f *follower) stream(run context.Context) error {
	ctx, cancel := context.WithCancelCause(run)
	defer cancel(nil)
	silent := time.AfterFunc(f.Silence, func() { cancel(fmt.Errorf("no message for %v", f.Silence)) })
	defer silent.Stop()
	s, err := f.Client.Follow(ctx, &pb.FollowRequest{Log: f.Log, Start: f.at.Size, OldSize: f.at.last.Size})
	if err != nil {
		return err
	}
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("the stream ended without a word")
		}
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		silent.Stop() // saving may take its time
		if err := f.take(run, m); err != nil || m.GetFinal() {
			return err
		}
		silent.Reset(f.Silence)
	}
}

// take verifies a message and has it saved.
func (f *follower) take(ctx context.Context, m *pb.FollowResponse) error {
	next, err := f.at.advance(m, f.Verifier)
	if err != nil {
		return final{err}
	}
	f.pause, f.behind = 0, time.Time{}
	if f.at.last.Note != nil && next.Size == f.at.Size && next.last.Size == f.at.last.Size {
		return nil // a heartbeat
	}
	if err := f.Save(ctx, Batch{Entries: m.GetEntries(), State: next.State}); err != nil {
		return final{fmt.Errorf("save entries [%d, %d): %w", f.at.Size, next.Size, err)}
	}
	f.at = next
	return nil
}
