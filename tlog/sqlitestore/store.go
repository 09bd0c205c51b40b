package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/tile"
)

// Store is one log of a database. It is safe for concurrent use.
type Store struct {
	db    *sqlite.DB
	name  string
	stmts *statements
	id    atomic.Int64 // of the log; 0 as long as it is not known
	hook  atomic.Pointer[tlog.Hook]
}

// Open returns the store of the log with that name, which may not have been created yet. The
// database must have the newest schema of migrations/sqlite/tlog.
func Open(ctx context.Context, db *sqlite.DB, name string) (*Store, error) {
	stmts, err := prepare(ctx, db.Read(), db.Writer())
	if err != nil {
		return nil, err
	}
	return &Store{db: db, name: name, stmts: stmts}, nil
}

// Close releases the prepared statements. The database stays open.
func (s *Store) Close() error { return s.stmts.close() }

// List returns the logs of a database in the order of their creation.
func List(ctx context.Context, db *sqlite.DB) ([]tlog.Description, error) {
	rows, err := db.Read().QueryContext(ctx, describeSQL+" ORDER BY id")
	if err != nil {
		return nil, fault("list logs", err)
	}
	defer rows.Close()
	var list []tlog.Description
	for rows.Next() {
		_, d, err := scanDescription(rows)
		if err != nil {
			return nil, fault("list logs", err)
		}
		list = append(list, d)
	}
	return list, fault("list logs", rows.Err())
}

func scanDescription(s scanner) (id int64, d tlog.Description, err error) {
	err = s.Scan(&id, &d.Name, &d.Origin, &d.Face, (*hash)(&d.KeySHA256), &d.CreatedMS, &d.Follows)
	return id, d, err
}

// UseHook makes the store call h at its points of the commit path.
func (s *Store) UseHook(h tlog.Hook) { s.hook.Store(&h) }

func (s *Store) hit(point string) error {
	if h := s.hook.Load(); h != nil {
		return h.Hit(point)
	}
	return nil
}

// reader returns a reader of the log outside of transactions.
func (s *Store) reader(ctx context.Context) (reader, error) {
	if s.id.Load() == 0 {
		if _, err := s.Describe(ctx); err != nil {
			return reader{}, err
		}
	}
	return reader{log: s.id.Load(), q: s.stmts.read}, nil
}

// Describe implements [tlog.Store].
func (s *Store) Describe(ctx context.Context) (tlog.Description, error) {
	id, d, err := scanDescription(s.db.Read().QueryRowContext(ctx, describeSQL+" WHERE name = ?", s.name))
	if errors.Is(err, sql.ErrNoRows) {
		return tlog.Description{}, fmt.Errorf("the database has no log %q: %w", s.name, tlog.ErrNotFound)
	}
	if err != nil {
		return tlog.Description{}, fault("describe log "+s.name, err)
	}
	s.id.Store(id)
	return d, nil
}

// Freeze implements [tlog.Store].
func (s *Store) Freeze(ctx context.Context, f func(tlog.Head) (tlog.Ending, error)) error {
	r, err := s.reader(ctx)
	if err != nil {
		return err
	}
	return fault("freeze log "+s.name, s.db.Update(ctx, func(tx *sql.Tx) error {
		head, err := reader{log: r.log, q: s.stmts.write.in(ctx, tx)}.head(ctx)
		if err != nil {
			return err
		}
		end, err := f(head)
		if err != nil {
			return err
		}
		res, err := tx.Exec(freezeSQL, end.Lost, end.Reason, r.log)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, fmt.Errorf("%w: log %s is frozen already", tlog.ErrConflict, s.name))
		}
		if end.Note == nil {
			return nil
		}
		_, err = tx.Exec(setNoteSQL, end.Note, r.log)
		return err
	}))
}

// Head implements [tlog.Store].
func (s *Store) Head(ctx context.Context) (tlog.Head, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return tlog.Head{}, err
	}
	return r.head(ctx)
}

// Leaf implements [tlog.Reader].
func (s *Store) Leaf(ctx context.Context, index int64) (tlog.Leaf, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return tlog.Leaf{}, err
	}
	return r.Leaf(ctx, index)
}

// Leaves implements [tlog.Reader].
func (s *Store) Leaves(ctx context.Context, from, to int64) ([]tlog.Leaf, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	return r.Leaves(ctx, from, to)
}

// LeafHashes implements [tlog.Reader].
func (s *Store) LeafHashes(ctx context.Context, from, to int64) ([]tile.Hash, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	return r.LeafHashes(ctx, from, to)
}

// Tile implements [tlog.Reader].
func (s *Store) Tile(ctx context.Context, level int, n int64) (tlog.TileRow, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return tlog.TileRow{}, err
	}
	return r.Tile(ctx, level, n)
}

// TileRoots implements [tlog.Reader].
func (s *Store) TileRoots(ctx context.Context, level int, from, to int64) ([]tile.Hash, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	return r.TileRoots(ctx, level, from, to)
}

// Find implements [tlog.Reader].
func (s *Store) Find(ctx context.Context, identities [][32]byte) (map[[32]byte]tlog.Found, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	return r.Find(ctx, identities)
}

// Search implements [tlog.Store].
func (s *Store) Search(ctx context.Context, keys [][]byte, and bool, size int64, limit int) ([]int64, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	stmt := s.stmts.searchAny
	if and {
		stmt = s.stmts.searchAll
	}
	return search(ctx, stmt, r.log, keys, size, limit)
}

// LeavesAt implements [tlog.Store].
func (s *Store) LeavesAt(ctx context.Context, indexes []int64) ([]tlog.Leaf, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	list, err := json.Marshal(indexes)
	if err != nil {
		return nil, err
	}
	return collect(ctx, s.stmts.leavesAt, scanLeaf, r.log, string(list))
}

// Attestations implements [tlog.Store].
func (s *Store) Attestations(ctx context.Context, from, to int64) (map[int64][]byte, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	list, err := collect(ctx, s.stmts.attests, func(sc scanner) (l tlog.Leaf, err error) { return l, sc.Scan(&l.Index, &l.Attestation) }, r.log, from, to)
	found := make(map[int64][]byte, len(list))
	for _, l := range list {
		found[l.Index] = l.Attestation
	}
	return found, err
}

// Keys implements [tlog.Store].
func (s *Store) Keys(ctx context.Context, from, to int64, each func(tlog.Key) error) error {
	r, err := s.reader(ctx)
	if err != nil {
		return err
	}
	rows, err := s.stmts.keys.QueryContext(ctx, r.log, from, to)
	if err != nil {
		return fault("read search keys", err)
	}
	defer rows.Close()
	for rows.Next() {
		var k tlog.Key
		if err := rows.Scan((*sql.RawBytes)(&k.Key), &k.Index); err != nil {
			return fault("read search keys", err)
		}
		if err := each(k); err != nil {
			return err
		}
	}
	return fault("read search keys", rows.Err())
}
