package memstore_test

import (
	"errors"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/memstore"
	"github.com/sigbox/sigbox/tlog/storetest"
)

func TestLog(t *testing.T) {
	logtest.Run(t, func(t testing.TB, options ...func(*tlog.Config)) tlog.Log { return logtest.New(t, options...) })
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(testing.TB) storetest.Fixture { return fixture(memstore.New()) })
}

func fixture(s *memstore.Store) storetest.Fixture {
	return storetest.Fixture{
		Store:   s,
		UseHook: s.UseHook,
		Another: func(testing.TB) tlog.Store { return s },
		Backup:  func(testing.TB) storetest.Fixture { return fixture(s.Clone()) },
		Tamper: func(t testing.TB, at storetest.Cell, change func([]byte) []byte) {
			if err := s.Tamper(memstore.Cell(at), change); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// TestEveryByte flips a bit in every byte of what is stored of small logs, and in some bytes of
// the tiles of a larger one. Each is noticed when the log is opened or read.
func TestEveryByte(t *testing.T) {
	cells := func(n int64) (list []storetest.Cell) {
		list = append(list, storetest.Cell{Table: "tlog_head", Column: "root"}, storetest.Cell{Table: "tlog_head", Column: "checkpoint"})
		for i := range n {
			list = append(list, storetest.Cell{Table: "tlog_leaf", N: i, Column: "data"}, storetest.Cell{Table: "tlog_leaf", N: i, Column: "leaf_hash"})
		}
		return list
	}
	for n := range int64(18) {
		flipAll(t, n+1, cells(n+1), 1)
	}
	flipAll(t, 600, []storetest.Cell{
		{Table: "tlog_tile", N: 0, Column: "hashes"}, {Table: "tlog_tile", N: 1, Column: "hashes"},
		{Table: "tlog_tile", N: 0, Column: "root"}, {Table: "tlog_tile", N: 1, Column: "root"},
	}, 41)
}

func flipAll(t *testing.T, n int64, cells []storetest.Cell, step int) {
	t.Helper()
	store, cfg := memstore.New(), logtest.Config(t)
	var seeds []tlog.Entry
	for i := range n {
		seeds = append(seeds, logtest.Numbered(int(i)))
	}
	if err := tlog.Create(t.Context(), store, cfg, seeds); err != nil {
		t.Fatal(err)
	}
	flip := func(c storetest.Cell, i int) (more bool) {
		err := store.Tamper(memstore.Cell(c), func(b []byte) []byte {
			if more = i < len(b); more {
				b[i] ^= 1 << (i % 8)
			}
			return b
		})
		if err != nil {
			t.Fatal(err)
		}
		return more
	}
	for _, c := range cells {
		for i := 0; flip(c, i); i += step {
			if err := readLog(t, store, cfg, n); !errors.Is(err, tlog.ErrCorrupt) {
				t.Errorf("%d leaves, %+v, byte %d: %v", n, c, i, err)
			}
			flip(c, i)
		}
	}
	if err := readLog(t, store, cfg, n); err != nil {
		t.Errorf("%d leaves, undamaged: %v", n, err)
	}
}

func readLog(t *testing.T, store tlog.Store, cfg tlog.Config, n int64) error {
	log, err := tlog.Open(t.Context(), store, cfg)
	if err != nil {
		return err
	}
	_, err = log.Leaves(t.Context(), 0, n)
	return err
}
