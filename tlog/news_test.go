package tlog_test

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/memstore"
)

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestChanged(t *testing.T) {
	log := logtest.New(t)
	if !isClosed(log.Changed(-1)) {
		t.Error("the head is larger than -1, and nobody is told")
	}
	first, second := log.Changed(0), log.Changed(0)
	later := log.Changed(1)
	if isClosed(first) || isClosed(later) {
		t.Fatal("told of a head that is not there")
	}
	logtest.Fill(t, log, 0, 1)
	for i, c := range []<-chan struct{}{first, second, log.Changed(0)} {
		if !isClosed(c) {
			t.Errorf("waiter %d is not told of the head", i)
		}
	}
	if isClosed(log.Changed(1)) {
		t.Error("told of a second head")
	}
}

// TestChangedOfAnotherProcess has one engine append and another one, over the same rows, publish.
func TestChangedOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, cfg := memstore.New(), logtest.Config(t, func(c *tlog.Config) { c.Poll = 1e9 })
		create(t, store, cfg)
		writer, reader := logtest.Open(t, store, cfg), logtest.Open(t, store, cfg)
		news := reader.Changed(0)
		logtest.Fill(t, writer, 0, 3)
		<-news
		if cp, err := reader.Checkpoint(t.Context()); err != nil || cp.Size != 3 {
			t.Errorf("told at size %d, %v", cp.Size, err)
		}
	})
}

func TestFrozen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, cfg := memstore.New(), logtest.Config(t)
		create(t, store, cfg)
		writer, reader := logtest.Open(t, store, cfg), mustOpen(t, store, cfg)
		logtest.Fill(t, writer, 0, 3)
		check := func(what string, log *tlog.Engine, want bool) {
			t.Helper()
			time.Sleep(time.Second) // of the bubble
			if state, err := log.State(t.Context()); err != nil || state.Frozen != want {
				t.Errorf("%s: %+v, %v", what, state, err)
			}
		}
		check("before", writer, false)
		if err := writer.Freeze(t.Context()); err != nil {
			t.Fatal(err)
		}
		check("after", writer, true)
		check("where the last head is not published yet", reader, false)
	})
}

func TestCompactRange(t *testing.T) {
	log := logtest.New(t)
	const size = 600 // two full tiles of level 0 and a partial one
	logtest.Fill(t, log, 0, size)
	for n := range int64(size + 1) {
		hashes, err := tlog.CompactRange(t.Context(), log, n)
		if err != nil {
			t.Fatal(err)
		}
		r, err := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewRange(0, uint64(n), hashes)
		if err != nil {
			t.Fatal(err)
		}
		have, err := r.GetRootHash(nil)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := log.Root(t.Context(), n); err != nil || n > 0 && string(have) != string(want[:]) {
			t.Errorf("size %d: %d hashes fold to %x, the root is %x, %v", n, len(hashes), have, want, err)
		}
	}
	for _, n := range []int64{-1, size + 1, math.MaxInt64, math.MinInt64} {
		if _, err := tlog.CompactRange(t.Context(), log, n); !errors.Is(err, tlog.ErrRange) {
			t.Errorf("size %d: %v", n, err)
		}
	}
}
