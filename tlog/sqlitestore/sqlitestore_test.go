package sqlitestore_test

import (
	"encoding/binary"
	"path/filepath"
	"testing"

	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/migrations"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/sqlitestore"
	"github.com/sigbox/sigbox/tlog/storetest"
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

func TestStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Fixture {
		return fixture(t, filepath.Join(t.TempDir(), "log.db"))
	})
}

func fixture(t testing.TB, path string) storetest.Fixture {
	db := openDB(t, path)
	s := openStore(t, db, "test")
	return storetest.Fixture{
		Store:   s,
		UseHook: s.UseHook,
		Another: func(t testing.TB) tlog.Store { return openStore(t, openDB(t, path), "test") },
		Backup: func(t testing.TB) storetest.Fixture {
			backup := filepath.Join(t.TempDir(), "backup.db")
			mustExec(t, db, "VACUUM INTO ?", backup)
			return fixture(t, backup)
		},
		Tamper: func(t testing.TB, at storetest.Cell, change func([]byte) []byte) { tamper(t, db, at, change) },
	}
}

func mustExec(t testing.TB, db *sqlite.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Writer().ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// tamper changes a value as someone with the file could, who first drops what is in the way.
func tamper(t testing.TB, db *sqlite.DB, at storetest.Cell, change func([]byte) []byte) {
	t.Helper()
	for _, name := range triggers(t, db) {
		mustExec(t, db, "DROP TRIGGER "+name)
	}
	mustExec(t, db, "PRAGMA foreign_keys = 0")
	where := map[string]string{
		"tlog_leaf": "idx = ?2", "tlog_key": "idx = ?2", "attestation": "idx = ?2", "tlog_tile": "level = ?1 AND n = ?2", "tlog_head": "?1 = ?1 AND ?2 = ?2",
	}[at.Table]
	var old any
	if err := db.Writer().QueryRowContext(t.Context(), "SELECT "+at.Column+" FROM "+at.Table+" WHERE "+where, at.Level, at.N).Scan(&old); err != nil {
		t.Fatal(err)
	}
	number, isNumber := old.(int64)
	if isNumber {
		old = binary.BigEndian.AppendUint64(nil, uint64(number))
	}
	changed := change(old.([]byte))
	switch {
	case changed == nil:
		mustExec(t, db, "DELETE FROM "+at.Table+" WHERE "+where, at.Level, at.N)
	case isNumber:
		mustExec(t, db, "UPDATE "+at.Table+" SET "+at.Column+" = ?3 WHERE "+where, at.Level, at.N, int64(binary.BigEndian.Uint64(changed)))
	default:
		mustExec(t, db, "UPDATE "+at.Table+" SET "+at.Column+" = ?3 WHERE "+where, at.Level, at.N, changed)
	}
}

func triggers(t testing.TB, db *sqlite.DB) (names []string) {
	t.Helper()
	rows, err := db.Writer().QueryContext(t.Context(), "SELECT name FROM sqlite_master WHERE type = 'trigger'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return names
}
