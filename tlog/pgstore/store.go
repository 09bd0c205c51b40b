package pgstore

import (
	"context"
	"fmt"
	"maps"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/tile"
)

// Store is one log of a database. It is safe for concurrent use.
type Store struct {
	db   *pg.DB
	name string
	id   atomic.Int64 // of the log; 0 as long as it is not known
	hook atomic.Pointer[tlog.Hook]

	filters filters
	audited audited
}

// Open returns the store of the log with that name, which may not have been created yet. db was
// opened with the schema "tlog".
func Open(_ context.Context, db *pg.DB, name string) (*Store, error) {
	return &Store{db: db, name: name}, nil
}

// List returns the logs of a database in the order of their creation.
func List(ctx context.Context, db *pg.DB) ([]tlog.Description, error) {
	rows, err := collect(ctx, reader{q: db.Read(), pool: db.Read()}, scanDescription, describeSQL+" ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	list := make([]tlog.Description, len(rows))
	for i, row := range rows {
		list[i] = row.Description
	}
	return list, nil
}

// described is a row of the table of logs.
type described struct {
	id int64
	tlog.Description
}

func scanDescription(row pgx.CollectableRow) (d described, err error) {
	err = row.Scan(&d.id, &d.Name, &d.Origin, &d.Face, (*hash)(&d.KeySHA256), &d.CreatedMS, &d.Follows)
	return d, err
}

// UseHook makes the store call h at its points of the commit path.
func (s *Store) UseHook(h tlog.Hook) { s.hook.Store(&h) }

func (s *Store) hit(points ...string) error {
	if h := s.hook.Load(); h != nil {
		for _, point := range points {
			if err := h.Hit(point); err != nil {
				return err
			}
		}
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
	return reader{log: s.id.Load(), q: s.db.Read(), pool: s.db.Read(), filters: s.filters.known()}, nil
}

// Describe implements [tlog.Store].
func (s *Store) Describe(ctx context.Context) (tlog.Description, error) {
	d, err := one(ctx, reader{q: s.db.Read(), pool: s.db.Read()}, scanDescription, describeSQL+" WHERE name = $1", s.name)
	if err != nil {
		return tlog.Description{}, fmt.Errorf("describe log %q: %w", s.name, err)
	}
	s.id.Store(d.id)
	return d.Description, nil
}

// Freeze implements [tlog.Store].
func (s *Store) Freeze(ctx context.Context, f func(tlog.Head) (tlog.Ending, error)) error {
	r, err := s.reader(ctx)
	if err != nil {
		return err
	}
	return fault("freeze log "+s.name, s.db.Update(ctx, func(ctx context.Context, tx *pg.Tx) error {
		head, err := s.lock(ctx, tx, r.log, &pgx.Batch{})
		if err != nil {
			return err
		}
		end, err := f(head)
		if err != nil {
			return err
		}
		var b pgx.Batch
		b.Queue(freezeSQL, r.log, end.Lost, end.Reason)
		if end.Note != nil {
			b.Queue(setNoteSQL, r.log, end.Note)
		}
		return tx.Commit(ctx, &b)
	}))
}

// Head implements [tlog.Store].
func (s *Store) Head(ctx context.Context) (tlog.Head, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return tlog.Head{}, err
	}
	head, err := r.head(ctx)
	if err == nil {
		s.filters.size.Store(head.Size)
	}
	return head, err
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
	if err := s.learn(ctx, r, false); err != nil {
		return nil, err
	}
	r.filters = s.filters.known()
	if r.filters.n == 0 {
		return r.Find(ctx, identities)
	}
	// Most that are asked for are in a full region, and one look is enough: what is there comes before
	// all that is in an open one.
	found, err := r.find(ctx, identities, nil)
	if err != nil || len(found) == len(identities) {
		return found, err
	}
	var missing [][32]byte
	for _, id := range identities {
		if _, ok := found[id]; !ok {
			missing = append(missing, id)
		}
	}
	more, err := r.find(ctx, nil, missing)
	maps.Copy(found, more)
	return found, err
}

// Search implements [tlog.Store].
func (s *Store) Search(ctx context.Context, keys [][]byte, and bool, size int64, limit int) ([]int64, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.learn(ctx, r, false); err != nil {
		return nil, err
	}
	r.filters = s.filters.known()
	return r.search(ctx, keys, and, size, limit)
}

// LeavesAt implements [tlog.Store].
func (s *Store) LeavesAt(ctx context.Context, indexes []int64) ([]tlog.Leaf, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	return collect(ctx, r, scanLeaf, leavesAtSQL, r.log, indexes)
}

// Attestations implements [tlog.Store].
func (s *Store) Attestations(ctx context.Context, from, to int64) (map[int64][]byte, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	list, err := collect(ctx, r, func(row pgx.CollectableRow) (l tlog.Leaf, err error) {
		return l, row.Scan(&l.Index, &l.Attestation)
	}, attestsSQL, r.log, from, to)
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
	for ; from < to; from = (from>>regionBits + 1) << regionBits {
		f, err := s.audited.filter(ctx, r, from>>regionBits)
		if err != nil {
			return err
		}
		end := min(to, (from>>regionBits+1)<<regionBits)
		err = pgx.BeginFunc(ctx, s.db.Read(), func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, keysSettingsSQL); err != nil {
				return err
			}
			r := reader{log: r.log, q: tx}
			return r.keys(ctx, from, end, f, each)
		})
		if err != nil {
			return fault("read search keys", err)
		}
	}
	return nil
}
