package pg_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/pgtest"
)

// TestProbePgBouncer puts the real PgBouncer before the database. It is refused in every mode: it
// refuses session settings itself, or drops them where it was told to, and with them what the plans
// of our queries rely on.
func TestProbePgBouncer(t *testing.T) {
	s := pgtest.Shared(t)
	name, _ := newDatabase(t, s)
	const drops = "ignore_startup_parameters = plan_cache_mode, enable_seqscan, tcp_keepalives_idle, tcp_keepalives_interval, tcp_keepalives_count, tcp_user_timeout, jit, statement_timeout"
	for _, c := range []struct{ mode, setting, refuses string }{
		{"transaction", "", "a pooler that refuses session settings"},
		{"transaction", drops, "a pooler in transaction mode"},
		{"statement", drops, "a pooler in transaction mode"},
		{"session", "", "a pooler that refuses session settings"},
		{"session", drops, "plan_cache_mode is auto"},
	} {
		url := startPgBouncer(t, s, "pool_mode = "+c.mode, c.setting) + "/" + name + "?sslmode=disable"
		wantUnsafe(t, url, c.refuses, "connect to PostgreSQL itself")
	}
}

// startPgBouncer runs PgBouncer with further settings, and returns how to connect to it.
func startPgBouncer(t testing.TB, s *pgtest.Server, settings ...string) string {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path = "/usr/sbin/pgbouncer"
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().(*net.TCPAddr)
	_ = l.Close()
	host, port, _ := strings.Cut(s.Address(), ":")
	cfg := filepath.Join(t.TempDir(), "pgbouncer.ini")
	text := fmt.Sprintf("[databases]\n* = host=%s port=%s user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\n%s\n",
		host, port, address.Port, strings.Join(settings, "\n"))
	if err := os.WriteFile(cfg, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, cfg)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.User(), Pdeathsig: syscall.SIGKILL}
	if cmd.Stdin, err = os.Open(cfg); err == nil { // the user may not reach a test's directory
		cmd.Args[1] = "/dev/stdin"
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("start PgBouncer (Debian package pgbouncer): %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", address.String())
		if err == nil {
			_ = c.Close()
			return "postgres://postgres@" + address.String()
		}
		if time.Now().After(deadline) {
			t.Fatalf("PgBouncer does not listen: %v", err)
		}
	}
}
