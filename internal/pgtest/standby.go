package pgtest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Standby returns a streaming standby of the server, which serves reads. application names it for
// synchronous_standby_names. It is shut down when the test ends.
func (s *Server) Standby(t testing.TB, application string) *Server {
	t.Helper()
	standby, err := s.standby(application)
	if err != nil {
		t.Fatalf("start a standby: %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(standby.halt(), os.RemoveAll(standby.dir)); err != nil {
			t.Errorf("stop the standby: %v", err)
		}
	})
	return standby
}

func (s *Server) standby(application string) (*Server, error) {
	n, err := newDirectory()
	if err != nil {
		return nil, err
	}
	from := "host=" + s.dir + " port=" + strconv.Itoa(s.port) + " user=postgres application_name=" + application
	cmd := exec.Command(filepath.Join(n.bin, "pg_basebackup"), "--pgdata", n.data(), "--dbname", from, "--write-recovery-conf", "--checkpoint", "fast", "--wal-method", "stream")
	cmd.Dir, cmd.SysProcAttr = n.dir, &syscall.SysProcAttr{Credential: n.uid}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(err, errors.New(string(out)), os.RemoveAll(n.dir))
	}
	return n, errors.Join(n.configure(n.place()...), n.start())
}

// Promote makes a standby a server of its own.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	// The server recovers until it is promoted, and cancels what is in its way: this query too.
	standby, err := true, error(nil)
	for deadline := time.Now().Add(time.Minute); standby && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		err = s.ask(t.Context(), "SELECT pg_is_in_recovery() AND pg_promote(false)", &standby)
	}
	if standby {
		t.Fatalf("promote: still a standby after a minute: %v", err)
	}
}

// ask runs a query that returns one value, on a connection of its own.
func (s *Server) ask(ctx context.Context, query string, to any) error {
	c, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	return c.QueryRow(ctx, query).Scan(to)
}

// SetSync makes every COMMIT wait for standbys (synchronous_standby_names), "" for none.
func (s *Server) SetSync(t testing.TB, names string) {
	t.Helper()
	s.Exec(t, "postgres", "ALTER SYSTEM SET synchronous_standby_names = '"+strings.ReplaceAll(names, "'", "''")+"'", "SELECT pg_reload_conf()")
	c := s.Connect(t, "postgres")
	defer c.Close(context.Background())
	for have := "?"; have != names; {
		if err := c.QueryRow(t.Context(), "SELECT current_setting('synchronous_standby_names')").Scan(&have); err != nil {
			t.Fatal(err)
		}
	}
}
