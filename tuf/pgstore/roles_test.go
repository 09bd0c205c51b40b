package pgstore_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/storetest"
)

const (
	denied  = "42501" // insufficient_privilege
	refused = "23001" // restrict_violation: a trigger of ours
)

// TestAppendOnly tries to change what was published as every role. The writer may move the current
// set, forward; whoever has more rights is refused by triggers.
func TestAppendOnly(t *testing.T) {
	server := pgtest.Shared(t)
	name := newDatabase(t, server)
	store := openStore(t, server.URL(name))
	r := tuf.New(storetest.Config(t, store))
	if err := r.Create(t.Context(), storetest.List("old")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Publish(t.Context(), storetest.List("new")); err != nil {
		t.Fatal(err)
	}
	before := r.Published().Versions()
	var attempts []attempt
	for table, column := range map[string]string{"tuf_metadata": "bytes", "tuf_content": "content", "tuf_target": "sha256",
		"tuf_record": "record", "tuf_transcript": "transcript", "tuf_inbox": "envelope"} {
		attempts = append(attempts,
			attempt{"UPDATE tuf." + table + " SET " + column + " = 'x'", denied, refused},
			attempt{"DELETE FROM tuf." + table, denied, refused}, attempt{"TRUNCATE tuf." + table + " CASCADE", denied, refused})
	}
	attempts = append(attempts,
		attempt{"DELETE FROM tuf.tuf_current", denied, refused}, attempt{"TRUNCATE tuf.tuf_current", denied, refused},
		attempt{"INSERT INTO tuf.tuf_current VALUES (1, 9, 9, 9, 9)", denied, refused}, attempt{"UPDATE tuf.tuf_current SET one = 2", denied, refused},
		attempt{"INSERT INTO tuf.tuf_metadata SELECT * FROM tuf.tuf_metadata ON CONFLICT (role, version) DO UPDATE SET bytes = 'x'", denied, refused},
		// What the writer may do, only forward.
		attempt{"UPDATE tuf.tuf_current SET timestamp = timestamp", refused, refused}, attempt{"UPDATE tuf.tuf_current SET timestamp = timestamp - 1", refused, refused},
		attempt{"UPDATE tuf.tuf_current SET snapshot = snapshot - 1, timestamp = timestamp + 1", refused, refused},
		attempt{"UPDATE tuf.tuf_current SET targets = targets - 1, timestamp = timestamp + 1", refused, refused},
		attempt{"UPDATE tuf.tuf_current SET root = root - 1, timestamp = timestamp + 1", refused, refused},
		attempt{"DROP TABLE tuf.tuf_target", denied, ""}, attempt{"ALTER TABLE tuf.tuf_current DISABLE TRIGGER ALL", denied, ""},
		attempt{"CREATE TABLE tuf.mine (a int)", denied, ""}, attempt{"SET session_replication_role = replica", denied, ""},
		attempt{"INSERT INTO tuf.schema_version (version_id, is_applied) VALUES (7, true)", denied, ""}, attempt{"SET ROLE sigbox_tuf_owner", denied, ""},
	)
	for _, a := range attempts {
		try(t, server, name, "sigbox_tuf_writer", a.query, a.writer)
		try(t, server, name, "sigbox_tuf_reader", a.query, denied)
		if a.owner != "" {
			try(t, server, name, "sigbox_tuf_owner", a.query, a.owner)
			try(t, server, name, "postgres", a.query, a.owner)
		}
	}
	for _, table := range []string{"tuf_metadata", "tuf_content", "tuf_target", "tuf_record", "tuf_transcript", "tuf_inbox", "tuf_current"} {
		try(t, server, name, "sigbox_tuf_reader", "INSERT INTO tuf."+table+" DEFAULT VALUES", denied)
		try(t, server, name, "sigbox_tuf_reader", "SELECT FROM tuf."+table, "")
	}
	if v, err := store.Versions(t.Context()); err != nil || v != before {
		t.Errorf("versions %+v, %v, want %+v", v, err, before)
	}
}

// attempt is a statement, and the SQLSTATE that refuses it to the writer and to the owner.
type attempt struct{ query, writer, owner string }

// try runs a statement as somebody who has logged in as a role.
func try(t testing.TB, server *pgtest.Server, database, role, query, want string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), server.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if _, err := c.Exec(t.Context(), "SET SESSION AUTHORIZATION "+role); err != nil {
		t.Fatal(err)
	}
	_, err = c.Exec(t.Context(), "BEGIN; "+query+"; COMMIT")
	if pg.Code(err) != want || (err == nil) != (want == "") {
		t.Errorf("%s as %s: %v, want SQLSTATE %q", query, role, err, want)
	}
}
