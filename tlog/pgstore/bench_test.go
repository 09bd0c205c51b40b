package pgstore_test

import (
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
)

func BenchmarkAppend(b *testing.B) {
	logtest.BenchmarkAppend(b, func(b *testing.B) tlog.Store { return newStore(b) })
}
