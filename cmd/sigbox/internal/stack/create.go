package stack

import (
	"context"
	"errors"
	"log/slog"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tuf"
)

// Create makes everything that a new instance at url needs, in d and, where database is not "", in
// that PostgreSQL database.
func Create(ctx context.Context, d *instance.Dir, url, database string, c clock.Clock, log *slog.Logger) (err error) {
	m, err := makeMaterial(d, c)
	if err != nil {
		return err
	}
	db, err := openDatabases(ctx, d, database, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	served, err := instanceServed(d.Info, m)
	if err != nil {
		return err
	}
	edition, err := trustEdition(tuf.Release{}, d.Info, url, m, served, c.Now())
	if err != nil {
		return err
	}
	if err := newRepository(db.file, m, c, log).CreateEdition(ctx, edition); err != nil {
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
