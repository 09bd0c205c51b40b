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

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/migrations"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/fileguard"
	"github.com/sigbox/sigbox/tlog/pgstore"
	"github.com/sigbox/sigbox/tlog/sqlitestore"
	"github.com/sigbox/sigbox/tlog/tiledir"
	"github.com/sigbox/sigbox/tuf/record"
)

// Logs are the logs of an instance or of a configuration file without their services, for looking
// at them and for what an operator does to them. Nothing is made or migrated.
type Logs struct {
	known func() ([]ServedLog, error) // that the configuration names, in its order, with their keys
	// keyPath is the file of the key of a shard that has one of its own.
	keyPath func(after ServedLog, name string) (string, error)
	where   string // what names them, for errors
	list    func(ctx context.Context) ([]tlog.Description, error)
	store   func(ctx context.Context, name string) (tlog.Store, error)
	// openGuard opens what remembers the logs' heads, nil for nothing; it is closed with the rest.
	openGuard func(ctx context.Context) (tlog.Guard, error)
	// peekGuard reads a guard that a process which runs has; nil where that cannot be.
	peekGuard func() tlog.Guard
	guard     *tlog.Guard // that guardBeside has opened
	close     []func() error

	// trust looks at what clients are told to trust; nil where that is not known here.
	trust func(context.Context) (record.Record, error)

	planned    []config.RekorV2Shard // shards with hosts of their own, made or not
	configured bool                  // by a file, and not of an instance
	// roleKeys are the files of keys that have a role in the configuration already, by what names them.
	roleKeys map[string]config.KeyFile
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
	db, err := openExisting(ctx, d, database)
	if err != nil {
		return nil, err
	}
	l := &Logs{where: d.Path, list: db.list, store: db.store, close: []func() error{db.Close}}
	l.known = func() ([]ServedLog, error) { return instanceLogs(d) }
	l.keyPath = func(_ ServedLog, name string) (string, error) { return shardKeyFile(d, name) }
	l.openGuard = func(context.Context) (tlog.Guard, error) {
		g, err := openGuard(d)
		if err != nil {
			return nil, err
		}
		l.close = append([]func() error{g.Close}, l.close...)
		return g, nil
	}
	l.peekGuard = func() tlog.Guard { return fileguard.Peek(d.File("guard")) }
	l.trust = instanceTrust(db)
	return l, nil
}

// openExisting opens the databases of an instance and changes nothing.
func openExisting(ctx context.Context, d *instance.Dir, database string) (*databases, error) {
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
	return db, nil
}

// list returns the logs that there are.
func (db *databases) list(ctx context.Context) ([]tlog.Description, error) {
	if db.logs != nil {
		return pgstore.List(ctx, db.logs)
	}
	return sqlitestore.List(ctx, db.file)
}

// instanceLogs are the logs that an instance is made with, and the CT logs that came after the first.
func instanceLogs(d *instance.Dir) (list []ServedLog, err error) {
	m := &material{keys: map[string]crypto.Signer{}}
	if m.numbered, err = loadNumbered(d); err != nil {
		return nil, err
	}
	for _, role := range []string{roleRekorV1, roleRekorV2, roleCT} {
		if m.keys[role], err = keys.Load(keyFile(d, role)); err != nil {
			return nil, err
		}
	}
	return instanceServed(d.Info, m)
}

// OpenConfiguredLogs opens the logs of a configuration file.
func OpenConfiguredLogs(ctx context.Context, c *config.Config) (*Logs, error) {
	if c.TLog == nil {
		return nil, fmt.Errorf("%s has no section tlog, and so no logs", c.File())
	}
	quiet := slog.New(slog.DiscardHandler)
	stores, err := openLogDatabase(ctx, c.TLog, quiet)
	if err != nil {
		return nil, err
	}
	l := &Logs{where: c.File(), store: stores.Store, close: []func() error{stores.Close}}
	l.known = func() ([]ServedLog, error) { return ServedLogs(c.TLog) }
	l.keyPath, l.planned, l.configured = siblingPath, c.TLog.NextShards(), true
	l.roleKeys = c.KeyFiles()
	if c.TUF != nil {
		l.trust = configuredTrust(c)
	}
	if c.TLog.Guard.File != "" {
		l.peekGuard = func() tlog.Guard { return fileguard.Peek(string(c.TLog.Guard.File)) }
	}
	l.list = func(ctx context.Context) ([]tlog.Description, error) { return pgstore.List(ctx, stores.DB) }
	l.openGuard = func(ctx context.Context) (tlog.Guard, error) {
		err := stores.openGuard(ctx, c.TLog.Guard, quiet)
		return stores.Guard, err
	}
	return l, nil
}

// Close gives databases and guard back.
func (l *Logs) Close() error {
	var errs []error
	for _, c := range l.close {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// List returns the logs by name.
func (l *Logs) List(ctx context.Context) ([]LogState, error) {
	list, err := l.list(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b tlog.Description) int { return strings.Compare(a.Name, b.Name) })
	states := make([]LogState, len(list))
	for i, d := range list {
		store, err := l.store(ctx, d.Name)
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
	return tlog.Fsck(ctx, store, auditOf(cfg, progress))
}

// auditOf is what the leaves of a log are held to.
func auditOf(cfg tlog.Config, progress func(done, size int64)) tlog.Audit {
	a := audits()[cfg.Face]
	a.Verifier, a.Register, a.LeafInput, a.Progress = cfg.Signer.Verifier(), cfg.Registered(), cfg.LeafInput, progress
	return a
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

// Freeze ends a log for good. An instance must be locked; the replicas of a configuration file may
// run on, if their guard is not a file that one of them has. A log that has lost history, or is
// damaged where it would go on, is not frozen. It returns false where the log is frozen already.
func (l *Logs) Freeze(ctx context.Context, name string) (changed bool, err error) {
	cfg, store, err := l.guarded(ctx, name)
	if err != nil {
		return false, err
	}
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

// GoesOn is the name of the shard that takes entries for a log that was frozen, "" where none does.
func (l *Logs) GoesOn(ctx context.Context, name string) (string, error) {
	list, err := l.List(ctx)
	if err != nil {
		return "", err
	}
	for {
		i := slices.IndexFunc(list, func(s LogState) bool { return s.Follows == name })
		if i < 0 {
			return "", nil
		}
		if name = list[i].Name; !list[i].Frozen {
			return name, nil
		}
	}
}

// key loads the key of a shard that has one of its own.
func (l *Logs) key(after ServedLog, name string) (crypto.Signer, error) {
	path, err := l.keyPath(after, name)
	if err != nil {
		return nil, err
	}
	return keys.Load(path)
}

// Served returns the logs that the configuration names and the shards that go on for them.
func (l *Logs) Served(ctx context.Context) ([]ServedLog, error) {
	list, failed, err := l.served(ctx)
	for _, f := range failed {
		err = errors.Join(err, f)
	}
	return list, err
}

// served is Served with the errors of the shards that could not be told, as for want of a key, by name.
func (l *Logs) served(ctx context.Context) (list []ServedLog, failed map[string]error, err error) {
	if list, err = l.known(); err != nil {
		return nil, nil, err
	}
	all, err := l.list(ctx)
	if err != nil {
		return nil, nil, err
	}
	failed = map[string]error{}
	for i := 0; i < len(list); i++ { // it grows by the shards that go on
		list[i].Config.Clock, list[i].Config.Logger = clock.System{}, slog.New(slog.DiscardHandler)
		d := successorOf(string(list[i].Name), all)
		if d == nil {
			continue
		}
		list[i].Displaced = list[i].displacedBy(*d)
		if slices.ContainsFunc(list, func(k ServedLog) bool { return string(k.Name) == d.Name }) {
			continue // the configuration names it too
		}
		n, err := list[i].next(*d, l.key)
		if err != nil {
			failed[d.Name] = fmt.Errorf("log %s: %w", d.Name, err)
		}
		list = append(list, n)
	}
	return list, failed, nil
}

// find returns a log: one that the configuration names, or a shard that goes on for one.
func (l *Logs) find(ctx context.Context, name string) (ServedLog, error) {
	list, failed, err := l.served(ctx)
	if err != nil {
		return ServedLog{}, err
	}
	var names []string
	for _, k := range list {
		if string(k.Name) == name {
			return k, failed[name]
		}
		names = append(names, string(k.Name))
	}
	return ServedLog{}, fmt.Errorf("%s has no log %q: its logs are %s", l.where, name, strings.Join(names, ", "))
}

// log returns the configuration and the store of a log.
func (l *Logs) log(ctx context.Context, name string) (tlog.Config, tlog.Store, error) {
	k, err := l.find(ctx, name)
	if err != nil {
		return tlog.Config{}, nil, err
	}
	store, err := l.store(ctx, name)
	return k.Config, store, err
}

// guarded is log with the guard opened.
func (l *Logs) guarded(ctx context.Context, name string) (tlog.Config, tlog.Store, error) {
	cfg, store, err := l.log(ctx, name)
	if err == nil {
		cfg.Guard, err = l.openGuard(ctx)
	}
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
