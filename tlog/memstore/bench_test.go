package memstore_test

import (
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/memstore"
)

func BenchmarkAppend(b *testing.B) {
	logtest.BenchmarkAppend(b, func(*testing.B) tlog.Store { return memstore.New() })
}
