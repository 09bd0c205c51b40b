package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
)

// versionTable remembers the version of a schema of PostgreSQL, in that schema.
const versionTable = "schema_version"

// ApplyPostgres brings one schema ("ca", "guard", "tlog" or "tuf") of a PostgreSQL database to the newest version
// this binary knows, making it where there is none. It fails, changing nothing, if the schema is
// newer than that. Processes that migrate at the same time take turns.
//
// It also makes three roles that no one can log in as, named after the schema:
//
//	sigbox_SCHEMA_owner   owns the tables
//	sigbox_SCHEMA_writer  what serve needs: it appends, and changes nothing that is there
//	sigbox_SCHEMA_reader  reads
//
// Roles are of the whole cluster. Whoever migrates must be allowed to make them, or must be a
// member of the owner if an administrator has made all three, and must be allowed to create schemas
// in the database.
func ApplyPostgres(ctx context.Context, db *sql.DB, schema string) (err error) {
	if _, err := fs.Stat(files, "postgres/"+schema); err != nil {
		return fmt.Errorf("migrations of %s: %w", schema, err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("migrate %s: %w", schema, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock(hashtext('sigbox migrate ' || $1))", schema); err != nil {
		return fmt.Errorf("migrate %s: wait for others that migrate: %w", schema, err)
	}
	defer func() {
		_, e := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock(hashtext('sigbox migrate ' || $1))", schema)
		err = errors.Join(err, e)
	}()
	if err := bootstrap(ctx, conn, schema); err != nil {
		return err
	}
	if err := apply(ctx, db, goose.DialectPostgres, "postgres/"+schema, schema, schema+"."+versionTable); err != nil {
		return err
	}
	// The library has made the version table as whoever migrated first.
	for _, q := range []string{
		"ALTER TABLE " + schema + "." + versionTable + " OWNER TO sigbox_" + schema + "_owner",
		"GRANT SELECT ON " + schema + "." + versionTable + " TO sigbox_" + schema + "_writer, sigbox_" + schema + "_reader",
	} {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("migrate %s: open the version table to the roles: %w", schema, err)
		}
	}
	return nil
}

// VersionPostgres returns the version that a schema has, 0 where it is not there.
func VersionPostgres(ctx context.Context, conn *pgx.Conn, schema string) (version int64, err error) {
	table := schema + "." + versionTable
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", table).Scan(&exists); err != nil || !exists {
		return 0, err
	}
	err = conn.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM "+table+" WHERE is_applied").Scan(&version)
	return version, err
}

// NewestPostgres returns the version of a schema that this binary knows and needs.
func NewestPostgres(schema string) (int64, error) {
	list, err := fs.Glob(files, "postgres/"+schema+"/*.sql")
	if err != nil || len(list) == 0 {
		return 0, fmt.Errorf("there is no schema %q: %w", schema, errors.Join(err, fs.ErrNotExist))
	}
	return goose.NumericComponent(list[len(list)-1])
}

// bootstrap makes what must be there before the first migration: the roles, and the schema with
// its version table in it.
func bootstrap(ctx context.Context, conn *sql.Conn, schema string) error {
	owner := "sigbox_" + schema + "_owner"
	for _, role := range []string{owner, "sigbox_" + schema + "_writer", "sigbox_" + schema + "_reader"} {
		if err := makeRole(ctx, conn, role); err != nil {
			return err
		}
	}
	var member bool
	if err := conn.QueryRowContext(ctx, "SELECT pg_has_role($1, 'USAGE')", owner).Scan(&member); err != nil {
		return fmt.Errorf("migrate %s: %w", schema, err)
	}
	if !member {
		if _, err := conn.ExecContext(ctx, "GRANT "+owner+" TO CURRENT_USER"); err != nil {
			return fmt.Errorf("migrate %s: the migrating user must be a member of %s: %w", schema, owner, err)
		}
	}
	for _, q := range []string{
		"CREATE SCHEMA IF NOT EXISTS " + schema + " AUTHORIZATION " + owner,
		"GRANT USAGE ON SCHEMA " + schema + " TO sigbox_" + schema + "_writer, sigbox_" + schema + "_reader",
	} {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("migrate %s: make the schema: %w", schema, err)
		}
	}
	return nil
}

func makeRole(ctx context.Context, conn *sql.Conn, role string) error {
	var exists bool
	const find = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)"
	if err := conn.QueryRowContext(ctx, find, role).Scan(&exists); err != nil || exists {
		return err
	}
	_, made := conn.ExecContext(ctx, "CREATE ROLE "+role+" NOLOGIN")
	if made == nil {
		return nil
	}
	// Somebody who migrates another database of the cluster may have been faster.
	if err := conn.QueryRowContext(ctx, find, role).Scan(&exists); err != nil || exists {
		return err
	}
	return fmt.Errorf("the role %s is not there and cannot be made; have an administrator run CREATE ROLE %s NOLOGIN: %w", role, role, made)
}
