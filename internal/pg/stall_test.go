package pg_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
)

func contains(err error, s string) bool { return strings.Contains(err.Error(), s) }

// TestStalledSessionsAreEnded lets a process that holds a lock go silent at the worst places. Those
// inside of COPY and of a pipeline outlive every timeout of PostgreSQL 15.
func TestStalledSessionsAreEnded(t *testing.T) {
	s := pgtest.Shared(t)
	name, url := newDatabase(t, s)
	s.Exec(t, name, "CREATE TABLE big AS SELECT repeat('x', 1000) FROM generate_series(1, 100000)")
	s.Exec(t, name, "CREATE ROLE app LOGIN IN ROLE sigbox_guard_writer", "GRANT ALL ON a, big TO app") // nobody special
	url = strings.Replace(url, "user=postgres", "user=app", 1)
	for where, stall := range map[string]func(*pgx.Conn){
		"between two commands": func(*pgx.Conn) {},
		"inside of COPY": func(c *pgx.Conn) {
			f := c.PgConn().Frontend()
			f.SendQuery(&pgproto3.Query{String: "COPY a FROM STDIN"})
			f.Send(&pgproto3.CopyData{Data: []byte("7\t0\n")})
			flush(t, f)
		},
		"inside of a pipeline": func(c *pgx.Conn) {
			f := c.PgConn().Frontend()
			f.SendParse(&pgproto3.Parse{Query: "UPDATE a SET b = 7"})
			f.SendBind(&pgproto3.Bind{})
			f.SendExecute(&pgproto3.Execute{})
			f.Send(&pgproto3.Flush{})
			flush(t, f)
		},
		"inside of a message": func(c *pgx.Conn) {
			if _, err := c.PgConn().Conn().Write([]byte{'Q', 0, 0, 1, 0, 'S', 'E', 'L'}); err != nil {
				t.Error(err)
			}
		},
		"with an answer that it does not read": func(c *pgx.Conn) {
			f := c.PgConn().Frontend()
			f.SendQuery(&pgproto3.Query{String: "SELECT * FROM big"})
			flush(t, f)
		},
	} {
		t.Run(where, func(t *testing.T) {
			holding, let := make(chan bool), make(chan bool)
			stalled := open(t, url, impatient)
			done := make(chan error)
			go func() {
				done <- stalled.Update(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
					var b pgx.Batch
					b.Queue("UPDATE a SET b = 7")
					if err := tx.Begin(ctx, &b); err != nil {
						return err
					}
					stall(tx.Conn())
					close(holding)
					<-let
					return errors.Join(tx.Conn().PgConn().Conn().Close(), tx.Commit(ctx, &pgx.Batch{}))
				})
			}()
			<-holding
			db := open(t, url, impatient)
			started := time.Now()
			for try := 1; ; try++ {
				err := update(t, db, "UPDATE a SET b = b + 1 WHERE id = 1")
				if err == nil {
					t.Logf("waited %v, try %d", time.Since(started).Round(time.Millisecond), try)
					break
				}
				if !errors.Is(err, pg.ErrTransient) || try == 4 {
					t.Fatalf("try %d: %v", try, err)
				}
			}
			close(let)
			if err := <-done; err == nil {
				t.Error("the stalled transaction was committed")
			}
		})
	}
	wantB(t, s, name, 5)
}

func flush(t testing.TB, f *pgproto3.Frontend) {
	t.Helper()
	if err := f.Flush(); err != nil {
		t.Error(err)
	}
}
