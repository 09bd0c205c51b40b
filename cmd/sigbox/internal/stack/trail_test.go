package stack

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/sqlstore"
	"github.com/sigbox/sigbox/ca/storetest"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/sqlite"
)

// TestTrail: the records of an instance are read while it runs, and nothing is made where there are none.
func TestTrail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	err := instance.Create(path, "127.0.0.1", instance.SQLite, clock.System{}.Now(), func(d *instance.Dir) error {
		return Create(t.Context(), d, "http://127.0.0.1:1", "", clock.System{}, slog.New(slog.DiscardHandler))
	})
	if err != nil {
		t.Fatal(err)
	}
	_, stop := serve(t, path, "")
	d, err := ReadInstance(path)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), d.File("sigbox.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := sqlstore.NewSQLite(db).Intend(t.Context(), storetest.Intent(7)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	trail, closeTrail, err := OpenTrail(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if n, err := ca.Export(t.Context(), &out, trail, ca.Filter{}); err != nil || n.Records != 1 || !strings.Contains(out.String(), `"serial":"`+strings.Repeat("0", 39)+`7"`) {
		t.Errorf("%+v %v\n%s", n, err, out.String())
	}
	if err := closeTrail(); err != nil {
		t.Error(err)
	}
	stop()
	if err := os.Remove(d.File("sigbox.db")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenTrail(t.Context(), d); err == nil {
		t.Error("opened without a database")
	}
	if _, err := os.Stat(d.File("sigbox.db")); err == nil {
		t.Error("the database was made")
	}
	if _, _, err := OpenConfiguredTrail(t.Context(), &config.Config{}); err == nil || !strings.Contains(err.Error(), "has no section ca") {
		t.Error(err)
	}
}
