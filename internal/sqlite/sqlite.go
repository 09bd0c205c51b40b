package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver, in pure Go: the binary stays static
)

// DB is an open database file. It is safe for concurrent use.
type DB struct {
	write *sql.DB
	read  *sql.DB
}

// Open opens the database at path and creates it where there is none. It fails if the file is
// not a database or is damaged where SQLite's quick check looks.
func Open(ctx context.Context, path string) (*DB, error) {
	path, err := filepath.Abs(path) // SQLite reads ":memory:" and "//host/file" its own way
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	d := &DB{}
	if d.write, err = open(path, "&_txlock=immediate", 1); err != nil {
		return nil, err
	}
	if d.read, err = open(path, "&_pragma=query_only(1)", 4); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := d.check(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", path, err), d.Close())
	}
	return d, nil
}

func open(path, extra string, conns int) (*sql.DB, error) {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "_pragma=busy_timeout(10000)" +
		"&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)" + extra}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

func (d *DB) check(ctx context.Context) error {
	var verdict string
	if err := d.write.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return fmt.Errorf("cannot be used: %w", err)
	}
	if verdict != "ok" {
		return fmt.Errorf("damaged: %s", strings.Join(strings.Fields(verdict), " ")) // SQLite says it in lines
	}
	return nil
}

// Close closes all connections.
func (d *DB) Close() error {
	var errs []error
	for _, db := range []*sql.DB{d.read, d.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Read returns the pool for queries. Writing through it fails.
func (d *DB) Read() *sql.DB { return d.read }

// Writer returns the single writing connection, for migrations.
func (d *DB) Writer() *sql.DB { return d.write }

// Update runs f in a transaction that holds the file's write lock from its first statement, and
// commits if f returns nil. Cancelling ctx ends the wait for one's turn and nothing after that: a
// transaction that has begun is never abandoned.
func (d *DB) Update(ctx context.Context, f func(*sql.Tx) error) error {
	conn, err := d.write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("wait for the writer: %w", err)
	}
	defer func() { _ = conn.Close() }() // gives it back
	tx, err := conn.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // for a panic in f, which would hold the lock for ever
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
