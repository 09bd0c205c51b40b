package sqlstore

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/migrations"
	"github.com/sigbox/sigbox/tuf/storetest"
)

// tuftest builds on this package, so its own tests stand without it.
func open(t testing.TB, path string) *sqlite.DB {
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
	if err := migrations.ApplySQLite(t.Context(), db.Writer(), "tuf"); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Fixture {
		path := filepath.Join(t.TempDir(), "db")
		db := open(t, path)
		s := New(db)
		none := s.fault
		return storetest.Fixture{
			Store:   s,
			Another: func(t testing.TB) storetest.Store { return New(open(t, path)) },
			Stop: func(_ testing.TB, point string) func() {
				s.fault = func(p string) error {
					if p == point {
						return errors.New("stop")
					}
					return nil
				}
				return func() { s.fault = none }
			},
			Exec: func(t testing.TB, statement string) {
				t.Helper()
				if _, err := db.Writer().ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}
