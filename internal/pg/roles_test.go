package pg_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
)

const denied = "42501" // insufficient_privilege

// TestSchemasApart puts all services into one database. The roles of each must see nothing of the
// others' tables, nor become one of the others' roles: each pair is a row.
func TestSchemasApart(t *testing.T) {
	s := pgtest.Shared(t)
	name := s.Database(t)
	schemas := []string{"ca", "tlog", "tuf", "guard"}
	if err := pg.Migrate(t.Context(), s.URL(name), schemas...); err != nil {
		t.Fatal(err)
	}
	admin := s.Connect(t, name)
	for _, mine := range schemas {
		open(t, s.URL(name)+"&role=sigbox_"+mine+"_writer", func(c *pg.Config) { c.Schema = mine }) // as serve does
		for _, role := range []string{"owner", "writer", "reader"} {
			login := "test_" + mine + "_" + role
			s.Exec(t, name, "CREATE ROLE "+login+" LOGIN IN ROLE sigbox_"+mine+"_"+role)
			t.Cleanup(func() { s.Exec(t, "postgres", "DROP ROLE "+login) })
			c, err := pgx.Connect(t.Context(), s.URL(name)+"&user="+login)
			if err != nil {
				t.Fatal(err)
			}
			for _, other := range schemas {
				t.Run(mine+" "+role+" in "+other, func(t *testing.T) { apart(t, c, tables(t, admin, other), mine, other) })
			}
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

// tables returns the tables and views of a schema.
func tables(t *testing.T, admin *pgx.Conn, schema string) []string {
	t.Helper()
	rows, err := admin.Query(t.Context(), "SELECT table_name::text FROM information_schema.tables WHERE table_schema = $1", schema)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(list) < 2 {
		t.Fatalf("schema %s has tables %v, %v", schema, list, err)
	}
	return list
}

func apart(t *testing.T, c *pgx.Conn, tables []string, mine, other string) {
	want := denied
	if mine == other {
		want = "" // the test must be able to see what it is not shown
	}
	var queries []string
	for _, table := range tables {
		queries = append(queries, "SELECT FROM "+other+"."+table)
		if mine != other {
			queries = append(queries, "INSERT INTO "+other+"."+table+" DEFAULT VALUES", "DELETE FROM "+other+"."+table)
		}
	}
	if mine != other {
		for _, role := range []string{"owner", "writer", "reader"} {
			queries = append(queries, fmt.Sprintf("SET ROLE sigbox_%s_%s", other, role))
		}
		queries = append(queries, "CREATE TABLE "+other+".mine (a int)", "GRANT USAGE ON SCHEMA "+other+" TO PUBLIC")
	}
	for _, q := range queries {
		if _, err := c.Exec(t.Context(), q); pg.Code(err) != want || (err == nil) != (want == "") {
			t.Errorf("%s: %v, want SQLSTATE %q", q, err, want)
		}
	}
}
