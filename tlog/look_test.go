package tlog_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/memstore"
)

// TestReach has one replica answer for what another one acknowledged a moment ago, long before it would
// have looked by itself.
func TestReach(t *testing.T) {
	const soon, poll = 100 * time.Millisecond, time.Hour
	for name, ask := range map[string]func(t *testing.T, log *tlog.Engine, last tlog.Leaf) error{
		"leaf": func(t *testing.T, log *tlog.Engine, last tlog.Leaf) error {
			_, err := log.Leaf(t.Context(), last.Index)
			return err
		},
		"identity": func(t *testing.T, log *tlog.Engine, _ tlog.Leaf) error {
			_, err := log.Find(t.Context(), logtest.Numbered(2).Identity())
			return err
		},
		"inclusion": func(t *testing.T, log *tlog.Engine, last tlog.Leaf) error {
			_, err := log.Inclusion(t.Context(), 0, last.Index+1)
			return err
		},
		"consistency": func(t *testing.T, log *tlog.Engine, last tlog.Leaf) error {
			_, err := log.Consistency(t.Context(), 0, last.Index+1)
			return err
		},
		"root": func(t *testing.T, log *tlog.Engine, last tlog.Leaf) error {
			_, err := log.Root(t.Context(), last.Index+1)
			return err
		},
		"latest": func(t *testing.T, log *tlog.Engine, last tlog.Leaf) error {
			cp, timeMS, err := log.Latest(t.Context())
			if err == nil && (cp.Size != last.Index+1 || timeMS != last.TimeMS) {
				return fmt.Errorf("%d entries of %d, time %d", cp.Size, last.Index+1, timeMS)
			}
			return err
		},
		"tile": func(t *testing.T, log *tlog.Engine, last tlog.Leaf) error {
			_, err := log.Tile(t.Context(), 0, 0, int(last.Index+1))
			return err
		},
		"leaves": func(t *testing.T, log *tlog.Engine, last tlog.Leaf) error {
			if l, err := log.Leaves(t.Context(), 0, last.Index+1); err != nil || len(l) != int(last.Index+1) {
				return errors.Join(errors.New("too few leaves"), err)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, cfg := memstore.New(), logtest.Config(t, func(c *tlog.Config) { c.Poll = poll })
				create(t, store, cfg)
				writer, reader := logtest.Open(t, store, cfg), logtest.Open(t, store, cfg)
				logtest.Fill(t, writer, 0, 3)
				started := time.Now()
				last, err := writer.Leaf(t.Context(), 2)
				if err == nil {
					err = ask(t, reader, last)
				}
				if took := time.Since(started); err != nil || took > soon {
					t.Errorf("asked of the other replica: %v after %s", err, took)
				}
			})
		})
	}
}

// TestLatestWhileAway: the published head is shown while the database does not answer, or says that it cannot.
func TestLatestWhileAway(t *testing.T) {
	for name, fail := range map[string]func(context.Context) error{
		"silent":  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"refuses": func(context.Context) error { return errors.New("the database is away") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &away{Store: memstore.New()}
				cfg := logtest.Config(t, func(c *tlog.Config) { c.Poll = time.Hour })
				create(t, store, cfg)
				log := logtest.Open(t, store, cfg)
				logtest.Fill(t, log, 0, 3)
				store.fail.Store(&fail)
				started := time.Now()
				cp, _, err := log.Latest(t.Context())
				if took := time.Since(started); err != nil || cp.Size != 3 || took > 2*time.Second {
					t.Errorf("%d entries after %s: %v", cp.Size, took, err)
				}
			})
		})
	}
}

// away is a store whose head cannot be had.
type away struct {
	tlog.Store
	fail atomic.Pointer[func(context.Context) error]
}

func (a *away) Head(ctx context.Context) (tlog.Head, error) {
	if fail := a.fail.Load(); fail != nil {
		return tlog.Head{}, (*fail)(ctx)
	}
	return a.Store.Head(ctx)
}

// TestReachTooFar asks for what nobody wrote: the answer does not take long, and those who ask at
// once share a look.
func TestReachTooFar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counted{Store: memstore.New()}
		cfg := logtest.Config(t, func(c *tlog.Config) { c.Poll = time.Hour })
		create(t, store, cfg)
		log := logtest.Open(t, store, cfg)
		before := store.heads.Load()
		started := time.Now()
		done := make(chan error)
		const readers, rounds = 50, 10
		for range readers {
			go func() {
				for range rounds {
					if _, err := log.Leaf(t.Context(), math.MaxInt64-1); !errors.Is(err, tlog.ErrNotFound) {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range readers {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		took := time.Since(started)
		if took > time.Second {
			t.Errorf("%d questions one after the other took %s", rounds, took)
		}
		if n := store.heads.Load() - before; n > rounds+2 {
			t.Errorf("%d readers with %d questions each made %d queries", readers, rounds, n)
		}
	})
}

// counted counts the looks at the head.
type counted struct {
	tlog.Store
	heads atomic.Int64
}

func (c *counted) Head(ctx context.Context) (tlog.Head, error) {
	c.heads.Add(1)
	return c.Store.Head(ctx)
}
