package pgtest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/pgtest"
)

func TestSharedServerIsDurable(t *testing.T) {
	s := pgtest.Shared(t)
	c := s.Connect(t, s.Database(t))
	for _, setting := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		var value string
		if err := c.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&value); err != nil || value != "on" {
			t.Errorf("%s is %q, %v", setting, value, err)
		}
	}
}

func TestKilledServerComesBackWithItsRows(t *testing.T) {
	s := pgtest.Start(t, "work_mem=5MB")
	db := s.Database(t)
	s.Exec(t, db, "CREATE TABLE a (b int)", "INSERT INTO a VALUES (7)")
	s.Kill(t)
	s.Restart(t, "work_mem=6MB")
	var b int
	var mem string
	if err := s.Connect(t, db).QueryRow(t.Context(), "SELECT b, current_setting('work_mem') FROM a").Scan(&b, &mem); err != nil || b != 7 || !strings.HasPrefix(mem, "6") {
		t.Fatalf("row %d, work_mem %s, %v", b, mem, err)
	}
}

func TestKeptServerIsFoundAgain(t *testing.T) {
	dir, err := os.MkdirTemp("", "sigbox-kept-") // not t.TempDir, which only its owner can enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	t.Run("first", func(t *testing.T) {
		pgtest.Keep(t, dir).Exec(t, "postgres", "CREATE TABLE a (b int)", "INSERT INTO a VALUES (7)")
	})
	t.Run("again", func(t *testing.T) {
		var b int
		if err := pgtest.Keep(t, dir).Connect(t, "postgres").QueryRow(t.Context(), "SELECT b FROM a").Scan(&b); err != nil || b != 7 {
			t.Fatalf("row %d, %v", b, err)
		}
	})
}
