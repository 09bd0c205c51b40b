package pgstore_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// TestStatementsPerBatch has the server count: a batch of 200 entries costs as many statements, and
// so no more round trips, as a batch of one. The receipts cost none.
func TestStatementsPerBatch(t *testing.T) {
	server := pgtest.Start(t, "shared_preload_libraries=pg_stat_statements")
	name := newDatabase(t, server)
	server.Exec(t, name, "CREATE EXTENSION pg_stat_statements")
	store, cfg := openStore(t, openDB(t, server.URL(name)), "test"), logtest.Config(t)
	if err := tlog.Create(t.Context(), store, cfg, []tlog.Entry{logtest.Numbered(0)}); err != nil {
		t.Fatal(err)
	}
	statements := func(from, to int) (n int64) {
		log, err := tlog.Open(t.Context(), store, cfg)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		for i := from; i < to; i++ {
			go func() {
				r, err := log.Append(context.Background(), logtest.Numbered(i))
				if err == nil {
					err = logtest.CheckReceipt(r)
				}
				done <- err
			}()
		}
		for log.Pending() < to-from {
			runtime.Gosched()
		}
		watch := server.Connect(t, name)
		exec(t, watch, "SELECT pg_stat_statements_reset()")
		stop := logtest.Start(t, log) // with all of them in the queue: one batch
		for i := from; i < to; i++ {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		err = watch.QueryRow(t.Context(), "SELECT sum(calls) FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%'").Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	statements(1, 2) // prepares
	one, many := statements(2, 3), statements(3, 203)
	if one == 0 || many != one {
		t.Errorf("a batch of one entry costs %d statements, one of 200 entries %d", one, many)
	}
	t.Logf("%d statements", many)
}
