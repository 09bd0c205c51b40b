package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/migrations"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/fileguard"
	"github.com/sigbox/sigbox/tlog/pgstore"
	"github.com/sigbox/sigbox/tlog/sqlitestore"
)

// databases are what an instance keeps its state in: an SQLite file, and for the logs PostgreSQL
// where the user names one.
type databases struct {
	file    *sqlite.DB
	logs    *pg.DB // nil: the logs are in file
	closers []io.Closer
}

// openDatabases opens the instance's databases and brings every schema up to date. url is the
// PostgreSQL database of the logs, "" for none.
func openDatabases(ctx context.Context, d *instance.Dir, url string, log *slog.Logger) (_ *databases, err error) {
	if err := checkKind(d, url); err != nil {
		return nil, err
	}
	db := &databases{}
	if db.file, err = sqlite.Open(ctx, d.File("sigbox.db")); err != nil {
		return nil, err
	}
	for _, schema := range []string{"ca", "tlog", "tuf"} {
		if err := migrations.ApplySQLite(ctx, db.file.Writer(), schema); err != nil {
			return nil, errors.Join(fmt.Errorf("database %s: %w", d.File("sigbox.db"), err), db.Close())
		}
	}
	if url == "" {
		return db, nil
	}
	if err := pg.Migrate(ctx, url, "tlog"); err != nil {
		return nil, errors.Join(fmt.Errorf("--database: %w", err), db.Close())
	}
	if db.logs, err = pg.Open(ctx, pg.Config{URL: url, Schema: "tlog", Logger: log}); err != nil {
		return nil, errors.Join(fmt.Errorf("--database: %w", err), db.Close())
	}
	return db, nil
}

// databaseIsThere keeps an instance that lost its database from going on with an empty one.
func databaseIsThere(d *instance.Dir) error {
	if _, err := os.Stat(d.File("sigbox.db")); err != nil {
		return fmt.Errorf("database: %w: restore it from a backup; keys without their logs are no instance", err)
	}
	return nil
}

// checkKind refuses to look for an instance's logs where they are not.
func checkKind(d *instance.Dir, url string) error {
	switch {
	case d.Info.Logs == instance.PostgreSQL && url == "":
		return fmt.Errorf("the instance in %s keeps its logs in PostgreSQL: name the database with --database", d.Path)
	case d.Info.Logs == instance.SQLite && url != "":
		return fmt.Errorf("the instance in %s keeps its logs in its own SQLite file: leave out --database, or make a new instance with --data", d.Path)
	}
	return nil
}

// store returns the store of one log; it is closed with the databases.
func (db *databases) store(ctx context.Context, name string) (tlog.Store, error) {
	if db.logs != nil {
		return pgstore.Open(ctx, db.logs, name)
	}
	store, err := sqlitestore.Open(ctx, db.file, name)
	if err != nil {
		return nil, err
	}
	db.closers = append(db.closers, store)
	return store, nil
}

// Close closes all of it.
func (db *databases) Close() error {
	var errs []error
	for _, c := range db.closers {
		errs = append(errs, c.Close())
	}
	if db.logs != nil {
		db.logs.Close()
	}
	return errors.Join(append(errs, db.file.Close())...)
}

// openGuard opens the register that remembers the logs' heads outside the database.
func openGuard(d *instance.Dir) (*fileguard.Guard, error) { return fileguard.Open(d.File("guard")) }
