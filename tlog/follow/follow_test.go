package follow_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/follow"
	"github.com/sigbox/sigbox/tlog/logrpc"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/memstore"
)

// newLog is a running log in memory with its verifier.
func newLog(t testing.TB, options ...func(*tlog.Config)) (*tlog.Engine, *checkpoint.Verifier) {
	t.Helper()
	signer := logtest.Signer(t, logtest.Origin, logtest.Origin)
	log := logtest.New(t, append(options, func(c *tlog.Config) { c.Signer = signer })...)
	return log, signer.Verifier()
}

// start follows a log through a real server.
func start(t testing.TB, log logrpc.Engine, v *checkpoint.Verifier, from follow.State) (b *book, ended <-chan error, cancel func()) {
	t.Helper()
	ln := listen(t, "127.0.0.1:0")
	serve(t, ln, newService(t, log).RegisterGRPC)
	ctx, cancel := context.WithCancel(t.Context())
	b = newBook(from)
	return b, b.run(ctx, follow.Config{Client: dial(t, ln.Addr().String()), Verifier: v}), cancel
}

func TestFollowersStartAnywhere(t *testing.T) {
	log, v := newLog(t)
	const size = 700
	logtest.Fill(t, log, 0, size)
	for _, from := range []int64{0, 1, 2, 255, 256, 257, 511, 512, 600, size - 1, size} {
		t.Run(fmt.Sprint(from), func(t *testing.T) {
			b, ended, cancel := start(t, log, v, follow.From(from))
			b.await(t, size, ended)
			if _, err := log.Append(t.Context(), logtest.Entry(t.Name())); err != nil {
				t.Fatal(err)
			}
			b.await(t, size+1, ended)
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("ended with %v", err)
			}
			b.check(t, log, from)
		})
	}
}

// TestRandomHistories lets followers come and go at any index while entries are appended.
func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log, v := newLog(t)
		ln := listen(t, "127.0.0.1:0")
		stop := serve(t, ln, newService(t, log).RegisterGRPC)
		defer stop()
		client := dial(t, ln.Addr().String())
		size := 0
		var wg sync.WaitGroup
		type one struct {
			*book
			ended  <-chan error
			cancel func()
			from   int64
		}
		var all []one
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			if rapid.Bool().Draw(rt, "append") {
				from, n := size, rapid.IntRange(1, 400).Draw(rt, "entries")
				wg.Go(func() { logtest.Fill(t, log, from, from+n) })
				size += n
				continue
			}
			cp, err := log.Checkpoint(t.Context())
			if err != nil {
				rt.Fatal(err)
			}
			from := rapid.Int64Range(0, cp.Size).Draw(rt, "from")
			ctx, cancel := context.WithCancel(t.Context())
			b := newBook(follow.From(from))
			all = append(all, one{b, b.run(ctx, follow.Config{Client: client, Verifier: v}), cancel, from})
		}
		wg.Wait()
		for _, f := range all {
			f.await(t, int64(size), f.ended)
			f.cancel()
			<-f.ended
			f.check(t, log, f.from)
		}
	})
}

// TestResume ends a follower after every batch and goes on from the state that it saved.
func TestResume(t *testing.T) {
	log, v := newLog(t)
	ln := listen(t, "127.0.0.1:0")
	serve(t, ln, newService(t, log).RegisterGRPC)
	client := dial(t, ln.Addr().String())
	b := newBook(follow.State{})
	enough := errors.New("enough")
	for size := 0; size < 1500; {
		n := 1 + size*7%400
		logtest.Fill(t, log, size, size+n)
		size += n
		for have, _ := b.size(); have < int64(size); have, _ = b.size() {
			err := follow.Run(t.Context(), follow.Config{Client: client, Log: name, Verifier: v, Save: func(ctx context.Context, batch follow.Batch) error {
				return errors.Join(b.save(ctx, batch), enough)
			}}, b.state)
			if !errors.Is(err, enough) {
				t.Fatal(err)
			}
		}
	}
	b.check(t, log, 0)
}

func TestFrozenLogEnds(t *testing.T) {
	for _, when := range []string{"before", "while it waits", "while it catches up"} {
		t.Run(when, func(t *testing.T) {
			store := memstore.New()
			cfg := logtest.Config(t)
			if err := tlog.Create(t.Context(), store, cfg, nil); err != nil {
				t.Fatal(err)
			}
			log := logtest.Open(t, store, cfg)
			logtest.Fill(t, log, 0, 1500)
			freeze := func() {
				if err := log.Freeze(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if when == "before" {
				freeze()
			}
			ln := listen(t, "127.0.0.1:0")
			serve(t, ln, newService(t, log, func(c *logrpc.Config) { c.Heartbeat = 5 * time.Millisecond }).RegisterGRPC)
			b := newBook(follow.State{})
			save := func(ctx context.Context, batch follow.Batch) error {
				if when == "while it catches up" && batch.State.Size < 1500 || when == "while it waits" && batch.State.Size == 1500 {
					freeze()
				}
				return b.save(ctx, batch)
			}
			err := follow.Run(t.Context(), follow.Config{
				Client: dial(t, ln.Addr().String()), Log: name, Verifier: cfg.Signer.Verifier(), Save: save,
			}, follow.State{})
			if err != nil {
				t.Error(err)
			}
			if b.state.Size != 1500 {
				t.Errorf("the follower has %d entries of 1500", b.state.Size)
			}
			b.check(t, log, 0)
		})
	}
}

// TestServerComesBack drains and stops the server, and starts it again on its address.
func TestServerComesBack(t *testing.T) {
	log, v := newLog(t)
	ln := listen(t, "127.0.0.1:0")
	addr := ln.Addr().String()
	service := newService(t, log)
	stop := serve(t, ln, service.RegisterGRPC)
	b := newBook(follow.State{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := b.run(ctx, follow.Config{Client: dial(t, addr), Verifier: v})
	for round := range 5 {
		logtest.Fill(t, log, 100*round, 100*(round+1))
		b.await(t, int64(100*(round+1)), ended)
		service.Drain()
		stop()
		service = newService(t, log)
		stop = serve(t, listen(t, addr), service.RegisterGRPC)
	}
	cancel()
	<-ended
	b.check(t, log, 0)
}

func TestRunEndsWith(t *testing.T) {
	log, v := newLog(t)
	logtest.Fill(t, log, 0, 10)
	ln := listen(t, "127.0.0.1:0")
	serve(t, ln, newService(t, log).RegisterGRPC)
	client := dial(t, ln.Addr().String())
	at10 := newBook(follow.State{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := at10.run(ctx, follow.Config{Client: client, Verifier: v})
	at10.await(t, 10, ended)
	cancel()
	<-ended
	failed := errors.New("disk full")
	behind, _ := newLog(t, func(*tlog.Config) {})
	behindLn := listen(t, "127.0.0.1:0")
	serve(t, behindLn, newService(t, behind).RegisterGRPC)
	damaged := at10.state
	damaged.Range = [][]byte{make([]byte, 32), make([]byte, 32)}
	ok := func(context.Context, follow.Batch) error { return nil }
	for _, c := range []struct {
		name   string
		change func(*follow.Config)
		from   follow.State
		check  func(error) bool
	}{
		{"another log's name", func(c *follow.Config) { c.Log = "other" }, follow.State{}, hasCode(codes.NotFound)},
		{"an index that is not there", nil, follow.From(11), hasCode(codes.OutOfRange)},
		{"the error of Save", func(c *follow.Config) { c.Save = func(context.Context, follow.Batch) error { return failed } }, follow.State{},
			func(err error) bool { return errors.Is(err, failed) }},
		{"a log that is behind for too long", func(c *follow.Config) { c.Client, c.Patience = dial(t, behindLn.Addr().String()), time.Millisecond }, at10.state,
			func(err error) bool { return errors.Is(err, follow.ErrBehind) }},
		{"a state of another log", func(c *follow.Config) { _, c.Verifier = newLog(t) }, at10.state, contains("the saved checkpoint")},
		{"a state whose range is not its checkpoint's", nil, damaged, contains("folds to")},
		{"a state with a range of another size", nil, follow.State{Size: 3, Range: at10.state.Range[:1]}, contains("the saved range")},
		{"a state with a hash cut short", nil, follow.State{Size: 1, Range: [][]byte{{1}}}, contains("a hash of 1 bytes")},
		{"a state beyond its checkpoint", nil, follow.State{Size: 11, Checkpoint: at10.state.Checkpoint}, contains("its checkpoint only 10")},
		{"a negative state", nil, follow.From(-1), contains("size -1")},
		{"no client", func(c *follow.Config) { c.Client = nil }, follow.State{}, contains("are needed")},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := follow.Config{Client: client, Log: name, Verifier: v, Save: ok}
			if c.change != nil {
				c.change(&cfg)
			}
			if err := follow.Run(t.Context(), cfg, c.from); err == nil || !c.check(err) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func hasCode(want codes.Code) func(error) bool {
	return func(err error) bool { return status.Code(err) == want }
}

func contains(want string) func(error) bool {
	return func(err error) bool { return strings.Contains(err.Error(), want) }
}

// TestNothingStaysBehind counts goroutines before followers come and after they went.
func TestNothingStaysBehind(t *testing.T) {
	log, v := newLog(t)
	logtest.Fill(t, log, 0, 300)
	ln := listen(t, "127.0.0.1:0")
	serve(t, ln, newService(t, log).RegisterGRPC)
	client := dial(t, ln.Addr().String())
	visit := func(n int) {
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				b := newBook(follow.State{})
				ctx, cancel := context.WithCancel(t.Context())
				ended := b.run(ctx, follow.Config{Client: client, Verifier: v})
				b.await(t, 300, ended)
				cancel()
				<-ended
			})
		}
		wg.Wait()
	}
	visit(1) // opens the connection
	before := runtime.NumGoroutine()
	visit(50)
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}
