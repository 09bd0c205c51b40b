package sqlitestore_test

import (
	"path/filepath"
	"testing"

	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/migrations"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/sqlitestore"
)

func openDB(t testing.TB, path string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := migrations.ApplySQLite(t.Context(), db.Writer(), "tlog"); err != nil {
		t.Fatal(err)
	}
	return db
}

func openStore(t testing.TB, db *sqlite.DB, name string) *sqlitestore.Store {
	t.Helper()
	s, err := sqlitestore.Open(t.Context(), db, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newDB(t testing.TB) *sqlite.DB { return openDB(t, filepath.Join(t.TempDir(), "log.db")) }

func TestLog(t *testing.T) {
	logtest.Run(t, func(t testing.TB, options ...func(*tlog.Config)) tlog.Log {
		store, cfg := openStore(t, newDB(t), "test"), logtest.Config(t, options...)
		if err := tlog.Create(t.Context(), store, cfg, nil); err != nil {
			t.Fatal(err)
		}
		return logtest.Open(t, store, cfg)
	})
}
