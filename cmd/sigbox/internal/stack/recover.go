package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/pgstore"
)

// Compare tells how a log stands to its guard; it changes nothing.
func (l *Logs) Compare(ctx context.Context, name string) (tlog.Standing, error) {
	cfg, store, err := l.guarded(ctx, name)
	if err != nil {
		return tlog.Standing{}, err
	}
	return tlog.Compare(ctx, store, cfg)
}

// AcceptLoss gives up what a log has lost: see [tlog.AcceptLoss]. sizes are how many entries the
// caller thinks that it has and that the guard remembers.
func (l *Logs) AcceptLoss(ctx context.Context, name string, sizes [2]int64) (tlog.Standing, error) {
	cfg, store, err := l.guarded(ctx, name)
	if err != nil {
		return tlog.Standing{}, err
	}
	s, err := tlog.Compare(ctx, store, cfg)
	if err == nil && sizes != [2]int64{s.Log.Size, s.Guard.Size} {
		err = fmt.Errorf("--confirm says %d:%d, the log has %d entries and the guard remembers %d: nothing was done", sizes[0], sizes[1], s.Log.Size, s.Guard.Size)
	}
	if err == nil {
		err = tlog.AcceptLoss(ctx, store, cfg, s)
	}
	return s, err
}

// Recover brings back what a log has lost from another place: see [tlog.Recover]. from is a
// connection string of PostgreSQL or the data directory of an instance that keeps its logs in it.
func (l *Logs) Recover(ctx context.Context, name, from string, progress func(done, size int64)) (_ tlog.Standing, err error) {
	cfg, store, err := l.guarded(ctx, name)
	if err != nil {
		return tlog.Standing{}, err
	}
	source, closeSource, err := openSource(ctx, from, cfg.Registered())
	if err != nil {
		return tlog.Standing{}, fmt.Errorf("--from: %w", err)
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	return tlog.Recover(ctx, store, cfg, source, auditOf(cfg, progress))
}

// openSource opens the log with an origin where it may be whole.
func openSource(ctx context.Context, from, origin string) (tlog.Store, func() error, error) {
	var db *databases
	var closeAll func() error
	if info, err := os.Stat(from); err == nil && info.IsDir() {
		dir, err := instance.Open(from) // nobody may append to it meanwhile
		if err != nil {
			return nil, nil, err
		}
		if db, err = openSourceDir(ctx, dir); err != nil {
			return nil, nil, errors.Join(err, dir.Close())
		}
		closeAll = func() error { return errors.Join(db.Close(), dir.Close()) }
	} else {
		if !strings.HasPrefix(from, "postgres") && !strings.Contains(from, "=") {
			return nil, nil, fmt.Errorf("%q is no directory, and no connection string such as postgres://user@host/database", from)
		}
		other, err := pg.Open(ctx, pg.Config{URL: from, Schema: "tlog", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, nil, err
		}
		return sourceLog(ctx, origin, func(ctx context.Context) ([]tlog.Description, error) { return pgstore.List(ctx, other) },
			func(ctx context.Context, name string) (tlog.Store, error) { return pgstore.Open(ctx, other, name) },
			func() error { other.Close(); return nil })
	}
	return sourceLog(ctx, origin, db.list, db.store, closeAll)
}

func openSourceDir(ctx context.Context, dir *instance.Dir) (*databases, error) {
	if dir.Info.Logs == instance.PostgreSQL {
		return nil, fmt.Errorf("the instance in %s keeps its logs in PostgreSQL: name that database instead of the directory", dir.Path)
	}
	return openExisting(ctx, dir, "")
}

// sourceLog finds the log with an origin, whatever its name is there.
func sourceLog(ctx context.Context, origin string, list func(context.Context) ([]tlog.Description, error),
	open func(context.Context, string) (tlog.Store, error), closeAll func() error,
) (tlog.Store, func() error, error) {
	logs, err := list(ctx)
	var there []string
	for _, d := range logs {
		if d.Origin == origin {
			store, err := open(ctx, d.Name)
			if err != nil {
				return nil, nil, errors.Join(err, closeAll())
			}
			return store, closeAll, nil
		}
		there = append(there, fmt.Sprintf("%q", d.Origin))
	}
	if err == nil {
		err = fmt.Errorf("%w: it has no log with the origin %q, only: %s", tlog.ErrNoSource, origin, strings.Join(there, ", "))
	}
	return nil, nil, errors.Join(err, closeAll())
}
