package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

var (
	shared     = sync.OnceValues(func() (*Server, error) { return newServer() })
	databaseNo atomic.Int64
)

// Shared returns the server of this test binary.
func Shared(t testing.TB) *Server {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	return s
}

// Start returns a server of the test's own, with further lines of postgresql.conf. It is shut down
// when the test ends.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := newServer(settings...)
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.halt(), os.RemoveAll(s.dir)); err != nil {
			t.Errorf("stop PostgreSQL: %v", err)
		}
	})
	return s
}

// Keep returns a server whose directory stays when the test ends, to be found again by the next one
// that names it. The directory is made if it is not there; its user must be able to reach it. Two
// servers cannot run on one directory.
func Keep(t testing.TB, dir string, settings ...string) *Server {
	t.Helper()
	s, err := keptServer(dir, settings...)
	if err != nil {
		t.Fatalf("start PostgreSQL in %s: %v", dir, err)
	}
	t.Cleanup(func() {
		s.Exec(t, "postgres", "CHECKPOINT") // the next start has nothing to recover
		if err := s.halt(); err != nil {
			t.Errorf("stop PostgreSQL: %v", err)
		}
	})
	return s
}

// Database makes an empty database and returns its name. It is dropped when the test ends.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("t%d", databaseNo.Add(1))
	s.Exec(t, "postgres", "CREATE DATABASE "+name)
	t.Cleanup(func() { s.Exec(t, "postgres", "DROP DATABASE "+name+" WITH (FORCE)") })
	return name
}

// Reused makes a database and has it prepared once, for each key. When the test ends the database is
// wiped and handed to the next one that asks: making a database takes a second where disks are slow.
func (s *Server) Reused(t testing.TB, key string, prepare, wipe func(url string) error) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var name string
	if free := s.free[key]; len(free) > 0 {
		name, s.free[key] = free[0], free[1:]
	} else {
		name = fmt.Sprintf("t%d", databaseNo.Add(1))
		s.Exec(t, "postgres", "CREATE DATABASE "+name)
		if err := prepare(s.URL(name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if s.keeper == nil {
			return // the test has killed the server
		}
		s.Exec(t, "postgres", "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '"+name+"'")
		if err := wipe(s.URL(name)); err != nil {
			t.Error(err)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.free[key] = append(s.free[key], name)
	})
	return name
}

// Connect returns a connection of the superuser that is closed when the test ends.
func (s *Server) Connect(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), s.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// Exec runs statements as the superuser.
func (s *Server) Exec(t testing.TB, database string, statements ...string) {
	t.Helper()
	ctx := context.Background() // the test's own is over in its clean-up
	c, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	for _, q := range statements {
		if _, err := c.Exec(ctx, q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// Kill kills the whole server, every process of it, with SIGKILL. [Server.Restart] starts it again.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if err := s.kill(); err != nil {
		t.Errorf("kill PostgreSQL: %v", err)
	}
}

// Restart starts the server, after stopping it if it runs, with further lines of postgresql.conf.
func (s *Server) Restart(t testing.TB, settings ...string) {
	t.Helper()
	if err := errors.Join(s.halt(), s.configure(settings...), s.start()); err != nil {
		t.Errorf("restart PostgreSQL: %v", err)
	}
}

// Await waits until the server accepts connections, when it recovers by itself.
func (s *Server) Await(t testing.TB) {
	t.Helper()
	if err := s.await(60 * time.Second); err != nil {
		t.Fatal(err)
	}
}

// KillSession kills a process that serves a session of one of our writers with SIGKILL. PostgreSQL
// ends all other sessions then, and recovers; it has noticed when KillSession returns.
func (s *Server) KillSession(t testing.TB) {
	t.Helper()
	pid := s.session(t)
	if pid == 0 {
		return
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("kill a session: %v", err)
	}
	for stat(pid) != nil {
		time.Sleep(time.Millisecond)
	}
}

// EndSession ends a session of one of our writers, as an administrator would.
func (s *Server) EndSession(t testing.TB) {
	t.Helper()
	if pid := s.session(t); pid != 0 {
		s.Exec(t, "postgres", fmt.Sprintf("SELECT pg_terminate_backend(%d)", pid))
	}
}

// session returns the process of a session of one of our writers, of one that works if there is
// one; 0 if they are all just connecting.
func (s *Server) session(t testing.TB) (pid int) {
	t.Helper()
	c := s.Connect(t, "postgres")
	defer c.Close(context.Background())
	err := c.QueryRow(t.Context(), "SELECT pid FROM pg_stat_activity WHERE application_name = 'sigbox writer' ORDER BY state = 'active' DESC, random() LIMIT 1").Scan(&pid)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		t.Fatalf("look for a session: %v", err)
	}
	return pid
}
