package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/migrations"
)

// Migrated is what Migrate did to one schema.
type Migrated struct {
	Schema string
	User   string // that serve connects as
	Todo   string // what an administrator has to do yet, "" for nothing
}

// Migrate brings the schemas of all configured databases up to date and makes the users that serve
// connects as members of the writer roles.
func Migrate(ctx context.Context, cfg *config.Config) (done []Migrated, err error) {
	for _, d := range schemas(cfg) {
		m, err := migrate(ctx, d.schema, d.database)
		if err != nil {
			return done, fmt.Errorf("%s: %w", d.key, err)
		}
		done = append(done, m)
	}
	return done, nil
}

// schema is one schema of a configuration.
type schema struct {
	schema, key string
	database    *config.Database
}

func schemas(cfg *config.Config) (list []schema) {
	if t := cfg.TLog; t != nil {
		list = append(list, schema{"tlog", "tlog.database", t.Database})
		if t.Guard.Database != nil {
			list = append(list, schema{"guard", "tlog.guard.database", t.Guard.Database})
		}
	}
	if cfg.CA != nil {
		list = append(list, schema{"ca", "ca.database", cfg.CA.Database})
	}
	if cfg.TUF != nil {
		list = append(list, schema{"tuf", "tuf.database", cfg.TUF.Database})
	}
	// Those that this version keeps in PostgreSQL.
	return slices.DeleteFunc(list, func(s schema) bool {
		_, err := migrations.NewestPostgres(s.schema)
		return err != nil
	})
}

func migrate(ctx context.Context, schema string, d *config.Database) (m Migrated, err error) {
	serve, err := d.ConnString()
	if err != nil {
		return m, err
	}
	admin, err := d.MigrateConnString()
	if err != nil {
		return m, err
	}
	user, err := userOf(serve)
	if err != nil {
		return m, err
	}
	if err := pg.Migrate(ctx, admin, schema); err != nil {
		return m, err
	}
	m = Migrated{Schema: schema, User: user}
	m.Todo, err = grant(ctx, admin, schema, user)
	return m, err
}

func userOf(url string) (string, error) {
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return "", errors.New("the connection string is not one that libpq would take")
	}
	return c.User, nil
}

// grant makes a user a writer of a schema. What it may not do, it returns as what is to be done.
func grant(ctx context.Context, url, schema, user string) (todo string, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", fmt.Errorf("connect as the migrating user: %w", pg.Fault("connect", err))
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	writer, quoted := "sigbox_"+schema+"_writer", pgx.Identifier{user}.Sanitize()
	statement := "GRANT " + writer + " TO " + quoted
	var writes bool
	err = conn.QueryRow(ctx, "SELECT pg_has_role(rolname, $2, 'USAGE') FROM pg_roles WHERE rolname = $1", user, writer).Scan(&writes)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Sprintf("CREATE ROLE %s LOGIN; %s;", quoted, statement), nil
	}
	if err != nil || writes {
		return "", err
	}
	if _, err := conn.Exec(ctx, statement); err != nil {
		return statement + ";", nil
	}
	return "", nil
}
