package memstore

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/tile"
)

// Store is a log in memory. It is safe for concurrent use.
type Store struct {
	head sync.Mutex // the lock of the head row: one writer at a time

	mu   sync.RWMutex // held for moments, to read and to commit
	hook tlog.Hook
	data data
}

// data is what is committed. Byte slices in it are never changed.
type data struct {
	exists      bool
	description tlog.Description
	head        tlog.Head
	leaves      []tlog.Leaf
	identities  map[[32]byte]int64
	tiles       map[tileID]tlog.TileRow
	keys        map[string][]int64
}

type tileID struct {
	level int
	n     int64
}

// New returns a store that holds no log yet.
func New() *Store {
	return &Store{data: data{
		identities: make(map[[32]byte]int64),
		tiles:      make(map[tileID]tlog.TileRow),
		keys:       make(map[string][]int64),
	}}
}

// UseHook makes the store call h at its points of the commit path.
func (s *Store) UseHook(h tlog.Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = h
}

func (s *Store) hit(point string) error {
	s.mu.RLock()
	h := s.hook
	s.mu.RUnlock()
	return h.Hit(point)
}

func (s *Store) hitAll(points ...string) error {
	for _, p := range points {
		if err := s.hit(p); err != nil {
			return err
		}
	}
	return nil
}

// view calls f with the committed data, which f must not change.
func view[T any](s *Store, f func(*data) (T, error)) (T, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.data.exists {
		var zero T
		return zero, fmt.Errorf("no log in this store: %w", tlog.ErrNotFound)
	}
	return f(&s.data)
}

// Create implements [tlog.Store].
func (s *Store) Create(_ context.Context, d tlog.Description, f func(tlog.Tx) (*tlog.Batch, error)) error {
	return s.transact(func() error {
		if _, err := s.Describe(context.Background()); err == nil {
			return fmt.Errorf("log %s: %w", d.Name, tlog.ErrExists)
		}
		return s.update(tlog.Head{Root: tile.EmptyRoot()}, &d, f)
	})
}

// Update implements [tlog.Store].
func (s *Store) Update(ctx context.Context, _ [][32]byte, f func(tlog.Tx) (*tlog.Batch, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.transact(func() error {
		head, err := s.Head(context.Background())
		if err != nil {
			return err
		}
		return s.update(head, nil, f)
	})
}

// transact runs f under the head lock.
func (s *Store) transact(f func() error) error {
	if err := s.hit(tlog.PointTxBegin); err != nil {
		return err
	}
	s.head.Lock()
	err := f()
	s.head.Unlock()
	if err != nil {
		return err
	}
	if err := s.hit(tlog.PointTxCommitted); err != nil {
		return fmt.Errorf("%w: %w", tlog.ErrUnknownOutcome, err)
	}
	return nil
}

type tx struct {
	*Store
	head tlog.Head
}

func (t tx) Head() tlog.Head { return t.head }

// update runs f under the head lock and commits its batch; d is not nil for a new log.
func (s *Store) update(head tlog.Head, d *tlog.Description, f func(tlog.Tx) (*tlog.Batch, error)) error {
	b, err := f(tx{s, head})
	if err != nil || b == nil {
		return err
	}
	if err := s.check(head.Size, b.Rows); err != nil {
		return err
	}
	if err := s.hitAll(tlog.PointLeafInserted, tlog.PointTilesWritten, tlog.PointIndexInserted, tlog.PointAttestInserted); err != nil {
		return err
	}
	rows := clone(b.Rows)
	stored := clone(b.Rows)
	stored.Keys = nil
	for i := range stored.Leaves {
		stored.Leaves[i].Attestation = nil
	}
	next, err := b.Seal(stored)
	if err != nil {
		return err
	}
	if err := s.hitAll(tlog.PointHeadStored, tlog.PointTxPrecommit); err != nil {
		return err
	}
	if err := s.hit(tlog.PointTxCommitSent); err != nil {
		return fmt.Errorf("%w: %w", tlog.ErrUnknownOutcome, err)
	}
	s.commit(rows, next, d)
	return nil
}

// check refuses what the constraints of a database would refuse.
func (s *Store) check(size int64, rows tlog.Rows) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	seen := make(map[[32]byte]bool)
	for i, l := range rows.Leaves {
		if _, ok := s.data.identities[l.Identity]; ok || seen[l.Identity] {
			return fmt.Errorf("%w: leaf %d has the identity of another leaf", tlog.ErrConflict, l.Index)
		}
		if l.Index != size+int64(i) || len(s.data.rows(l.Index, l.Index+1)) > 0 {
			return fmt.Errorf("%w: leaf %d", tlog.ErrConflict, l.Index)
		}
		seen[l.Identity] = true
	}
	for _, t := range rows.Tiles {
		if _, ok := s.data.tiles[tileID{t.Level, t.N}]; ok {
			return fmt.Errorf("%w: tile level %d n %d", tlog.ErrConflict, t.Level, t.N)
		}
	}
	return nil
}

func (s *Store) commit(rows tlog.Rows, head tlog.Head, d *tlog.Description) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d != nil {
		s.data.exists, s.data.description = true, *d
	}
	for _, l := range rows.Leaves {
		s.data.leaves = append(s.data.leaves, l)
		s.data.identities[l.Identity] = l.Index
	}
	for _, t := range rows.Tiles {
		s.data.tiles[tileID{t.Level, t.N}] = t
	}
	for _, k := range rows.Keys {
		s.data.keys[string(k.Key)] = append(s.data.keys[string(k.Key)], k.Index)
	}
	head.Frozen, head.Lost, head.Reason = s.data.head.Frozen, s.data.head.Lost, s.data.head.Reason
	s.data.head = head
}

func clone(r tlog.Rows) tlog.Rows {
	c := tlog.Rows{Leaves: slices.Clone(r.Leaves), Tiles: slices.Clone(r.Tiles), Keys: slices.Clone(r.Keys)}
	for i, l := range c.Leaves {
		c.Leaves[i].Data, c.Leaves[i].Attestation = bytes.Clone(l.Data), bytes.Clone(l.Attestation)
	}
	for i, t := range c.Tiles {
		c.Tiles[i].Hashes = bytes.Clone(t.Hashes)
	}
	return c
}

// Freeze implements [tlog.Store].
func (s *Store) Freeze(ctx context.Context, f func(tlog.Head) (tlog.Ending, error)) error {
	s.head.Lock()
	defer s.head.Unlock()
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	end, err := f(head)
	if err != nil {
		return err
	}
	head.Frozen, head.Lost, head.Reason = true, end.Lost, end.Reason
	if end.Note != nil {
		head.Note = bytes.Clone(end.Note)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data.head = head
	return nil
}

// Describe implements [tlog.Store].
func (s *Store) Describe(context.Context) (tlog.Description, error) {
	return view(s, func(d *data) (tlog.Description, error) { return d.description, nil })
}

// Head implements [tlog.Store].
func (s *Store) Head(context.Context) (tlog.Head, error) {
	return view(s, func(d *data) (tlog.Head, error) { return d.head, nil })
}

// Search implements [tlog.Store].
func (s *Store) Search(_ context.Context, keys [][]byte, and bool, size int64, limit int) ([]int64, error) {
	return view(s, func(d *data) ([]int64, error) {
		distinct := make(map[string]bool)
		for _, k := range keys {
			distinct[string(k)] = true
		}
		hits := make(map[int64]int)
		for k := range distinct {
			for _, i := range d.keys[k] {
				hits[i]++
			}
		}
		maps.DeleteFunc(hits, func(i int64, n int) bool { return i >= size || and && n < len(distinct) })
		found := slices.Sorted(maps.Keys(hits))
		return found[max(0, len(found)-limit):], nil
	})
}

// LeavesAt implements [tlog.Store].
func (s *Store) LeavesAt(_ context.Context, indexes []int64) ([]tlog.Leaf, error) {
	return view(s, func(d *data) (list []tlog.Leaf, err error) {
		for _, i := range indexes {
			for _, l := range d.rows(i, i+1) {
				l.Data, l.Attestation = bytes.Clone(l.Data), nil
				list = append(list, l)
			}
		}
		return list, nil
	})
}

// Keys implements [tlog.Store].
func (s *Store) Keys(_ context.Context, from, to int64, each func(tlog.Key) error) error {
	_, err := view(s, func(d *data) (_ struct{}, err error) {
		for key, indexes := range d.keys {
			for _, i := range indexes {
				if i >= from && i < to && err == nil {
					err = each(tlog.Key{Key: []byte(key), Index: i})
				}
			}
		}
		return struct{}{}, err
	})
	return err
}

// Attestations implements [tlog.Store].
func (s *Store) Attestations(_ context.Context, from, to int64) (map[int64][]byte, error) {
	return view(s, func(d *data) (map[int64][]byte, error) {
		found := make(map[int64][]byte)
		for _, l := range d.rows(from, to) {
			if l.Attestation != nil {
				found[l.Index] = bytes.Clone(l.Attestation)
			}
		}
		return found, nil
	})
}
