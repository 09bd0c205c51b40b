package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/sigbox/sigbox/ca"
	capgstore "github.com/sigbox/sigbox/ca/pgstore"
	"github.com/sigbox/sigbox/ca/sqlstore"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/migrations"
)

// OpenTrail opens the issuance records of an instance, which may run meanwhile. Nothing is made or
// migrated.
func OpenTrail(ctx context.Context, d *instance.Dir) (ca.Trail, func() error, error) {
	file := d.File("sigbox.db")
	if _, err := os.Stat(file); err != nil { // opening would make it
		return nil, nil, fmt.Errorf("database: %w", err)
	}
	db, err := sqlite.Open(ctx, file)
	if err != nil {
		return nil, nil, err
	}
	if err := migrations.CheckSQLite(ctx, db.Read(), "ca"); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("database %s: %w", file, err), db.Close())
	}
	return sqlstore.NewSQLite(db), db.Close, nil
}

// OpenConfiguredTrail opens the issuance records of a configuration file.
func OpenConfiguredTrail(ctx context.Context, c *config.Config) (ca.Trail, func() error, error) {
	if c.CA == nil {
		return nil, nil, fmt.Errorf("%s has no section ca, and so no issuance records", c.File())
	}
	db, err := openDatabase(ctx, c.CA.Database, "ca", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, fmt.Errorf("ca.database: %w", err)
	}
	return capgstore.New(db), func() error { db.Close(); return nil }, nil
}
