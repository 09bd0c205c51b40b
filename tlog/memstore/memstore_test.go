package memstore_test

import (
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
