package pg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sigbox/sigbox/migrations"
)

// Config says which database to use and how long to wait for it. Zero fields have the defaults
// named here.
type Config struct {
	// URL is a connection string as libpq reads it, a URL or key=value; required. Where it says
	// nothing, libpq's environment variables (PGHOST, PGPASSFILE, ...) count.
	URL string
	// Schema is the schema of the service ("ca", "guard", "tlog", "tuf"); required.
	Schema string

	Writers int32 // connections for transactions; default 4
	Readers int32 // connections for reading, so that readers never hold up a writer; default 8

	LockTimeout      time.Duration // of waiting for a row; default 5 s
	StatementTimeout time.Duration // of one statement; default 10 s
	IdleTimeout      time.Duration // how long a transaction may wait for its own process; default 5 s
	CommitTimeout    time.Duration // of waiting for the answer to COMMIT; then its outcome is unknown; default 30 s

	Logger *slog.Logger // default: discards
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.LockTimeout, 5 * time.Second}, {&c.StatementTimeout, 10 * time.Second},
		{&c.IdleTimeout, 5 * time.Second}, {&c.CommitTimeout, 30 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.Writers <= 0 {
		c.Writers = 4
	}
	if c.Readers <= 0 {
		c.Readers = 8
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// DB is a database. It is safe for concurrent use.
type DB struct {
	cfg   Config
	write *pgxpool.Pool
	read  *pgxpool.Pool
	begin string // settings of a transaction, as one statement
}

// application names our writing sessions in pg_stat_activity.
const application = "sigbox writer"

// Open connects to a database and probes it; see [DB.Probe].
func Open(ctx context.Context, cfg Config) (*DB, error) {
	cfg = cfg.withDefaults()
	d := &DB{cfg: cfg, begin: beginSettings(cfg)}
	var err error
	if d.write, err = connect(ctx, cfg, cfg.Writers, map[string]string{"application_name": application}); err != nil {
		return nil, err
	}
	if d.read, err = connect(ctx, cfg, cfg.Readers, map[string]string{
		"application_name": "sigbox reader", "statement_timeout": milliseconds(cfg.StatementTimeout),
	}); err != nil {
		d.write.Close()
		return nil, err
	}
	if err := d.Probe(ctx); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// session is set on every connection.
var session = map[string]string{
	// Statements are planned once per session, and never by the size that a table happens to have
	// then: an index is used wherever there is one. Planning each time takes longer than running.
	"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off",
	// A host that died without a word: noticed by the server within some 15 s.
	"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "3", "tcp_keepalives_count": "3", "tcp_user_timeout": "15000",
	"jit":             "off",
	"client_encoding": "UTF8",
}

func connect(ctx context.Context, cfg Config, conns int32, params map[string]string) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		// The library's error may quote the connection string, and with it a password.
		return nil, errors.New("database: the connection string is not one that libpq would take")
	}
	maps.Copy(c.ConnConfig.RuntimeParams, session)
	maps.Copy(c.ConnConfig.RuntimeParams, params)
	c.MaxConns, c.MinIdleConns = conns, 0
	c.MaxConnLifetime, c.MaxConnLifetimeJitter = time.Hour, 5*time.Minute
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	c.ConnConfig.OnNotice = noticed
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	return pool, nil
}

// Close closes all connections.
func (d *DB) Close() {
	d.write.Close()
	d.read.Close()
}

// Read returns the pool for queries outside of [DB.Update].
func (d *DB) Read() *pgxpool.Pool { return d.read }

// Migrate brings schemas of a database to the newest version, as the user of the connection string.
// See [migrations.ApplyPostgres].
func Migrate(ctx context.Context, url string, schemas ...string) (err error) {
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return errors.New("database: the connection string is not one that libpq would take")
	}
	db := stdlib.OpenDB(*c)
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, schema := range schemas {
		if err := migrations.ApplyPostgres(ctx, db, schema); err != nil {
			return err
		}
	}
	return nil
}

// noticed remembers the last warning of a session, for COMMIT to look at: that the wait for a
// synchronous standby was cancelled is told by a warning and not by an error.
func noticed(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" {
		c.CustomData()[lastWarning] = (*pgconn.PgError)(n)
	}
}

const lastWarning = "sigbox.warning"

func milliseconds(d time.Duration) string { return strconv.FormatInt(max(1, d.Milliseconds()), 10) }
