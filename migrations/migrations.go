package migrations

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed sqlite/*/*.sql postgres/*/*.sql
var files embed.FS

// ApplySQLite brings one schema ("ca", "tlog" or "tuf") of an SQLite database to the newest
// version this binary knows. It fails, changing nothing, if the database is newer than that.
func ApplySQLite(ctx context.Context, db *sql.DB, schema string) error {
	return apply(ctx, db, goose.DialectSQLite3, "sqlite/"+schema, schema, "sigbox_"+schema+"_version")
}

func apply(ctx context.Context, db *sql.DB, dialect goose.Dialect, dir, schema, table string) error {
	sub, err := fs.Sub(files, dir)
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", schema, err)
	}
	store, err := database.NewStore(dialect, table)
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", schema, err)
	}
	p, err := goose.NewProvider("", db, sub, goose.WithStore(store), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", schema, err)
	}
	newest := newestOf(p.ListSources())
	have, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("schema version of %s: %w", schema, err)
	}
	if have > newest {
		return fmt.Errorf("schema %s has version %d, made by a newer sigbox; this one knows %d: run the newer one", schema, have, newest)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate %s: %w", schema, err)
	}
	return nil
}

func newestOf(sources []*goose.Source) int64 { return sources[len(sources)-1].Version }

// CheckSQLite fails if a schema of an SQLite database is not at the newest version this binary
// knows. It changes nothing.
func CheckSQLite(ctx context.Context, db *sql.DB, schema string) error {
	list, err := fs.Glob(files, "sqlite/"+schema+"/*.sql")
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", schema, err)
	}
	var have int
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM sigbox_"+schema+"_version WHERE is_applied").Scan(&have)
	if err != nil {
		return fmt.Errorf("schema version of %s: %w", schema, err)
	}
	if have != len(list) { // versions are numbered from 1
		return fmt.Errorf("schema %s has version %d, this sigbox knows %d: run the version of sigbox that runs the instance", schema, have, len(list))
	}
	return nil
}
