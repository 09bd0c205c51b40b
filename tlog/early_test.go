package tlog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// TestAppendEarly: who asks to be told early is told when the entry is in the store. Nobody is shown it
// before the guard holds it, and it is shown when Append would have returned.
func TestAppendEarly(t *testing.T) {
	guard := &fakeGuard{}
	sent, move := make(chan bool), make(chan bool)
	log := logtest.New(t, func(c *tlog.Config) {
		c.Guard = guard
		c.Hook = func(point string) error {
			if point == tlog.PointGuardSent {
				sent <- true
				<-move
			}
			return nil
		}
	})
	entry := logtest.Entry("early")
	type answer struct {
		tlog.Receipt
		shown func(context.Context) error
		err   error
	}
	answers := make(chan answer)
	go func() {
		r, shown, err := log.AppendEarly(t.Context(), entry)
		answers <- answer{r, shown, err}
	}()
	<-sent
	a := <-answers
	if a.err != nil || a.Duplicate || a.Leaf.Index != 0 || a.Checkpoint.Size != 1 {
		t.Fatalf("%+v, %v", a.Receipt, a.err)
	}
	if err := logtest.VerifyInclusion(0, 1, a.Leaf.Hash, a.Proof, a.Checkpoint.Root); err != nil {
		t.Error(err)
	}
	if cp, err := log.Checkpoint(t.Context()); err != nil || cp.Size != 0 {
		t.Errorf("size %d is shown, %v", cp.Size, err)
	}
	if _, err := log.Leaf(t.Context(), 0); !errors.Is(err, tlog.ErrNotFound) {
		t.Errorf("the leaf: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := a.shown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shown before the guard has moved: %v", err)
	}
	move <- true
	if err := a.shown(t.Context()); err != nil {
		t.Error(err)
	}
	if cp, err := log.Checkpoint(t.Context()); err != nil || cp.Checkpoint != a.Checkpoint.Checkpoint {
		t.Errorf("size %d is shown, %v", cp.Size, err)
	}
	r, shown, err := log.AppendEarly(t.Context(), entry)
	if err != nil || !r.Duplicate || r.Leaf.Index != 0 || shown(t.Context()) != nil {
		t.Errorf("the same again: %+v, %v", r, err)
	}
}

// TestAppendEarlyBrokenGuard: what the guard does not hold is never shown, and who was told early hears of it.
func TestAppendEarlyBrokenGuard(t *testing.T) {
	guard := &fakeGuard{}
	log := logtest.New(t, func(c *tlog.Config) { c.Guard = guard })
	guard.broken.Store(true)
	r, shown, err := log.AppendEarly(t.Context(), logtest.Entry("durable"))
	if err != nil || r.Leaf.Index != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := shown(t.Context()); !errors.Is(err, tlog.ErrUnavailable) || !errors.Is(err, errGuard) {
		t.Errorf("shown: %v", err)
	}
	// No new history: this one is in no store.
	if r, _, err := log.AppendEarly(t.Context(), logtest.Entry("next")); !errors.Is(err, tlog.ErrUnavailable) {
		t.Errorf("%+v, %v", r, err)
	}
}
