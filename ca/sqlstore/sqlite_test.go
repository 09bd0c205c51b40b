package sqlstore_test

import (
	"path/filepath"
	"reflect"
	"testing"

	"github.com/sigbox/sigbox/ca"
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

// TestUpgrade: a database of the first version keeps its records, which name no rules.
func TestUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.db")
	if err := open(t, path).Intend(t.Context(), storetest.Intent(1)); err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{ // back to where it came from
		"ALTER TABLE ca_issuance DROP COLUMN rules", "ALTER TABLE ca_issuance DROP COLUMN rules_sha256", "DELETE FROM sigbox_ca_version WHERE version_id > 1",
	} {
		if _, err := db.Writer().ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if err := s.Intend(t.Context(), storetest.Granted(2, "main only")); err != nil {
		t.Fatal(err)
	}
	var got []ca.Grant
	for _, r := range storetest.All(t, s) {
		got = append(got, r.Grant)
	}
	if want := []ca.Grant{{}, storetest.Granted(2, "main only").Grant}; !reflect.DeepEqual(got, want) {
		t.Errorf("on record %+v, want %+v", got, want)
	}
}
