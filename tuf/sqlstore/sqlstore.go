package sqlstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/tuf"
)

// Store is a tuf.Store in an SQLite database that the tuf migrations were applied to.
type Store struct {
	db    *sqlite.DB
	fault func(point string) error // for tests: fails where a crash could
}

var (
	_ tuf.Store = (*Store)(nil)
	_ tuf.Inbox = (*Store)(nil)
)

// New returns the store of db.
func New(db *sqlite.DB) *Store {
	return &Store{db: db, fault: func(string) error { return nil }}
}

// querier is what a transaction and the read pool have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Update implements tuf.Store.
func (s *Store) Update(ctx context.Context, f func(cur tuf.Release) (tuf.Release, error)) error {
	return s.db.Update(ctx, func(tx *sql.Tx) error {
		ctx := context.WithoutCancel(ctx) // a publication under way is not abandoned
		cur, err := current(ctx, tx)
		if err != nil {
			return err
		}
		next, err := f(cur)
		if err != nil {
			return err
		}
		if next.Versions() == cur.Versions() {
			return nil
		}
		return s.write(ctx, tx, next)
	})
}

func (s *Store) write(ctx context.Context, tx *sql.Tx, next tuf.Release) error {
	for _, b := range next.Contents {
		if err := s.fault("content"); err != nil {
			return err
		}
		if err := insertContent(ctx, tx, next.Targets.Version, b); err != nil {
			return err
		}
	}
	for _, m := range append(next.Roots[:len(next.Roots):len(next.Roots)], next.Targets, next.Snapshot, next.Timestamp) {
		if err := s.fault(m.Role); err != nil {
			return err
		}
		if err := insertMetadata(ctx, tx, m); err != nil {
			return err
		}
	}
	if err := s.writeRecord(ctx, tx, next); err != nil {
		return err
	}
	if err := s.fault("current"); err != nil {
		return err
	}
	v := next.Versions()
	_, err := tx.ExecContext(ctx, `INSERT INTO tuf_current (one, root, targets, snapshot, timestamp) VALUES (1, ?, ?, ?, ?)
		ON CONFLICT (one) DO UPDATE SET root = excluded.root, targets = excluded.targets, snapshot = excluded.snapshot, timestamp = excluded.timestamp`,
		v.Root, v.Targets, v.Snapshot, v.Timestamp)
	if err != nil {
		return fmt.Errorf("move the current TUF set: %w", err)
	}
	return s.fault("commit")
}

// insertMetadata adds a file, or finds that it is there with the same bytes.
func insertMetadata(ctx context.Context, tx *sql.Tx, m tuf.Metadata) error {
	var have []byte
	err := tx.QueryRowContext(ctx, `SELECT bytes FROM tuf_metadata WHERE role = ? AND version = ?`, m.Role, m.Version).Scan(&have)
	if err == nil {
		if !bytes.Equal(have, m.Bytes) {
			return fmt.Errorf("%w: %s version %d", tuf.ErrConflict, m.Role, m.Version)
		}
		return nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("read %s version %d: %w", m.Role, m.Version, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO tuf_metadata (role, version, signed_s, bytes) VALUES (?, ?, ?, ?)`,
		m.Role, m.Version, m.SignedAt.Unix(), m.Bytes)
	if err != nil {
		return fmt.Errorf("store %s version %d: %w", m.Role, m.Version, err)
	}
	return nil
}

func insertContent(ctx context.Context, tx *sql.Tx, version int64, b tuf.Blob) error {
	sum := sha256.Sum256(b.Content)
	_, err := tx.ExecContext(ctx, `INSERT INTO tuf_content (name, sha256, content) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
		b.Name, sum[:], b.Content)
	if err != nil {
		return fmt.Errorf("store target %s: %w", b.Name, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO tuf_target (version, name, sha256) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
		version, b.Name, sum[:])
	if err != nil {
		return fmt.Errorf("store target %s: %w", b.Name, err)
	}
	return nil
}

// Versions implements tuf.Store.
func (s *Store) Versions(ctx context.Context) (tuf.Versions, error) {
	return versions(ctx, s.db.Read())
}

func versions(ctx context.Context, q querier) (v tuf.Versions, err error) {
	err = q.QueryRowContext(ctx, `SELECT root, targets, snapshot, timestamp FROM tuf_current WHERE one = 1`).
		Scan(&v.Root, &v.Targets, &v.Snapshot, &v.Timestamp)
	if errors.Is(err, sql.ErrNoRows) {
		return tuf.Versions{}, nil
	}
	if err != nil {
		return tuf.Versions{}, fmt.Errorf("read the current TUF set: %w", err)
	}
	return v, nil
}

// Load implements tuf.Store.
func (s *Store) Load(ctx context.Context) (tuf.Archive, error) {
	tx, err := s.db.Read().BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // one snapshot for all queries
	if err != nil {
		return tuf.Archive{}, fmt.Errorf("read the TUF repository: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	a := tuf.Archive{}
	if a.Current, err = current(ctx, tx); err != nil {
		return tuf.Archive{}, err
	}
	if !a.Current.Created() {
		return tuf.Archive{}, tuf.ErrNotCreated
	}
	v := a.Current.Versions()
	a.Old, err = metadata(ctx, tx, `SELECT role, version, signed_s, bytes FROM tuf_metadata
		WHERE (role = 'targets' AND version < ?) OR (role = 'snapshot' AND version < ?) ORDER BY role DESC, version`, v.Targets, v.Snapshot)
	if err != nil {
		return tuf.Archive{}, err
	}
	a.Blobs, err = blobs(ctx, tx, `SELECT name, content FROM tuf_content ORDER BY name, sha256`)
	return a, err
}

// current returns the current set, the zero Release if there is none.
func current(ctx context.Context, q querier) (tuf.Release, error) {
	v, err := versions(ctx, q)
	if err != nil || v == (tuf.Versions{}) {
		return tuf.Release{}, err
	}
	var s tuf.Release
	s.Roots, err = metadata(ctx, q, `SELECT role, version, signed_s, bytes FROM tuf_metadata WHERE role = 'root' AND version <= ? ORDER BY version`, v.Root)
	if err != nil {
		return tuf.Release{}, err
	}
	if int64(len(s.Roots)) != v.Root {
		return tuf.Release{}, fmt.Errorf("TUF repository is damaged: %d versions of root, want %d", len(s.Roots), v.Root)
	}
	for role, p := range map[string]struct {
		version int64
		to      *tuf.Metadata
	}{tuf.Targets: {v.Targets, &s.Targets}, tuf.Snapshot: {v.Snapshot, &s.Snapshot}, tuf.Timestamp: {v.Timestamp, &s.Timestamp}} {
		rows, err := metadata(ctx, q, `SELECT role, version, signed_s, bytes FROM tuf_metadata WHERE role = ? AND version = ?`, role, p.version)
		if err != nil {
			return tuf.Release{}, err
		}
		if len(rows) != 1 {
			return tuf.Release{}, fmt.Errorf("TUF repository is damaged: %s version %d is missing", role, p.version)
		}
		*p.to = rows[0]
	}
	s.Contents, err = blobs(ctx, q, `SELECT c.name, c.content FROM tuf_target t JOIN tuf_content c USING (name, sha256)
		WHERE t.version = ? ORDER BY c.name`, v.Targets)
	if err != nil {
		return tuf.Release{}, err
	}
	s.Record, s.Transcript, err = record(ctx, q, v)
	return s, err
}

func metadata(ctx context.Context, q querier, query string, args ...any) ([]tuf.Metadata, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read TUF metadata: %w", err)
	}
	defer rows.Close()
	var out []tuf.Metadata
	for rows.Next() {
		var m tuf.Metadata
		var signed int64
		if err := rows.Scan(&m.Role, &m.Version, &signed, &m.Bytes); err != nil {
			return nil, fmt.Errorf("read TUF metadata: %w", err)
		}
		m.SignedAt = time.Unix(signed, 0).UTC()
		out = append(out, m)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read TUF metadata: %w", err)
	}
	return out, nil
}

func blobs(ctx context.Context, q querier, query string, args ...any) ([]tuf.Blob, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read TUF targets: %w", err)
	}
	defer rows.Close()
	var out []tuf.Blob
	for rows.Next() {
		var b tuf.Blob
		if err := rows.Scan(&b.Name, &b.Content); err != nil {
			return nil, fmt.Errorf("read TUF targets: %w", err)
		}
		out = append(out, b)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read TUF targets: %w", err)
	}
	return out, nil
}
