//go:build postgres

package main

import (
	"testing"

	"github.com/sigbox/sigbox/internal/pgtest"
)

// TestLogWhileUpRunsOnPostgreSQL is TestLogWhileUpRuns on an instance whose logs are in PostgreSQL.
// The build tag keeps this one test, and not the package, out of the tier without a server.
func TestLogWhileUpRunsOnPostgreSQL(t *testing.T) {
	server := pgtest.Shared(t)
	logWhileUpRuns(t, "--database", server.URL(server.Database(t)))
}
