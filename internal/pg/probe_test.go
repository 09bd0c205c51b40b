package pg_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
)

// wantUnsafe opens a database and wants to be told each of the words.
func wantUnsafe(t testing.TB, url string, words ...string) {
	t.Helper()
	db, err := pg.Open(t.Context(), pg.Config{URL: url, Schema: "guard"})
	if err == nil {
		db.Close()
		t.Errorf("an unsafe database was opened; want %q", words)
		return
	}
	if !errors.Is(err, pg.ErrUnsafe) {
		t.Errorf("open: %v", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("open: %v, want %q in it", err, w)
		}
	}
}

func TestProbeServerSettings(t *testing.T) {
	s := pgtest.Start(t, "fsync=off", "full_page_writes=off", "zero_damaged_pages=on", "ignore_checksum_failure=on")
	_, url := newDatabase(t, s)
	wantUnsafe(t, url, "fsync is off", "set fsync = on", "full_page_writes is off", "zero_damaged_pages is on", "ignore_checksum_failure is on")
	s.Restart(t, "fsync=on", "full_page_writes=on", "zero_damaged_pages=off", "ignore_checksum_failure=off")
	open(t, url)
}

func TestProbeSessionSettings(t *testing.T) {
	s := pgtest.Shared(t)
	name, url := newDatabase(t, s)
	open(t, url).Close()
	for setting, value := range map[string]string{"synchronous_commit": "off", "session_replication_role": "replica"} {
		s.Exec(t, name, "ALTER DATABASE "+name+" SET "+setting+" = "+value)
		wantUnsafe(t, url, setting+" is "+value, "set "+setting+" = ")
		s.Exec(t, name, "ALTER DATABASE "+name+" RESET "+setting)
	}
	open(t, url)
}

// TestSynchronousCommitIsPinned changes the setting after the probe.
func TestSynchronousCommitIsPinned(t *testing.T) {
	s := pgtest.Shared(t)
	_, url := newDatabase(t, s)
	for session, want := range map[string]string{"off": "on", "local": "on", "on": "on", "remote_apply": "remote_apply"} {
		db := open(t, url, func(c *pg.Config) { c.Writers = 1 })
		var have string
		err := db.Update(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
			if _, err := tx.Conn().Exec(ctx, "SET synchronous_commit = "+session); err != nil {
				return err
			}
			var b pgx.Batch
			b.Queue("SELECT current_setting('synchronous_commit')").QueryRow(func(row pgx.Row) error { return row.Scan(&have) })
			if err := tx.Begin(ctx, &b); err != nil {
				return err
			}
			return tx.Commit(ctx, &pgx.Batch{})
		})
		if err != nil || have != want {
			t.Errorf("a session with %s commits with %q, %v; want %s", session, have, err, want)
		}
	}
}

func TestProbeDatabase(t *testing.T) {
	s := pgtest.Shared(t)
	wantUnsafe(t, s.URL(s.Database(t)), "schema guard has version 0", "run sigbox migrate")

	name, url := newDatabase(t, s)
	s.Exec(t, name, "INSERT INTO guard.schema_version (version_id, is_applied) VALUES (1000, true)")
	wantUnsafe(t, url, "version 1000", "made by a newer sigbox")
	if err := pg.Migrate(t.Context(), url, "guard"); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("migrate: %v", err)
	}

	s.Exec(t, "postgres", "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
	t.Cleanup(func() { s.Exec(t, "postgres", "DROP DATABASE ascii WITH (FORCE)") })
	if err := pg.Migrate(t.Context(), s.URL("ascii"), "guard"); err != nil {
		t.Fatal(err)
	}
	wantUnsafe(t, s.URL("ascii"), "encoding SQL_ASCII", "ENCODING 'UTF8'")
}

func TestConnectionStringIsNotQuoted(t *testing.T) {
	for _, url := range []string{"postgres://u:secret@[::1", "host=x password=secret port=y", "postgres://u:secret@127.0.0.1:1/x"} {
		db, err := pg.Open(t.Context(), pg.Config{URL: url, Schema: "guard"})
		if err == nil {
			db.Close()
			t.Errorf("%s was opened", url)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("a password is in the error: %v", err)
		}
	}
}

func TestProbePooler(t *testing.T) {
	s := pgtest.Shared(t)
	name, _ := newDatabase(t, s)
	for mode, refuses := range map[string]string{"transaction": "a pooler in transaction mode", "strict": "a pooler that refuses session settings"} {
		wantUnsafe(t, startPooler(t, s.URL(name), mode == "strict")+"/"+name+"?sslmode=disable", refuses, "session mode")
	}
}

// startPooler listens as a pooler in transaction mode does: every client is served by one session
// of the server, in turn. A strict one refuses settings that a client asks for at the start.
func startPooler(t testing.TB, url string, strict bool) string {
	t.Helper()
	server, err := pgconn.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	session, err := server.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Conn.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var turn sync.Mutex
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = pool(pgproto3.NewBackend(c, c), session, &turn, strict)
			}()
		}
	}()
	return "postgres://postgres@" + l.Addr().String()
}

func pool(client *pgproto3.Backend, session *pgconn.HijackedConn, turn *sync.Mutex, strict bool) error {
	hello, err := client.ReceiveStartupMessage()
	if err != nil {
		return err
	}
	if m, ok := hello.(*pgproto3.StartupMessage); ok && strict && m.Parameters["jit"] != "" {
		client.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "08P01", Message: "unsupported startup parameter: jit"})
		return client.Flush()
	}
	client.Send(&pgproto3.AuthenticationOk{})
	client.Send(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"})
	client.Send(&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"})
	client.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 1}})
	client.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if err := client.Flush(); err != nil {
		return err
	}
	for {
		if err := transaction(client, session, turn); err != nil {
			return err
		}
	}
}

// transaction lends the session to a client until it is idle again.
func transaction(client *pgproto3.Backend, session *pgconn.HijackedConn, turn *sync.Mutex) error {
	m, err := client.Receive()
	if err != nil {
		return err
	}
	turn.Lock()
	defer turn.Unlock()
	for {
		if _, over := m.(*pgproto3.Terminate); over {
			return net.ErrClosed
		}
		session.Frontend.Send(m)
		switch m.(type) {
		case *pgproto3.Sync, *pgproto3.Query:
			if err := session.Frontend.Flush(); err != nil {
				return err
			}
			status, err := answer(client, session)
			if err != nil || status == 'I' {
				return err
			}
		}
		if m, err = client.Receive(); err != nil {
			return err
		}
	}
}

func answer(client *pgproto3.Backend, session *pgconn.HijackedConn) (status byte, err error) {
	for {
		m, err := session.Frontend.Receive()
		if err != nil {
			return 0, err
		}
		client.Send(m)
		if ready, ok := m.(*pgproto3.ReadyForQuery); ok {
			return ready.TxStatus, client.Flush()
		}
	}
}

// TestCheckWriter: what a user may do is known before the first write.
func TestCheckWriter(t *testing.T) {
	s := pgtest.Shared(t)
	name, url := newDatabase(t, s)
	for _, tc := range []struct {
		role, member string
		refused      bool
		warns        string
	}{
		{"w_writer", "sigbox_guard_writer", false, ""},
		{"w_owner", "sigbox_guard_writer, sigbox_guard_owner", false, "owner of the tables"},
		{"w_reader", "sigbox_guard_reader", true, ""},
	} {
		s.Exec(t, name, "CREATE ROLE "+tc.role+" LOGIN", "GRANT "+tc.member+" TO "+tc.role)
		t.Cleanup(func() { s.Exec(t, "postgres", "DROP ROLE "+tc.role) })
		var log bytes.Buffer
		db := open(t, strings.Replace(url, "user=postgres", "user="+tc.role, 1), func(c *pg.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		err := db.CheckWriter(t.Context())
		if refused := err != nil && strings.Contains(err.Error(), "GRANT sigbox_guard_writer TO \""+tc.role+"\""); refused != tc.refused || !refused && err != nil {
			t.Errorf("%s: %v", tc.role, err)
		}
		if got := strings.Contains(log.String(), "owner of the tables"); got != (tc.warns != "") {
			t.Errorf("%s: log %q", tc.role, &log)
		}
	}
	s.Exec(t, name, "CREATE ROLE w_nobody LOGIN")
	t.Cleanup(func() { s.Exec(t, "postgres", "DROP ROLE w_nobody") })
	wantUnsafe(t, strings.Replace(url, "user=postgres", "user=w_nobody", 1), "w_nobody is not a member of sigbox_guard_writer", "run sigbox migrate")
}
