package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/sqlite"
)

// open opens a database for one test. Its table t has a number that is there once.
func open(t *testing.T, path string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Writer().ExecContext(t.Context(), "CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, b BLOB) STRICT"); err != nil {
		t.Fatal(err)
	}
	return db
}

func temp(t *testing.T) string { return filepath.Join(t.TempDir(), "sigbox.db") }

func insert(n int) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO t (n) VALUES (?)", n)
		return err
	}
}

// rows returns the numbers in t as readers see them.
func rows(t *testing.T, db *sqlite.DB) string {
	t.Helper()
	var s string
	if err := db.Read().QueryRowContext(t.Context(), "SELECT coalesce(group_concat(n), '') FROM (SELECT n FROM t ORDER BY n)").Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpenMakesPrivateFiles(t *testing.T) {
	path := temp(t)
	db := open(t, path)
	if err := db.Update(t.Context(), insert(1)); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		st, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("sigbox.db%s has mode %04o", suffix, st.Mode().Perm())
		}
	}
}

// Names that mean something in a URI, or to SQLite. Connections are made when they are needed: one
// that is made after a change of directory still goes to the same file.
func TestOpenTakesAnyPath(t *testing.T) {
	for _, name := range []string{"a b", "a?mode=memory", "a#b", "a%41", "a%zz", "a&b=c", "a+b", "ü", ":memory:", "file:x", "a:b", "a;b", "'"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, name+".d"), 0o700); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{name, filepath.Join(name+".d", name), "/" + filepath.Join(dir, "absolute "+name)} {
				t.Chdir(dir)
				db := open(t, path)
				file, err := filepath.Abs(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := db.Update(t.Context(), insert(1)); err != nil {
					t.Fatal(err)
				}
				t.Chdir(t.TempDir())
				if got := rows(t, db); got != "1" {
					t.Errorf("%s: rows %q", path, got)
				}
				if raw, err := os.ReadFile(file); err != nil || !bytes.HasPrefix(raw, []byte("SQLite format 3\x00")) {
					t.Errorf("%s is no database: %v", path, err)
				}
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(t *testing.T, path string)
		want string
	}{
		{"text", write("anything"), "file is not a database"},
		{"header alone", write("SQLite format 3\x00"), "file is not a database"},
		{"long text", write(strings.Repeat("anything", 1<<12)), "file is not a database"},
		{"page of the table overwritten", damage(func(b []byte) { copy(b[2*4096:], bytes.Repeat([]byte{0xff}, 4096)) }), "damaged: "},
		{"page emptied", damage(func(b []byte) { clear(b[3*4096 : 4*4096]) }), "damaged: "},
		{"header overwritten", damage(func(b []byte) { clear(b[:100]) }), "file is not a database"},
		{"cut in half", func(t *testing.T, path string) {
			damage(func([]byte) {})(t, path)
			if err := os.Truncate(path, 5*4096); err != nil {
				t.Fatal(err)
			}
		}, "malformed"},
		{"directory", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "is a directory"},
		{"directory that is not there", func(t *testing.T, path string) {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
		}, "no such file or directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "d", "sigbox.db")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			tc.make(t, path)
			db, err := sqlite.Open(t.Context(), path)
			if err == nil {
				_ = db.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %q and the path", err, tc.want)
			}
		})
	}
}

func write(content string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// damage makes a database of some twenty pages and changes its file.
func damage(f func(file []byte)) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		db := open(t, path)
		for n := range 20 {
			if err := db.Update(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.Exec("INSERT INTO t VALUES (?, randomblob(3000))", n)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f(file)
		write(string(file))(t, path)
	}
}

func TestConnectionsAreDurable(t *testing.T) {
	db := open(t, temp(t))
	for pool, conn := range map[string]*sql.DB{"writer": db.Writer(), "readers": db.Read()} {
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
			var got string
			if err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %s is %q, want %q (%v)", pool, pragma, got, want, err)
			}
		}
	}
}

func TestReadersCannotWrite(t *testing.T) {
	db := open(t, temp(t))
	for _, q := range []string{"INSERT INTO t (n) VALUES (1)", "DELETE FROM t", "CREATE TABLE u (n)", "DROP TABLE t", "PRAGMA user_version = 1"} {
		if _, err := db.Read().ExecContext(t.Context(), q); err == nil || !strings.Contains(err.Error(), "readonly") {
			t.Errorf("%s: %v", q, err)
		}
	}
}

func TestUpdate(t *testing.T) {
	errOurs := errors.New("ours")
	for _, tc := range []struct {
		name string
		f    func(*sql.Tx) error
		want string // error, "" for none
		rows string
	}{
		{"commits", insert(2), "", "1,2"},
		{"rolls back on an error of the caller", func(tx *sql.Tx) error { return errors.Join(insert(2)(tx), errOurs) }, "ours", "1"},
		{"rolls back on a refused row", func(tx *sql.Tx) error { return errors.Join(insert(2)(tx), insert(1)(tx)) }, "UNIQUE", "1"},
		{"rolls back when the commit is refused", func(tx *sql.Tx) error {
			_, err := tx.Exec(`CREATE TABLE u (n INTEGER REFERENCES t (n) DEFERRABLE INITIALLY DEFERRED); INSERT INTO u VALUES (7)`)
			return errors.Join(err, insert(2)(tx))
		}, "commit: ", "1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db := open(t, temp(t))
			if err := db.Update(t.Context(), insert(1)); err != nil {
				t.Fatal(err)
			}
			err := db.Update(t.Context(), tc.f)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if tc.want == "ours" && !errors.Is(err, errOurs) {
				t.Errorf("%v does not wrap what f returned", err)
			}
			if got := rows(t, db); got != tc.rows {
				t.Errorf("rows %s, want %s", got, tc.rows)
			}
			if err := db.Update(t.Context(), insert(9)); err != nil {
				t.Errorf("the next one: %v", err)
			}
		})
	}
}

// The panic barrier of the web server catches the panic; the file must be free then.
func TestUpdateSurvivesAPanic(t *testing.T) {
	db := open(t, temp(t))
	func() {
		defer func() { _ = recover() }()
		_ = db.Update(t.Context(), func(tx *sql.Tx) error {
			_ = insert(1)(tx)
			panic("bug")
		})
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := db.Update(ctx, insert(2)); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, db); got != "2" {
		t.Errorf("rows %s", got)
	}
}

func TestCancelledUpdate(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		db := open(t, temp(t))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := db.Update(ctx, func(*sql.Tx) error { t.Error("began"); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("while another one writes", func(t *testing.T) {
		db := open(t, temp(t))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		err := db.Update(t.Context(), func(tx *sql.Tx) error {
			go func() { done <- db.Update(ctx, insert(2)) }()
			for db.Writer().Stats().WaitCount == 0 { // until it stands in line
				runtime.Gosched()
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) { // would be a deadlock if it waited on
				t.Errorf("got %v", err)
			}
			return insert(1)(tx)
		})
		if got := rows(t, db); err != nil || got != "1" {
			t.Errorf("rows %s, %v", got, err)
		}
	})
	t.Run("during", func(t *testing.T) {
		db := open(t, temp(t))
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Update(ctx, func(tx *sql.Tx) error {
			if err := insert(1)(tx); err != nil {
				return err
			}
			cancel()
			return insert(2)(tx)
		})
		if got := rows(t, db); err != nil || got != "1,2" {
			t.Errorf("rows %s, %v: a transaction that had begun was abandoned", got, err)
		}
	})
}

func TestReadersSeeTheLastCommit(t *testing.T) {
	db := open(t, temp(t))
	if err := db.Update(t.Context(), func(tx *sql.Tx) error {
		if err := insert(1)(tx); err != nil {
			return err
		}
		if got := rows(t, db); got != "" {
			t.Errorf("rows %s before the commit", got)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, db); got != "1" {
		t.Errorf("rows %s after the commit", got)
	}
}

// Two processes on one file is what the instance's lock forbids; should it happen, they take turns.
func TestSecondHandleWaits(t *testing.T) {
	path := temp(t)
	first, second := open(t, path), open(t, path)
	done := make(chan error, 1)
	err := first.Update(t.Context(), func(tx *sql.Tx) error {
		go func() { done <- second.Update(t.Context(), insert(2)) }()
		select {
		case err := <-done:
			done <- fmt.Errorf("did not wait: %w", err)
		case <-time.After(200 * time.Millisecond): // no signal tells that it waits
		}
		return insert(1)(tx)
	})
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, second); got != "1,2" {
		t.Errorf("rows %s", got)
	}
}

func TestCloseTwice(t *testing.T) {
	db := open(t, temp(t))
	for range 2 {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := db.Update(t.Context(), insert(1)); err == nil {
		t.Error("written after Close")
	}
}
