package stack

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/migrations"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/pgstore"
	"github.com/sigbox/sigbox/tlog/sqlitestore"
	"github.com/sigbox/sigbox/tlog/tiledir"
)

// Logs are the logs of an instance without its services, for looking at them, also while the
// instance runs. Nothing is made or migrated.
type Logs struct {
	dir *instance.Dir
	db  *databases
}

// LogState is what a log says of itself; nothing in it is verified.
type LogState struct {
	tlog.Description
	tlog.Head
}

// OpenLogs opens the logs of an instance; database as in Options. d need not be locked.
func OpenLogs(ctx context.Context, d *instance.Dir, database string) (*Logs, error) {
	if err := checkKind(d, database); err != nil {
		return nil, err
	}
	file := d.File("sigbox.db")
	if _, err := os.Stat(file); err != nil { // opening would make it
		return nil, fmt.Errorf("database: %w", err)
	}
	db := &databases{}
	var err error
	if db.file, err = sqlite.Open(ctx, file); err != nil {
		return nil, err
	}
	if database != "" {
		db.logs, err = pg.Open(ctx, pg.Config{URL: database, Schema: "tlog", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			err = fmt.Errorf("--database: %w", err)
		}
	} else if err = migrations.CheckSQLite(ctx, db.file.Read(), "tlog"); err != nil {
		err = fmt.Errorf("database %s: %w", file, err)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Logs{dir: d, db: db}, nil
}

// Close gives the database back.
func (l *Logs) Close() error { return l.db.Close() }

// List returns the logs by name.
func (l *Logs) List(ctx context.Context) ([]LogState, error) {
	var list []tlog.Description
	var err error
	if l.db.logs != nil {
		list, err = pgstore.List(ctx, l.db.logs)
	} else {
		list, err = sqlitestore.List(ctx, l.db.file)
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b tlog.Description) int { return strings.Compare(a.Name, b.Name) })
	states := make([]LogState, len(list))
	for i, d := range list {
		store, err := l.db.store(ctx, d.Name)
		if err != nil {
			return nil, err
		}
		head, err := store.Head(ctx)
		if err != nil {
			return nil, fmt.Errorf("log %s: %w", d.Name, err)
		}
		states[i] = LogState{Description: d, Head: head}
	}
	return states, nil
}

// Fsck recomputes a log from its leaves: see [tlog.Fsck].
func (l *Logs) Fsck(ctx context.Context, name string, progress func(done, size int64)) (checkpoint.Signed, error) {
	cfg, store, err := l.log(ctx, name)
	if err != nil {
		return checkpoint.Signed{}, err
	}
	a := audits()[name]
	a.Verifier, a.LeafInput, a.Progress = cfg.Signer.Verifier(), cfg.LeafInput, progress
	return tlog.Fsck(ctx, store, a)
}

// Export writes a log to a directory: see [tiledir.Export].
func (l *Logs) Export(ctx context.Context, name, dir string, progress func(done, total int64)) (size int64, err error) {
	cfg, store, err := l.log(ctx, name)
	if err != nil {
		return 0, err
	}
	log, err := tlog.Open(ctx, store, cfg)
	if err != nil {
		return 0, err
	}
	return tiledir.Export(ctx, leaves{log, cfg.LeafInput}, cfg.Signer.Verifier(), dir, progress)
}

// Freeze ends a log for good. The instance must be locked. A log that has lost history, or is
// damaged where it would go on, is not frozen. It returns false where the log is frozen already.
func (l *Logs) Freeze(ctx context.Context, name string) (changed bool, err error) {
	cfg, store, err := l.log(ctx, name)
	if err != nil {
		return false, err
	}
	guard, err := openGuard(l.dir)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, guard.Close()) }()
	cfg.Guard = guard
	log, err := tlog.Open(ctx, store, cfg)
	if err != nil {
		return false, err
	}
	if err := log.Health(); err != nil {
		return false, fmt.Errorf("log %s: %w", name, err)
	}
	head, err := store.Head(ctx)
	if err != nil || head.Frozen {
		return false, err
	}
	return true, log.Freeze(ctx)
}

// log returns the configuration and the store of a log.
func (l *Logs) log(ctx context.Context, name string) (cfg tlog.Config, _ tlog.Store, err error) {
	m := &material{keys: map[string]crypto.Signer{}}
	for _, role := range []string{roleRekorV1, roleRekorV2, roleCT} {
		if m.keys[role], err = keys.Load(keyFile(l.dir, role)); err != nil {
			return cfg, nil, err
		}
	}
	configs, err := logConfigs(l.dir.Info, m)
	if err != nil {
		return cfg, nil, err
	}
	cfg, ok := configs[name]
	if !ok {
		return cfg, nil, fmt.Errorf("there is no log %q: the logs are %s, %s and %s", name, logRekorV1, logRekorV2, logCT)
	}
	cfg.Clock, cfg.Logger = clock.System{}, slog.New(slog.DiscardHandler)
	store, err := l.db.store(ctx, name)
	return cfg, store, err
}

// leaves is a log whose leaves have their Merkle leaf inputs as data, which is what bundles carry.
type leaves struct {
	tlog.Log
	input func(stored []byte) ([]byte, error) // nil where stored bytes are the input
}

func (l leaves) Leaves(ctx context.Context, from, to int64) ([]tlog.Leaf, error) {
	list, err := l.Log.Leaves(ctx, from, to)
	if err != nil || l.input == nil {
		return list, err
	}
	for i := range list {
		if list[i].Data, err = l.input(list[i].Data); err != nil {
			return nil, fmt.Errorf("leaf %d: %w", list[i].Index, err)
		}
	}
	return list, nil
}

// ReadInstance reads what the instance in a directory is, without locking it.
func ReadInstance(path string) (*instance.Dir, error) {
	d, err := instance.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no sigbox instance in %s: name its directory with --data, or make one with sigbox up", path)
	}
	return d, err
}
