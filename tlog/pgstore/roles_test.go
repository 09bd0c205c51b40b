package pgstore_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
)

const (
	denied  = "42501" // insufficient_privilege
	refused = "23001" // restrict_violation: a trigger of ours
)

// TestAppendOnly tries to change history as every role. The writer and the reader have no right to;
// whoever has, is refused by triggers.
func TestAppendOnly(t *testing.T) {
	server := pgtest.Shared(t)
	name := newDatabase(t, server)
	store := openStore(t, openDB(t, server.URL(name)), "test")
	var seeds []tlog.Entry
	for i := range 300 {
		seeds = append(seeds, logtest.Numbered(i))
	}
	cfg := logtest.Config(t)
	if err := tlog.Create(t.Context(), store, cfg, seeds); err != nil {
		t.Fatal(err)
	}
	exec(t, server.Connect(t, name), "INSERT INTO tlog.attestation SELECT id, 7, 'x' FROM tlog.tlog")
	var attempts []attempt
	for _, table := range []string{"tlog_leaf", "tlog_tile", "tlog_filter", "tlog_key", "attestation"} {
		attempts = append(attempts,
			attempt{"UPDATE tlog." + table + " SET log_id = log_id", denied, refused},
			attempt{"DELETE FROM tlog." + table, denied, refused},
			attempt{"TRUNCATE tlog." + table, denied, refused},
		)
	}
	for _, q := range []string{
		"DELETE FROM tlog.tlog_head", "TRUNCATE tlog.tlog_head", "DELETE FROM tlog.tlog", "TRUNCATE tlog.tlog CASCADE",
		"UPDATE tlog.tlog_head SET log_id = 7", "UPDATE tlog.tlog SET origin = 'x'", "UPDATE tlog.tlog SET key_sha256 = key_sha256",
		"INSERT INTO tlog.tlog_leaf SELECT * FROM tlog.tlog_leaf ON CONFLICT (log_id, idx) DO UPDATE SET data = 'x'",
	} {
		attempts = append(attempts, attempt{q, denied, refused})
	}
	attempts = append(attempts,
		attempt{"DROP TABLE tlog.tlog_key", denied, ""}, attempt{"ALTER TABLE tlog.tlog_leaf DISABLE TRIGGER ALL", denied, ""},
		attempt{"CREATE TABLE tlog.mine (a int)", denied, ""}, attempt{"SET session_replication_role = replica", denied, ""},
		attempt{"INSERT INTO tlog.schema_version (version_id, is_applied) VALUES (7, true)", denied, ""},
		// What the writer may do, only forward.
		attempt{"UPDATE tlog.tlog_head SET size = size - 1, time_ms = time_ms + 1", refused, refused},
		attempt{"UPDATE tlog.tlog_head SET size = size, time_ms = time_ms + 1", refused, refused},
		attempt{"UPDATE tlog.tlog_head SET size = size + 1, time_ms = time_ms", refused, refused},
		attempt{"UPDATE tlog.tlog_head SET size = size, root = sha256(root)", refused, refused},
		attempt{"UPDATE tlog.tlog_head SET size = size, checkpoint = checkpoint", "", ""},
	)
	for _, a := range attempts {
		try(t, server, name, "sigbox_tlog_writer", a.query, a.writer)
		try(t, server, name, "sigbox_tlog_reader", a.query, denied)
		if a.owner != "" {
			try(t, server, name, "sigbox_tlog_owner", a.query, a.owner)
			try(t, server, name, "postgres", a.query, a.owner)
		}
	}
	for _, table := range []string{"tlog", "tlog_head", "tlog_leaf", "tlog_tile", "tlog_filter", "tlog_key", "attestation"} {
		try(t, server, name, "sigbox_tlog_reader", "INSERT INTO tlog."+table+" DEFAULT VALUES", denied)
		try(t, server, name, "sigbox_tlog_reader", "SELECT FROM tlog."+table, "")
	}
	if err := store.Freeze(t.Context(), func(tlog.Head) (tlog.Ending, error) { return tlog.Ending{Lost: 1, Reason: "lost"}, nil }); err != nil {
		t.Fatal(err)
	}
	try(t, server, name, "sigbox_tlog_writer", "UPDATE tlog.tlog SET state = 'active'", refused)
	try(t, server, name, "sigbox_tlog_writer", "UPDATE tlog.tlog SET state = 'frozen'", "")
	try(t, server, name, "sigbox_tlog_writer", "UPDATE tlog.tlog SET frozen_why = ''", refused)
	try(t, server, name, "sigbox_tlog_writer", "UPDATE tlog.tlog SET lost = 0", refused)
	if _, err := tlog.Fsck(t.Context(), store, tlog.Audit{Verifier: cfg.Signer.Verifier()}); err != nil {
		t.Error(err)
	}
}

// attempt is a statement, and the SQLSTATE that refuses it to the writer and to the owner.
type attempt struct{ query, writer, owner string }

func try(t testing.TB, server *pgtest.Server, database, role, query, want string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), server.URL(database)+"&role="+role)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	_, err = c.Exec(t.Context(), "BEGIN; "+query+"; COMMIT")
	if pg.Code(err) != want || (err == nil) != (want == "") {
		t.Errorf("%s as %s: %v, want SQLSTATE %q", query, role, err, want)
	}
}

// TestMigrate migrates as somebody who is no superuser, twice, and many at a time.
func TestMigrate(t *testing.T) {
	server := pgtest.Shared(t)
	name := server.Database(t)
	server.Exec(t, "postgres", "DROP ROLE IF EXISTS dba", "CREATE ROLE dba LOGIN CREATEROLE", "GRANT CREATE ON DATABASE "+name+" TO dba")
	t.Cleanup(func() {
		server.Exec(t, name, "REASSIGN OWNED BY dba TO postgres", "DROP OWNED BY dba", "DROP ROLE dba")
	})
	url := server.TCP(name)
	url = "postgres://dba@" + url[len("postgres://postgres@"):]
	errs := make(chan error)
	for range 4 {
		go func() { errs <- pg.Migrate(t.Context(), url, "tlog", "guard") }()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Errorf("migrate: %v", err)
		}
	}
	if err := pg.Migrate(t.Context(), url, "tlog"); err != nil {
		t.Errorf("migrate again: %v", err)
	}
	openStore(t, openDB(t, server.URL(name)), "test")
	var owners int
	err := server.Connect(t, name).QueryRow(t.Context(), `SELECT count(DISTINCT relowner) FROM pg_class WHERE relnamespace = 'tlog'::regnamespace`).Scan(&owners)
	if err != nil || owners != 1 {
		t.Errorf("the tables have %d owners, %v", owners, err)
	}
	if err := pg.Migrate(t.Context(), url, "nothing"); err == nil {
		t.Error("a schema that does not exist was migrated")
	}
}

// TestNobodyCannotMigrate says which right is missing.
func TestNobodyCannotMigrate(t *testing.T) {
	server := pgtest.Shared(t)
	newDatabase(t, server) // makes the roles
	name := server.Database(t)
	server.Exec(t, "postgres", "DROP ROLE IF EXISTS nobody", "CREATE ROLE nobody LOGIN")
	url := server.TCP(name)
	err := pg.Migrate(t.Context(), "postgres://nobody@"+url[len("postgres://postgres@"):], "tlog")
	if err == nil || pg.Code(err) != denied {
		t.Errorf("migrate as nobody: %v", err)
	}
}
