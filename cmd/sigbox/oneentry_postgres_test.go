//go:build postgres

package main

import (
	"testing"

	"github.com/sigbox/sigbox/internal/pgtest"
)

// TestOneEntryAndKillsOnPostgreSQL is TestOneEntryAndKills where the logs are in PostgreSQL: of `sigbox up`, and of
// a replica of `sigbox serve`.
func TestOneEntryAndKillsOnPostgreSQL(t *testing.T) {
	t.Run("up", func(t *testing.T) {
		server := pgtest.Shared(t)
		data, listen := newData(t), freeAddr(t)
		oneEntryUp(t, data, "--data", data, "--listen", listen, "--database", server.URL(server.Database(t)))
	})
	t.Run("serve", func(t *testing.T) {
		s := runningSite(t)
		file := s.config(t)
		o := &oneEntry{run: s.serve(t, file), again: func() *instanceRun { return s.serve(t, file) }}
		o.url = o.run.url
		o.v1, o.v2 = s.verifiers(t)
		o.rounds(t)
	})
}
