package pgstore_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tuf/pgstore"
	"github.com/sigbox/sigbox/tuf/storetest"
)

// newDatabase makes a database with the schema and returns its name.
func newDatabase(t testing.TB, s *pgtest.Server) string {
	t.Helper()
	return s.Reused(t, "tuf", func(url string) error { return pg.Migrate(context.Background(), url, "tuf") }, wipe)
}

// wipe takes every row away, as nobody but a superuser can.
func wipe(url string) error {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, `SET session_replication_role = replica; DELETE FROM tuf.tuf_metadata; DELETE FROM tuf.tuf_target; DELETE FROM tuf.tuf_content; `+
		`DELETE FROM tuf.tuf_record; DELETE FROM tuf.tuf_transcript; DELETE FROM tuf.tuf_inbox; `+
		`UPDATE tuf.tuf_current SET root = 0, targets = 0, snapshot = 0, timestamp = 0`)
	return err
}

// asWriter makes a connection string one of the role that serve runs as.
func asWriter(url string) string { return url + "&role=sigbox_tuf_writer" }

func openStore(t testing.TB, url string, options ...func(*pg.Config)) *pgstore.Store {
	t.Helper()
	cfg := pg.Config{URL: asWriter(url), Schema: "tuf"}
	for _, o := range options {
		o(&cfg)
	}
	db, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return pgstore.New(db)
}

func exec(t testing.TB, c *pgx.Conn, statements ...string) {
	t.Helper()
	for _, q := range statements {
		if _, err := c.Exec(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Fixture {
		server := pgtest.Shared(t)
		name := newDatabase(t, server)
		return storetest.Fixture{
			Store:   openStore(t, server.URL(name)),
			Another: func(t testing.TB) storetest.Store { return openStore(t, server.URL(name)) },
			Stop:    func(t testing.TB, point string) func() { return stop(t, server.Connect(t, name), point) },
			Exec: func(t testing.TB, statement string) {
				exec(t, server.Connect(t, name), "SET session_replication_role = replica", "SET search_path = tuf", statement)
			},
		}
	})
}

// stop has a trigger raise an error at a point.
func stop(t testing.TB, c *pgx.Conn, point string) (goOn func()) {
	t.Helper()
	exec(t, c, `CREATE OR REPLACE FUNCTION public.stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'stop'; END $$`)
	trigger, table := "TRIGGER stop BEFORE INSERT", "tuf.tuf_metadata"
	when := "FOR EACH ROW WHEN (NEW.role = '" + point + "')"
	switch point {
	case "content":
		table, when = "tuf.tuf_content", "FOR EACH ROW"
	case "record", "transcript":
		table, when = "tuf.tuf_"+point, "FOR EACH ROW"
	case "current":
		trigger, table, when = "TRIGGER stop BEFORE UPDATE", "tuf.tuf_current", "FOR EACH ROW"
	case "commit":
		trigger, table, when = "CONSTRAINT TRIGGER stop AFTER UPDATE", "tuf.tuf_current", "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
	}
	exec(t, c, "CREATE "+trigger+" ON "+table+" "+when+" EXECUTE FUNCTION public.stop()")
	return func() { exec(t, c, "DROP FUNCTION public.stop() CASCADE") }
}
