package migrations_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/migrations"
)

var schemas = []string{"ca", "tlog", "tuf"}

func open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "sigbox.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db.Writer()
}

// snapshot returns the whole schema and what the version tables hold.
func snapshot(t *testing.T, db *sql.DB) string {
	t.Helper()
	parts := column(t, db, "SELECT coalesce(sql, name) FROM sqlite_master ORDER BY name")
	for _, table := range column(t, db, "SELECT name FROM sqlite_master WHERE name LIKE 'sigbox_%_version' ORDER BY name") {
		parts = append(parts, table)
		parts = append(parts, column(t, db, "SELECT version_id || ' ' || is_applied || ' ' || tstamp FROM "+table+" ORDER BY id")...)
	}
	return strings.Join(parts, "\n")
}

func column(t *testing.T, db *sql.DB, query string) (out []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestApplySQLite(t *testing.T) {
	db := open(t)
	for _, schema := range schemas {
		if err := migrations.ApplySQLite(t.Context(), db, schema); err != nil {
			t.Fatal(err)
		}
		// Each schema has a version of its own, so that services can live in one file or in three.
		files := len(sqlFiles(t, "sqlite", schema))
		got := column(t, db, "SELECT max(version_id) FROM sigbox_"+schema+"_version WHERE is_applied")
		if want := fmt.Sprint(files); got[0] != want {
			t.Errorf("%s has version %s, want %s", schema, got[0], want)
		}
		if tables := column(t, db, "SELECT name FROM sqlite_master WHERE type = 'table' AND (name = '"+schema+"' OR name LIKE '"+schema+"\\_%' ESCAPE '\\')"); len(tables) == 0 {
			t.Errorf("%s has no tables", schema)
		}
	}
	before := snapshot(t, db)
	for _, schema := range schemas {
		if err := migrations.ApplySQLite(t.Context(), db, schema); err != nil {
			t.Errorf("%s again: %v", schema, err)
		}
	}
	if after := snapshot(t, db); after != before {
		t.Errorf("the second time changed something:\n%s\nbefore:\n%s", after, before)
	}
}

// What was written between the first time and the second is still there.
func TestApplyKeepsRows(t *testing.T) {
	db := open(t)
	apply := func() {
		if err := migrations.ApplySQLite(t.Context(), db, "tlog"); err != nil {
			t.Fatal(err)
		}
	}
	apply()
	if _, err := db.ExecContext(t.Context(), "INSERT INTO tlog (name, origin, face, key_sha256, created_ms) VALUES ('n', 'o', 'f', zeroblob(32), 1)"); err != nil {
		t.Fatal(err)
	}
	apply()
	if got := column(t, db, "SELECT origin FROM tlog"); len(got) != 1 || got[0] != "o" {
		t.Errorf("rows %q", got)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	for _, schema := range schemas {
		t.Run(schema, func(t *testing.T) {
			db := open(t)
			if err := migrations.ApplySQLite(t.Context(), db, schema); err != nil {
				t.Fatal(err)
			}
			newer := len(sqlFiles(t, "sqlite", schema)) + 1
			if _, err := db.ExecContext(t.Context(), "INSERT INTO sigbox_"+schema+"_version (version_id, is_applied) VALUES (?, 1)", newer); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, db)
			err := migrations.ApplySQLite(t.Context(), db, schema)
			if want := fmt.Sprintf("schema %s has version %d, made by a newer sigbox; this one knows %d", schema, newer, newer-1); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			if after := snapshot(t, db); after != before {
				t.Errorf("refusing changed something:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// A table of that name is already there and is not ours: nothing of the migration must stay.
func TestFailedMigrationLeavesNothing(t *testing.T) {
	db := open(t)
	last := column(t, tlogDatabase(t), "SELECT name FROM sqlite_master WHERE sql IS NOT NULL AND name LIKE 'tlog%' AND type = 'table' ORDER BY rowid DESC LIMIT 1")[0]
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE "+last+" (not_ours)"); err != nil {
		t.Fatal(err)
	}
	if err := migrations.ApplySQLite(t.Context(), db, "tlog"); err == nil {
		t.Fatal("applied")
	}
	if got := column(t, db, "SELECT name FROM sqlite_master WHERE name LIKE 'tlog%'"); len(got) != 1 || got[0] != last {
		t.Errorf("half a schema is left: %q", got)
	}
	if _, err := db.ExecContext(t.Context(), "DROP TABLE "+last); err != nil {
		t.Fatal(err)
	}
	if err := migrations.ApplySQLite(t.Context(), db, "tlog"); err != nil {
		t.Errorf("after it was mended: %v", err)
	}
}

func tlogDatabase(t *testing.T) *sql.DB {
	t.Helper()
	db := open(t)
	if err := migrations.ApplySQLite(t.Context(), db, "tlog"); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestUnknownSchema(t *testing.T) {
	for _, name := range []string{"", "nope", "..", "../postgres/guard", "tlog/", "TLOG", "tlog; DROP TABLE x"} {
		db := open(t)
		if err := migrations.ApplySQLite(t.Context(), db, name); err == nil {
			t.Errorf("SQLite: %q is no schema", name)
		}
		if got := snapshot(t, db); got != "" {
			t.Errorf("SQLite: %q left %s", name, got)
		}
		if err := migrations.ApplyPostgres(t.Context(), nil, name); err == nil { // before the database is touched
			t.Errorf("PostgreSQL: %q is no schema", name)
		}
		if _, err := migrations.NewestPostgres(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("PostgreSQL: version of %q: %v", name, err)
		}
	}
}

func TestCancelled(t *testing.T) {
	db := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := migrations.ApplySQLite(ctx, db, "tlog"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := snapshot(t, db); got != "" {
		t.Errorf("left %s", got)
	}
}

func TestNewestPostgres(t *testing.T) {
	for _, schema := range []string{"ca", "guard", "tlog", "tuf"} {
		if got, err := migrations.NewestPostgres(schema); err != nil || got != int64(len(sqlFiles(t, "postgres", schema))) {
			t.Errorf("%s: %d, %v", schema, got, err)
		}
	}
}

// The way back is a backup. A "Down" would run on somebody's log one day; a file outside a
// transaction could be applied by half; a hole in the numbers is a file that some databases miss.
func TestFilesGoForwardOnly(t *testing.T) {
	directive := regexp.MustCompile(`(?i)^\s*--\s*\+`)
	for _, engine := range []string{"sqlite", "postgres"} {
		dirs, err := os.ReadDir(engine)
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range dirs {
			for i, file := range sqlFiles(t, engine, dir.Name()) {
				if !strings.HasPrefix(filepath.Base(file), fmt.Sprintf("%05d_", i+1)) {
					t.Errorf("%s: want number %d", file, i+1)
				}
				raw, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				lines := strings.Split(string(raw), "\n")
				if lines[0] != "-- +goose Up" {
					t.Errorf("%s begins with %q", file, lines[0])
				}
				for n, line := range lines[1:] {
					if directive.MatchString(line) && line != "-- +goose StatementBegin" && line != "-- +goose StatementEnd" {
						t.Errorf("%s:%d: %s", file, n+2, line)
					}
				}
			}
		}
	}
}

func sqlFiles(t *testing.T, engine, schema string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(engine, schema, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no migrations of %s for %s: %v", schema, engine, err)
	}
	return files
}
