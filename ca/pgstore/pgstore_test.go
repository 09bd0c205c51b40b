package pgstore_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/ca/pgstore"
	"github.com/sigbox/sigbox/ca/storetest"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
)

// newDatabase makes a database with the schema and returns its name.
func newDatabase(t testing.TB, s *pgtest.Server) string {
	t.Helper()
	return s.Reused(t, "ca", func(url string) error { return pg.Migrate(context.Background(), url, "ca") }, wipe)
}

// wipe deletes every row, as nobody but a superuser can.
func wipe(url string) error {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, "SET session_replication_role = replica; DELETE FROM ca.ca_intent; DELETE FROM ca.ca_outcome")
	return err
}

// openDB opens a database as the role that serve runs as.
func openDB(t testing.TB, url string, options ...func(*pg.Config)) *pg.DB {
	t.Helper()
	cfg := pg.Config{URL: url + "&role=sigbox_ca_writer", Schema: "ca"}
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

func TestStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Fixture {
		s := pgtest.Shared(t)
		url := s.URL(newDatabase(t, s))
		return storetest.Fixture{
			Store:  pgstore.New(openDB(t, url)),
			Reopen: func(t testing.TB) storetest.Store { return pgstore.New(openDB(t, url)) },
		}
	})
}
