package tlog_test

import (
	"context"
	"errors"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
)

type next = func(context.Context, []tlog.Log) ([]tlog.Log, error)

// frozenChain is a chain of one log that is frozen.
func frozenChain(t *testing.T, n next) (*tlog.Chain[tlog.Log], *tlog.Engine) {
	t.Helper()
	log := logtest.New(t)
	if err := log.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	return tlog.NewChain([]tlog.Log{log}, func(l tlog.Log) tlog.Log { return l }, n), log
}

// TestChainAppends: an entry that meets a frozen log goes to the one that goes on for it, or is told why not.
func TestChainAppends(t *testing.T) {
	away := errors.New("away")
	for name, tc := range map[string]struct {
		next func(*testing.T) next
		want error
	}{
		"goes on": {func(t *testing.T) next {
			fresh := logtest.New(t)
			return func(_ context.Context, list []tlog.Log) ([]tlog.Log, error) { return []tlog.Log{list[0], fresh}, nil }
		}, nil},
		"goes on twice": {func(t *testing.T) next {
			between, fresh := logtest.New(t), logtest.New(t)
			if err := between.Freeze(t.Context()); err != nil {
				t.Fatal(err)
			}
			return func(_ context.Context, list []tlog.Log) ([]tlog.Log, error) {
				if len(list) == 1 {
					return []tlog.Log{list[0], between}, nil
				}
				return []tlog.Log{list[0], list[1], fresh}, nil
			}
		}, nil},
		"nothing goes on": {func(*testing.T) next {
			return func(context.Context, []tlog.Log) ([]tlog.Log, error) { return nil, nil }
		}, tlog.ErrFrozen},
		"nobody to ask": {func(*testing.T) next { return nil }, tlog.ErrFrozen},
		"cannot be had": {func(*testing.T) next {
			return func(context.Context, []tlog.Log) ([]tlog.Log, error) { return nil, away }
		}, away},
	} {
		t.Run(name, func(t *testing.T) {
			c, first := frozenChain(t, tc.next(t))
			sh, receipt, err := c.Append(t.Context(), logtest.Entry("late"))
			if !errors.Is(err, tc.want) || tc.want != nil && len(c.List()) != 1 {
				t.Fatalf("%d shards, %v", len(c.List()), err)
			}
			if tc.want == nil && (sh == tlog.Log(first) || sh != c.Last() || receipt.Leaf.Index != 0) {
				t.Errorf("appended to %p at %d, the last of %d is %p", sh, receipt.Leaf.Index, len(c.List()), c.Last())
			}
		})
	}
}

// TestChainGivesUp: who waits while another one makes the chain longer waits no longer than its context.
func TestChainGivesUp(t *testing.T) {
	asked, answered := make(chan struct{}), make(chan struct{})
	fresh := logtest.New(t)
	c, _ := frozenChain(t, func(_ context.Context, list []tlog.Log) ([]tlog.Log, error) {
		close(asked) // a second call would panic
		<-answered
		return []tlog.Log{list[0], fresh}, nil
	})
	first := make(chan error, 1)
	go func() {
		_, _, err := c.Append(context.WithoutCancel(t.Context()), logtest.Entry("first"))
		first <- err
	}()
	<-asked
	gone, leave := context.WithCancel(t.Context())
	leave()
	for name, ask := range map[string]func() error{
		"Grow":    func() error { _, err := c.Grow(gone, c.List()); return err },
		"Advance": func() error { return c.Advance(gone) },
	} {
		if err := ask(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	close(answered)
	if err := <-first; err != nil {
		t.Errorf("the one that was not gone: %v", err)
	}
	if longer, err := c.Grow(t.Context(), c.List()[:1]); !longer || err != nil {
		t.Errorf("after it is longer: %v, %v", longer, err)
	}
}
