//go:build postgres

package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

// TestServe is the life of a deployment: migrated, its logs made, written to, stopped, started again.
func TestServe(t *testing.T) {
	s := newSite(t)
	file := s.config(t)
	if stderr, _ := s.refusal(t, file); !strings.Contains(stderr, "run sigbox migrate") {
		t.Errorf("before migrate: %s", stderr)
	}
	for range 2 {
		stdout, stderr, code := run(t, "migrate", "--config", file)
		if code != 0 || !strings.Contains(stdout, "schema tlog: up to date; "+s.user+" may write") || !strings.Contains(stdout, "schema guard: up to date; "+s.user+" may write") {
			t.Fatalf("migrate: %d\n%s%s", code, stdout, stderr)
		}
	}
	if stderr, _ := s.refusal(t, file); !strings.Contains(stderr, "sigbox log create rekor-v1 --config "+file) {
		t.Errorf("before log create: %s", stderr)
	}
	createLogs(t, file)

	r := s.serve(t, file)
	added(t, r.url+"/api/v1/log/entries", entrytest.NewHashedRekord(t, []byte("a")))
	added(t, r.url+"/api/v2/log/entries", v2Entry(t, "a"))
	if code, body := readyz(t, r.url); code != 200 || body.Status != "ok" || body.Checks["database tlog"] != "ok" || body.Checks["guard"] != "ok" || body.Checks["expiry"] != "ok" || len(body.Checks) != 7 {
		t.Errorf("/readyz: %d %+v", code, body)
	}
	for path, want := range map[string]string{
		"/":                     "https://sigstore.example.com/api/v1/log",
		"/healthz":              "SERVING",
		"/metrics":              `sigbox_tlog_rollback_detected{log="rekor-v1"} 0`,
		"/api/v1/log/publicKey": "PUBLIC KEY",
		"/api/v2/checkpoint":    "sigstore.example.com\n3\n",
		"/ct/v1/get-sth":        `"tree_size":2`,
	} {
		if got := get(t, r.url+path); !strings.Contains(got, want) {
			t.Errorf("%s does not say %q:\n%s", path, want, got)
		}
	}
	s.asWriter(t)
	head := get(t, r.url+"/api/v1/log")
	if code := r.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM:\n%s", code, r.stderr)
	}
	r = s.serve(t, file)
	if got := get(t, r.url+"/api/v1/log"); got != head {
		t.Errorf("the head changed across a restart:\n%s\n%s", head, got)
	}
}

// asWriter checks that the process connects as the user of the configuration, and that this user can
// add and not change.
func (s *site) asWriter(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	var users []string
	rows, err := s.server.Connect(t, s.logs).Query(ctx, "SELECT DISTINCT usename::text FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", s.logs)
	if err == nil {
		users, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil || len(users) != 1 || users[0] != s.user {
		t.Errorf("serve is connected as %v, want %s: %v", users, s.user, err)
	}
	c, err := pgx.Connect(ctx, s.asUser(s.logs))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	for _, q := range []string{
		"DELETE FROM tlog.tlog_leaf", "UPDATE tlog.tlog_leaf SET time_ms = 0", "TRUNCATE tlog.tlog_tile", "DROP TABLE tlog.tlog_key",
		"ALTER TABLE tlog.tlog_leaf DISABLE TRIGGER ALL",
	} {
		if _, err := c.Exec(ctx, q); err == nil {
			t.Errorf("the user of serve may %s", q)
		}
	}
}

// TestServeRefuses: one clear message that says what to do, and nothing served.
func TestServeRefuses(t *testing.T) {
	s := runningSite(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	locked := filepath.Join(t.TempDir(), "guard")
	fileGuard := []string{s.sharedGuard(), "guard: {file: " + locked + "}"}
	s.serve(t, s.config(t, fileGuard...))
	s.server.Exec(t, "postgres", "CREATE ROLE "+s.user+"_stranger LOGIN")
	t.Cleanup(func() { s.server.Exec(t, "postgres", "DROP ROLE "+s.user+"_stranger") })
	copyKey(t, s, "rekor-v2", "same")
	copyKey(t, s, "spare", "open")
	if err := os.Chmod(filepath.Join(s.dir, "keys", "open.pem"), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		changes []string
		args    []string
		code    int
		want    string
	}{
		{"another key", []string{"keys/rekor-v1.pem", "keys/spare.pem"}, nil, 1, "a log keeps its key for life"},
		{"another host", []string{"rekor_v2: {", "rekor_v2: {host: other.example.com, "}, nil, 1, `its origin is "sigstore.example.com", the configuration says "other.example.com"`},
		{"another tree id", []string{"1193046", "1193047"}, nil, 1, "a log keeps its origin for life"},
		{"another face", []string{"{name: rekor-v1,", "{name: ct,", "ct: {", "ct: {name: rekor-v1, "}, nil, 1, "its origin is"},
		{"a log that was not made", []string{"ct: {", "ct: {name: ct2, host: ct2.example.com, "}, nil, 1, "run sigbox log create ct2 --config "},
		{"no guard", []string{fileGuard[0], ""}, nil, 2, "tlog.guard: is missing"},
		{"a guard that another process has", fileGuard, nil, 1, "tlog.guard.file"},
		{"a user who may not write", []string{"user=" + s.user, "user=" + s.user + "_stranger"}, nil, 1, "is not a member of sigbox_tlog_writer"},
		{"a database that is not there", []string{"/" + s.logs + "?", "/nowhere?"}, nil, 1, "tlog.database: "},
		{"two roles with one key", []string{"keys/ct.pem", "keys/same.pem"}, nil, 2, "is the key of tlog.rekor_v2.key too"},
		{"a key that others can read", []string{"keys/ct.pem", "keys/open.pem"}, nil, 2, "chmod 600"},
		{"an address in use", []string{"LISTEN", busy.Addr().String()}, nil, 1, "address already in use"},
		{"a service that is not there", nil, []string{"--only", "ca"}, 1, "no section ca"},
		{"no service", nil, []string{"--only", "rekor"}, 1, `"rekor" is no service: want ca, tlog or tuf`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stderr, code := s.refusal(t, s.config(t, tc.changes...), tc.args...)
			if code != tc.code || !strings.Contains(stderr, tc.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, tc.code, tc.want, stderr)
			}
		})
	}
	t.Run("a database that would lose entries", func(t *testing.T) {
		s.server.Exec(t, "postgres", "ALTER ROLE "+s.user+" SET synchronous_commit = off")
		if stderr, _ := s.refusal(t, s.config(t)); !strings.Contains(stderr, "synchronous_commit is off") {
			t.Errorf("%s", stderr)
		}
	})
}

func copyKey(t *testing.T, s *site, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.dir, "keys", from+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.dir, "keys", to+".pem"), string(raw))
}

// TestServeTells: what a guard cannot see is said at start and in /readyz; operations have a listener
// of their own; after SIGTERM /readyz says so while everything is still served.
func TestServeTells(t *testing.T) {
	s := runningSite(t)
	guard := s.sharedGuard()
	for _, tc := range []struct{ name, guard, line, note string }{
		{"file", "guard: {file: guard}", "the guard is private to this process", "private to this process"},
		{"none", "guard: none", "NO GUARD", "makes the logs fork, unnoticed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inside := freeAddr(t)
			r := s.serve(t, s.config(t, guard, tc.guard, "logging:", "shutdown_delay: 2m\noperations: {listen: "+inside+"}\nlogging:"))
			code, body := readyz(t, "http://"+inside)
			if code != 200 || body.Status != "ok" || !strings.Contains(body.Notes["guard"], tc.note) {
				t.Errorf("/readyz: %d %+v", code, body)
			}
			if !strings.Contains(r.stderr.String(), tc.line) {
				t.Errorf("at start it does not say %q:\n%s", tc.line, r.stderr)
			}
			for _, path := range []string{"/readyz", "/metrics", "/healthz"} {
				if status, _, _, err := answer(t.Context(), "GET", r.url+path, nil); status != 404 || err != nil {
					t.Errorf("%s is served to everybody: %d %v", path, status, err)
				}
			}
			if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			await(t, "/readyz says that the process stops", 10*time.Second, func() bool {
				code, body := readyz(t, "http://"+inside)
				return code == 503 && body.Checks["process"] == "is stopping"
			})
			added(t, r.url+"/api/v2/log/entries", v2Entry(t, "late"))
		})
	}
}
