package pgstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/pgstore"
	"github.com/sigbox/sigbox/tlog/storetest"
)

// newDatabase makes a database with the schema and returns its name.
func newDatabase(t testing.TB, s *pgtest.Server) string {
	t.Helper()
	return s.Reused(t, "tlog", migrate, wipe)
}

func migrate(url string) error { return pg.Migrate(context.Background(), url, "tlog") }

// wipe deletes every row, as nobody but a superuser can.
func wipe(url string) error {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, `SET session_replication_role = replica; DELETE FROM tlog.tlog_head; DELETE FROM tlog.tlog_leaf; DELETE FROM tlog.tlog_tile; DELETE FROM tlog.tlog_filter; `+
		`DELETE FROM tlog.tlog_key; DELETE FROM tlog.attestation; DELETE FROM tlog.tlog`)
	return err
}

// asWriter makes a connection string one of the role that serve runs as.
func asWriter(connection string) string {
	return connection + "&role=sigbox_tlog_writer"
}

func openDB(t testing.TB, connection string, options ...func(*pg.Config)) *pg.DB {
	t.Helper()
	cfg := pg.Config{URL: asWriter(connection), Schema: "tlog"}
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

func openStore(t testing.TB, db *pg.DB, name string) *pgstore.Store {
	t.Helper()
	s, err := pgstore.Open(t.Context(), db, name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newStore returns the store of a log "test" in a database of its own.
func newStore(t testing.TB, options ...func(*pg.Config)) *pgstore.Store {
	t.Helper()
	s := pgtest.Shared(t)
	return openStore(t, openDB(t, s.URL(newDatabase(t, s)), options...), "test")
}

func TestLog(t *testing.T) {
	logtest.Run(t, func(t testing.TB, options ...func(*tlog.Config)) tlog.Log {
		store, cfg := newStore(t), logtest.Config(t, options...)
		if err := tlog.Create(t.Context(), store, cfg, nil); err != nil {
			t.Fatal(err)
		}
		return logtest.Open(t, store, cfg)
	})
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Fixture {
		return fixture(t, newDatabase(t, pgtest.Shared(t)))
	})
}

func fixture(t testing.TB, database string) storetest.Fixture {
	server := pgtest.Shared(t)
	s := openStore(t, openDB(t, server.URL(database)), "test")
	return storetest.Fixture{
		Store:   s,
		UseHook: s.UseHook,
		Another: func(t testing.TB) tlog.Store { return openStore(t, openDB(t, server.URL(database)), "test") },
		Backup:  func(t testing.TB) storetest.Fixture { return fixture(t, backup(t, server, database)) },
		Tamper: func(t testing.TB, at storetest.Cell, change func([]byte) []byte) {
			tamper(t, server.Connect(t, database), at, change)
		},
	}
}

// backup copies all rows as they are at one moment into a new database, and returns its name.
func backup(t testing.TB, server *pgtest.Server, database string) string {
	t.Helper()
	name := newDatabase(t, server)
	copyRows(t, server, database, name)
	return name
}

// copyRows copies all rows of a database into an empty one.
func copyRows(t testing.TB, server *pgtest.Server, database, name string) {
	t.Helper()
	from, to := server.Connect(t, database), server.Connect(t, name)
	exec(t, from, "BEGIN ISOLATION LEVEL REPEATABLE READ")
	for _, table := range []string{"tlog", "tlog_head", "tlog_leaf", "tlog_tile", "tlog_filter", "tlog_key", "attestation"} {
		var rows bytes.Buffer
		if _, err := from.PgConn().CopyTo(t.Context(), &rows, "COPY tlog."+table+" TO STDOUT (FORMAT binary)"); err != nil {
			t.Fatal(err)
		}
		if _, err := to.PgConn().CopyFrom(t.Context(), &rows, "COPY tlog."+table+" FROM STDIN (FORMAT binary)"); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, to, "SELECT setval(pg_get_serial_sequence('tlog.tlog', 'id'), (SELECT max(id) FROM tlog.tlog))")
	exec(t, from, "COMMIT")
}

func exec(t testing.TB, c *pgx.Conn, query string, args ...any) {
	t.Helper()
	if _, err := c.Exec(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// tamper changes a value as a superuser can, who switches off what is in the way.
func tamper(t testing.TB, c *pgx.Conn, at storetest.Cell, change func([]byte) []byte) {
	t.Helper()
	exec(t, c, "SET session_replication_role = replica")
	where := map[string]string{
		"tlog_leaf": "idx = %[2]d", "tlog_key": "idx = %[2]d", "attestation": "idx = %[2]d", "tlog_tile": "level = %d AND n = %d", "tlog_head": "true",
	}[at.Table]
	table := "tlog." + at.Table
	if at.Table != "tlog_head" {
		where = fmt.Sprintf(where, at.Level, at.N)
	}
	var old any
	if err := c.QueryRow(t.Context(), "SELECT "+at.Column+" FROM "+table+" WHERE "+where).Scan(&old); err != nil {
		t.Fatal(err)
	}
	number, isNumber := old.(int64)
	if isNumber {
		old = binary.BigEndian.AppendUint64(nil, uint64(number))
	}
	changed := change(old.([]byte))
	switch {
	case changed == nil:
		exec(t, c, "DELETE FROM "+table+" WHERE "+where)
	case isNumber:
		exec(t, c, "UPDATE "+table+" SET "+at.Column+" = $1 WHERE "+where, int64(binary.BigEndian.Uint64(changed)))
	default:
		exec(t, c, "UPDATE "+table+" SET "+at.Column+" = $1 WHERE "+where, changed)
	}
}
