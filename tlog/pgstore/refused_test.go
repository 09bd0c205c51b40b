package pgstore_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
)

// refused appends an entry that the database refuses again and again, and wants 503 for it, with
// the SQLSTATE for the operator, and nothing of it in the log.
func (v *victim) refused(t testing.TB, code string, tries int) {
	t.Helper()
	h, err := v.healthy.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, updates, err := v.append(t)
	if !errors.Is(err, tlog.ErrUnavailable) || errors.Is(err, tlog.ErrUnknownOutcome) || pg.Code(err) != code {
		t.Errorf("append: %v, want ErrUnavailable and SQLSTATE %s", err, code)
	}
	if len(updates) != tries {
		t.Errorf("%d tries, want %d: %v", len(updates), tries, updates)
	}
	if now, err := v.healthy.Head(t.Context()); err != nil || now.Size != h.Size {
		t.Errorf("the log has size %d, %v; want %d", now.Size, err, h.Size)
	}
}

// transaction runs statements on a connection and leaves the transaction open.
func transaction(t testing.TB, c *pgx.Conn, statements ...string) {
	t.Helper()
	exec(t, c, "BEGIN")
	for _, q := range statements {
		exec(t, c, q)
	}
}

// waiting waits until a session waits for a lock.
func waiting(t testing.TB, server *pgtest.Server, pid uint32) {
	t.Helper()
	c := server.Connect(t, "postgres")
	for waits := false; !waits; {
		err := c.QueryRow(t.Context(), "SELECT coalesce(wait_event_type = 'Lock', false) FROM pg_stat_activity WHERE pid = $1", int32(pid)).Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestDeadlock(t *testing.T) {
	server := pgtest.Shared(t)
	v := newVictim(t, server, server.URL)
	other := server.Connect(t, v.name)
	transaction(t, other, "SET LOCAL deadlock_timeout = '1h'", "LOCK TABLE tlog.tlog_tile IN ACCESS EXCLUSIVE MODE")
	let := make(chan error)
	// With the head locked by us, the other session asks for it too, and we for its table.
	cross := func(tx tlog.Tx) (*tlog.Batch, error) {
		go func() {
			_, err := other.Exec(t.Context(), "SELECT FROM tlog.tlog_head FOR UPDATE")
			if err == nil {
				_, err = other.Exec(t.Context(), "ROLLBACK")
			}
			let <- err
		}()
		waiting(t, server, other.PgConn().PID())
		return appendOne(t, v)(tx)
	}
	// The server looks for a deadlock after a second of waiting, which must not be cut short.
	patient := openStore(t, openDB(t, server.URL(v.name)), "test")
	err := patient.Update(t.Context(), nil, cross)
	if !errors.Is(err, tlog.ErrTransient) || pg.Code(err) != "40P01" {
		t.Errorf("update: %v, want a deadlock", err)
	}
	if err := <-let; err != nil {
		t.Errorf("the other session: %v", err)
	}
	v.done(t)
}

// appendOne returns a callback that appends a leaf as the engine would, but is never committed.
func appendOne(t testing.TB, v *victim) func(tlog.Tx) (*tlog.Batch, error) {
	return func(tx tlog.Tx) (*tlog.Batch, error) {
		h := tx.Head()
		l := tlog.Leaf{Index: h.Size, TimeMS: h.TimeMS + 1, Identity: [32]byte{1}, Hash: [32]byte{2}, Data: []byte("x")}
		return &tlog.Batch{
			Rows: tlog.Rows{Leaves: []tlog.Leaf{l}, Keys: []tlog.Key{{Key: []byte("k"), Index: h.Size}}, Tiles: []tlog.TileRow{{N: 7, Hashes: make([]byte, 8192)}}},
			Seal: func(tlog.Rows) (tlog.Head, error) { t.Error("sealed"); return tlog.Head{}, errors.New("sealed") },
		}, nil
	}
}

// TestSerializationFailure has a trigger raise what a stricter isolation level would.
func TestSerializationFailure(t *testing.T) {
	server := pgtest.Shared(t)
	v := newVictim(t, server, server.URL)
	fail := func(times int) {
		server.Exec(t, v.name, "DROP SEQUENCE IF EXISTS public.tries", "CREATE SEQUENCE public.tries", "GRANT ALL ON SEQUENCE public.tries TO PUBLIC",
			fmt.Sprintf(`CREATE OR REPLACE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF nextval('public.tries') <= %d THEN RAISE EXCEPTION 'not serializable' USING ERRCODE = 'serialization_failure'; END IF; RETURN NULL; END $$`, times),
			"CREATE OR REPLACE TRIGGER fail AFTER INSERT ON tlog.tlog_leaf FOR EACH STATEMENT EXECUTE FUNCTION public.fail()")
	}
	t.Cleanup(func() { server.Exec(t, v.name, "DROP FUNCTION public.fail() CASCADE", "DROP SEQUENCE public.tries") })
	fail(2)
	if _, updates, err := v.append(t); err != nil || len(updates) != 3 || pg.Code(updates[1]) != "40001" {
		t.Errorf("two failures: %v, updates %v", err, updates)
	}
	fail(3)
	v.refused(t, "40001", 3)
	v.done(t)
}

func TestLockTimeout(t *testing.T) {
	server := pgtest.Shared(t)
	v := newVictim(t, server, server.URL)
	other := server.Connect(t, v.name)
	transaction(t, other, "SELECT FROM tlog.tlog_head FOR UPDATE")
	v.refused(t, "55P03", 3)
	exec(t, other, "ROLLBACK") // it is not one of ours, and was not ended
	v.done(t)
}

func TestStatementTimeout(t *testing.T) {
	server := pgtest.Shared(t)
	v := newVictim(t, server, server.URL)
	other := server.Connect(t, v.name)
	transaction(t, other, "LOCK TABLE tlog.tlog_key IN ACCESS EXCLUSIVE MODE")
	store := openStore(t, openDB(t, server.URL(v.name), impatient, func(c *pg.Config) { c.LockTimeout, c.StatementTimeout = time.Minute, 300*time.Millisecond }), "test")
	if err := store.Update(t.Context(), nil, appendOne(t, v)); !errors.Is(err, tlog.ErrTransient) || pg.Code(err) != "57014" {
		t.Errorf("update: %v, want a statement timeout", err)
	}
	exec(t, other, "ROLLBACK")
	v.done(t)
}

func TestTooManyConnections(t *testing.T) {
	server := pgtest.Start(t, "max_connections=12", "superuser_reserved_connections=0", "max_wal_senders=0")
	v := newVictim(t, server, server.URL)
	terminate(t, server, v.name)
	server.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sigbox writer'")
	var taken []*pgx.Conn
	for {
		c, err := pgx.Connect(t.Context(), server.URL("postgres"))
		if err != nil {
			break
		}
		taken = append(taken, c)
	}
	_, updates, err := v.append(t)
	if !errors.Is(err, tlog.ErrUnavailable) || pg.Code(err) != "53300" {
		t.Errorf("append: %v, updates %v; want too many connections", err, updates)
	}
	for _, c := range taken {
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	v.done(t)
}

// TestReadOnly takes the right to write away, as an operator does before maintenance and as a
// fail-over does that leaves us with a standby.
func TestReadOnly(t *testing.T) {
	server := pgtest.Shared(t)
	v := newVictim(t, server, server.URL)
	server.Exec(t, "postgres", "ALTER DATABASE "+v.name+" SET default_transaction_read_only = on")
	t.Cleanup(func() { server.Exec(t, "postgres", "ALTER DATABASE "+v.name+" RESET default_transaction_read_only") })
	server.Exec(t, "postgres", "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'sigbox writer' AND datname = '"+v.name+"'")
	if _, _, err := v.append(t); !errors.Is(err, tlog.ErrUnavailable) || pg.Code(err) != "25006" {
		t.Errorf("append to a read-only database: %v", err)
	}
	v.refused(t, "25006", 1)
	if _, err := v.log.Leaf(t.Context(), 3); err != nil {
		t.Errorf("read: %v", err)
	}
	// No session is kept that was told it cannot write: the next one is as the database is now.
	server.Exec(t, "postgres", "ALTER DATABASE "+v.name+" RESET default_transaction_read_only")
	v.done(t)
}

// TestDiskFull puts a table's file onto a device that is always full, until there is space again.
func TestDiskFull(t *testing.T) {
	server := pgtest.Start(t)
	v := newVictim(t, server, server.URL)
	var path string
	if err := server.Connect(t, v.name).QueryRow(t.Context(), "SELECT pg_relation_filepath('tlog.tlog_tile')").Scan(&path); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(server.Dir(), "data", path)
	server.Exec(t, "postgres", "CHECKPOINT")
	server.Kill(t)
	if err := errors.Join(os.Rename(path, path+".real"), os.Symlink("/dev/full", path)); err != nil {
		t.Fatal(err)
	}
	server.Restart(t)
	for v.next < 255 {
		if _, _, err := v.append(t); err != nil {
			t.Fatalf("append of entry %d, which needs no new tile: %v", v.next-1, err)
		}
	}
	for range 2 {
		v.refused(t, "53100", 1)
	}
	if cp, err := v.log.Checkpoint(t.Context()); err != nil || cp.Size != 255 {
		t.Errorf("the published head has size %d, %v", cp.Size, err)
	}
	server.Kill(t)
	if err := os.Rename(path+".real", path); err != nil {
		t.Fatal(err)
	}
	server.Restart(t)
	v.done(t)
}
