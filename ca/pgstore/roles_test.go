package pgstore_test

import (
	"math/big"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/pgstore"
	"github.com/sigbox/sigbox/ca/storetest"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
)

const (
	denied  = "42501" // insufficient_privilege
	refused = "23001" // restrict_violation: a trigger of ours
)

// TestAppendOnly tries to change records as every role. The writer and the reader have no right to;
// whoever has, is refused by triggers.
func TestAppendOnly(t *testing.T) {
	server := pgtest.Shared(t)
	name := newDatabase(t, server)
	s := pgstore.New(openDB(t, server.URL(name)))
	if err := s.Intend(t.Context(), storetest.Intent(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(t.Context(), ca.Outcome{Serial: big.NewInt(1), At: time.Now(), Precertificate: []byte("p"), Certificate: []byte("c")}); err != nil {
		t.Fatal(err)
	}
	var attempts []string
	for _, table := range []string{"ca_intent", "ca_outcome"} {
		attempts = append(attempts, "UPDATE ca."+table+" SET id = DEFAULT", "DELETE FROM ca."+table, "TRUNCATE ca."+table)
	}
	attempts = append(attempts,
		"UPDATE ca.ca_outcome SET failure = 'x'", "UPDATE ca.ca_intent SET subject = 'x'",
		"INSERT INTO ca.ca_outcome SELECT * FROM ca.ca_outcome ON CONFLICT (id) DO UPDATE SET certificate = NULL")
	for _, q := range attempts {
		try(t, server, name, "sigbox_ca_writer", q, denied)
		try(t, server, name, "sigbox_ca_reader", q, denied)
		try(t, server, name, "sigbox_ca_owner", q, refused)
		try(t, server, name, "postgres", q, refused)
	}
	for _, q := range []string{
		"DROP TABLE ca.ca_intent", "ALTER TABLE ca.ca_outcome DISABLE TRIGGER ALL", "CREATE TABLE ca.mine (a int)", "SET session_replication_role = replica",
		"INSERT INTO ca.schema_version (version_id, is_applied) VALUES (7, true)", "SET ROLE sigbox_ca_owner",
	} {
		for _, role := range []string{"writer", "reader"} {
			try(t, server, name, "sigbox_ca_"+role, q, denied)
		}
	}
	for _, table := range []string{"ca_intent", "ca_outcome"} {
		try(t, server, name, "sigbox_ca_reader", "INSERT INTO ca."+table+" DEFAULT VALUES", denied)
	}
	for _, table := range []string{"ca_intent", "ca_outcome", "ca_issuance"} {
		try(t, server, name, "sigbox_ca_reader", "SELECT FROM ca."+table, "")
	}
	if r := storetest.All(t, s); len(r) != 1 || r[0].State != ca.Issued {
		t.Errorf("records %+v", r)
	}
}

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
