package pg_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
)

// newDatabase makes a database with the schema of the guard, the smallest there is, and a table.
func newDatabase(t testing.TB, s *pgtest.Server) (name, url string) {
	t.Helper()
	name = s.Database(t)
	url = s.URL(name)
	if err := pg.Migrate(t.Context(), url, "guard"); err != nil {
		t.Fatal(err)
	}
	s.Exec(t, name, "CREATE TABLE a (id int PRIMARY KEY, b int)", "INSERT INTO a VALUES (1, 0), (2, 0)")
	return name, url
}

func open(t testing.TB, url string, options ...func(*pg.Config)) *pg.DB {
	t.Helper()
	cfg := pg.Config{URL: url, Schema: "guard"}
	for _, o := range options {
		o(&cfg)
	}
	db, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// impatient has short timeouts.
func impatient(c *pg.Config) {
	c.LockTimeout, c.StatementTimeout, c.IdleTimeout, c.CommitTimeout = 300*time.Millisecond, time.Second, 300*time.Millisecond, time.Second
}

// update begins, runs the statements one by one, and commits.
func update(t testing.TB, db *pg.DB, statements ...string) error {
	return db.Update(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		return run(ctx, tx, statements...)
	})
}

func run(ctx context.Context, tx *pg.Tx, statements ...string) error {
	if err := tx.Begin(ctx, &pgx.Batch{}); err != nil {
		return err
	}
	for _, q := range statements {
		var b pgx.Batch
		b.Queue(q)
		if err := tx.Send(ctx, &b); err != nil {
			return err
		}
	}
	return tx.Commit(ctx, &pgx.Batch{})
}

func wantB(t testing.TB, s *pgtest.Server, database string, want int) {
	t.Helper()
	var b int
	if err := s.Connect(t, database).QueryRow(t.Context(), "SELECT sum(b) FROM a").Scan(&b); err != nil || b != want {
		t.Errorf("the rows sum up to %d, %v; want %d", b, err, want)
	}
}

func TestUpdateCommitsOrRollsBack(t *testing.T) {
	s := pgtest.Shared(t)
	name, url := newDatabase(t, s)
	db := open(t, url)
	if err := update(t, db, "UPDATE a SET b = 1 WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	wantB(t, s, name, 1)
	mine := errors.New("mine")
	err := db.Update(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		var b pgx.Batch
		b.Queue("UPDATE a SET b = 7")
		return errors.Join(tx.Begin(ctx, &b), mine)
	})
	if !errors.Is(err, mine) {
		t.Errorf("update with a failing callback: %v", err)
	}
	wantB(t, s, name, 1)
	// A statement that fails in the last batch takes the COMMIT behind it along.
	err = db.Update(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		var first, last pgx.Batch
		first.Queue("UPDATE a SET b = 7")
		if err := tx.Begin(ctx, &first); err != nil {
			return err
		}
		last.Queue("SELECT 1 / (SELECT count(*) FROM a WHERE id = 3)")
		return tx.Commit(ctx, &last)
	})
	if pg.Code(err) != "22012" || errors.Is(err, pg.ErrUnknownOutcome) {
		t.Errorf("a refused last batch: %v", err)
	}
	wantB(t, s, name, 1)
	if err := db.Update(t.Context(), func(context.Context, *pg.Tx) error { return nil }); err == nil {
		t.Error("an update that never committed says it did")
	}
	if err := update(t, db, "UPDATE a SET b = 2 WHERE id = 1"); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestUpdateIsNotCancelled(t *testing.T) {
	s := pgtest.Shared(t)
	name, url := newDatabase(t, s)
	db := open(t, url)
	ctx, cancel := context.WithCancel(t.Context())
	err := db.Update(ctx, func(ctx context.Context, tx *pg.Tx) error {
		cancel()
		return run(ctx, tx, "UPDATE a SET b = 1 WHERE id = 1")
	})
	if err != nil {
		t.Errorf("update whose caller went away: %v", err)
	}
	wantB(t, s, name, 1)
	if err := db.Update(ctx, func(context.Context, *pg.Tx) error { t.Error("called"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("update for a caller who is away: %v", err)
	}
}

func TestClassesOfErrors(t *testing.T) {
	s := pgtest.Shared(t)
	name, url := newDatabase(t, s)
	db := open(t, url, impatient)
	holder := s.Connect(t, name)
	hold := func(q string) {
		t.Helper()
		if _, err := holder.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name       string
		statements []string
		code       string
		class      error
	}{
		{"lock timeout", []string{"UPDATE a SET b = 1 WHERE id = 2"}, "55P03", pg.ErrTransient},
		{"statement timeout", []string{"SELECT pg_sleep(10)"}, "57014", pg.ErrTransient},
		{"duplicate", []string{"INSERT INTO a VALUES (1, 1)"}, "23505", pg.ErrDuplicate},
		{"session is ended", []string{"SELECT pg_terminate_backend(pg_backend_pid())"}, "57P01", pg.ErrTransient},
		{"not a table", []string{"INSERT INTO c VALUES (1, 1)"}, "42P01", nil},
	} {
		hold("BEGIN; UPDATE a SET b = 0 WHERE id = 2")
		err := update(t, db, c.statements...)
		if pg.Code(err) != c.code {
			t.Errorf("%s: %v, want SQLSTATE %s", c.name, err, c.code)
		}
		for _, class := range []error{pg.ErrTransient, pg.ErrDuplicate, pg.ErrUnknownOutcome} {
			if errors.Is(err, class) != (class == c.class) {
				t.Errorf("%s: %v, want class %v", c.name, err, c.class)
			}
		}
		hold("ROLLBACK")
		if err := update(t, db, "UPDATE a SET b = 0"); err != nil {
			t.Errorf("after %s: %v", c.name, err)
		}
	}
}

// TestDuplicateNamesTheRow sees to it that a human can find the row.
func TestDuplicateNamesTheRow(t *testing.T) {
	s := pgtest.Shared(t)
	_, url := newDatabase(t, s)
	err := update(t, open(t, url), "CREATE TABLE c (x int, y text, PRIMARY KEY (x, y))", "INSERT INTO c VALUES (3, 'z'), (3, 'z')")
	want := "public.c: x 3, y z"
	if err == nil || !errors.Is(err, pg.ErrDuplicate) || !contains(err, want) {
		t.Errorf("%v, want %q", err, want)
	}
}
