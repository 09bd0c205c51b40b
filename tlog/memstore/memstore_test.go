package memstore_test

import (
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
)

func TestLog(t *testing.T) {
	logtest.Run(t, func(t testing.TB, options ...func(*tlog.Config)) tlog.Log { return logtest.New(t, options...) })
}
