package sqlstore_test

import (
	"path/filepath"
	"testing"

	"github.com/sigbox/sigbox/ca/sqlstore"
	"github.com/sigbox/sigbox/ca/storetest"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/migrations"
)

func open(t testing.TB, path string) *sqlstore.SQLite {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := migrations.ApplySQLite(t.Context(), db.Writer(), "ca"); err != nil {
		t.Fatal(err)
	}
	return sqlstore.NewSQLite(db)
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Fixture {
		path := filepath.Join(t.TempDir(), "ca.db")
		return storetest.Fixture{Store: open(t, path), Reopen: func(t testing.TB) storetest.Store { return open(t, path) }}
	})
}
