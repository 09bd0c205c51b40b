package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/migrations"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/fileguard"
)

// Create makes everything that a new instance at url needs, in d.
func Create(ctx context.Context, d *instance.Dir, url string, c clock.Clock, log *slog.Logger) (err error) {
	m, err := makeMaterial(d, c)
	if err != nil {
		return err
	}
	db, err := openDatabase(ctx, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	targets, err := trustTargets(d.Info, url, m)
	if err != nil {
		return err
	}
	if err := newRepository(db, m, c, log).Create(ctx, targets); err != nil {
		return err
	}
	guard, err := openGuard(d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, guard.Close()) }()
	complete := func(cfg tlog.Config) tlog.Config {
		cfg.Clock, cfg.Logger, cfg.Guard = c, log, guard
		return cfg
	}
	return createLogs(ctx, db, d.Info, m, complete)
}

// openGuard opens the register that remembers the logs' heads outside the database.
func openGuard(d *instance.Dir) (*fileguard.Guard, error) { return fileguard.Open(d.File("guard")) }

// openDatabase opens the instance's database and brings every schema up to date.
func openDatabase(ctx context.Context, d *instance.Dir) (*sqlite.DB, error) {
	db, err := sqlite.Open(ctx, d.File("sigbox.db"))
	if err != nil {
		return nil, err
	}
	for _, schema := range []string{"ca", "tlog", "tuf"} {
		if err := migrations.ApplySQLite(ctx, db.Writer(), schema); err != nil {
			return nil, errors.Join(fmt.Errorf("database %s: %w", d.File("sigbox.db"), err), db.Close())
		}
	}
	return db, nil
}
