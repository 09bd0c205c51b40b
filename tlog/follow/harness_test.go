package follow_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/follow"
	"github.com/sigbox/sigbox/tlog/logrpc"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// name of the log in the service.
const name = "test"

// listen returns a listener on a free port of loopback, or on an address that was used before.
func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// serve runs a gRPC server until the test ends or stop is called.
func serve(t testing.TB, ln net.Listener, register func(grpc.ServiceRegistrar)) (stop func()) {
	t.Helper()
	s := grpc.NewServer()
	register(s)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	stop = sync.OnceFunc(func() {
		s.Stop()
		if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// newService is the real service over one log.
func newService(t testing.TB, log logrpc.Engine, options ...func(*logrpc.Config)) *logrpc.Server {
	t.Helper()
	c := logrpc.Config{
		Logs: []logrpc.Log{{Name: name, Origin: logtest.Origin, Face: "test", Engine: log}},
		Pace: time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	}
	for _, o := range options {
		o(&c)
	}
	s, err := logrpc.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func dial(t testing.TB, addr string) pb.LogsClient {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return pb.NewLogsClient(conn)
}

// book is where a follower of the test keeps what it gets.
type book struct {
	mu      sync.Mutex
	entries []*pb.Entry
	state   follow.State
	changed chan struct{} // closed and made anew at every change
}

func newBook(from follow.State) *book { return &book{state: from, changed: make(chan struct{})} }

func (b *book) save(_ context.Context, batch follow.Batch) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries, b.state = append(b.entries, batch.Entries...), batch.State
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

func (b *book) size() (int64, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state.Size, b.changed
}

// await waits until the book has passed so many entries.
func (b *book) await(t testing.TB, size int64, ended <-chan error) {
	t.Helper()
	for {
		have, changed := b.size()
		if have >= size {
			return
		}
		select {
		case <-changed:
		case err := <-ended:
			t.Fatalf("the follower ended at %d: %v", have, err)
		case <-time.After(time.Minute):
			t.Fatalf("the follower has %d entries after a minute, want %d", have, size)
		}
	}
}

// run follows into a book. The channel has what Run returned.
func (b *book) run(ctx context.Context, c follow.Config) <-chan error {
	c.Log, c.Save = name, b.save
	ended := make(chan error, 1)
	state := b.state
	go func() { ended <- follow.Run(ctx, c, state) }()
	return ended
}

// check compares a book that was begun at an index with the log.
func (b *book) check(t testing.TB, log tlog.Log, from int64) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if int64(len(b.entries)) != b.state.Size-from {
		t.Errorf("%d entries from %d on, and a size of %d", len(b.entries), from, b.state.Size)
	}
	for i := 0; i < len(b.entries); i += 100 {
		end := min(i+100, len(b.entries))
		leaves, err := log.Leaves(t.Context(), from+int64(i), from+int64(end))
		if err != nil || len(leaves) != end-i {
			t.Fatalf("%d leaves, %v", len(leaves), err)
		}
		for j, l := range leaves {
			if e := b.entries[i+j]; e.Index != l.Index || string(e.Leaf) != string(l.Data) || e.TimeMs != l.TimeMS {
				t.Fatalf("entry %d: %v, the log has %+v", l.Index, e, l)
			}
		}
	}
}
