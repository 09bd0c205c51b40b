package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/sigbox/sigbox/internal/fuse"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/tlog"
)

// A region is 65,536 consecutive entries, whose rows lie together in the indexes of identities and of
// search keys: see migrations/postgres/tlog. It is full when the head is beyond it, and never changes
// from then on.
const (
	regionBits = 16
	regionSize = 1 << regionBits
)

// regionShape is that of all filters of identities. It is fixed, so that filters can lie side by side.
var regionShape = fuse.Shape{Bits: 11, Segments: 38}

// maxFilterKeys is how many different search keys of a region are worth a filter, which takes 1.2 bytes in
// memory for each: eight for an entry. A region with more is looked into.
const maxFilterKeys = 8 * regionSize

// filter tells which identities and which search keys a full region does not hold, so that it need not be
// looked into. It never denies one that is there, and takes one of 65,536 other identities, and one of 256
// other keys, for one. It is never changed.
type filter struct {
	identities fuse.Filter[uint16]
	keys       *fuse.Filter[uint8] // nil: any key may be there
}

func identityKey(identity *[32]byte) fuse.Key { return fuse.KeyOf(identity) }

func searchKey(key []byte) fuse.Key {
	h := sha256.Sum256(key)
	return fuse.KeyOf(&h)
}

// newFilter makes the filter of a region that holds the given identities and keys, whose order it changes.
func newFilter(identities, keys []fuse.Key) (f filter, err error) {
	if n := fuse.Distinct(identities); n != regionSize {
		return f, fmt.Errorf("%w: %d of its %d identities differ", tlog.ErrCorrupt, n, len(identities))
	}
	if f.identities, err = fuse.Make[uint16](identities); err != nil {
		return f, err
	}
	if len(keys) > maxFilterKeys {
		return f, nil
	}
	k, err := fuse.Make[uint8](keys)
	f.keys = &k
	return f, err
}

// hasKey tells whether a search key may be in the region.
func (f filter) hasKey(key fuse.Key) bool { return f.keys == nil || f.keys.Has(key) }

// encode returns the filter of a region of a log as it is stored: of identities, of keys (nil for any), and
// the SHA-256.
func (f filter) encode(log, region int64) (identities, keys []byte, sum [32]byte) {
	identities = f.identities.Encode()
	if f.keys != nil {
		keys = f.keys.Encode()
	}
	return identities, keys, filterSum(log, region, identities, keys)
}

// filterSum is the SHA-256 of a stored filter and of whose it is. Where one part ends is told by the fixed
// length of those before it.
func filterSum(log, region int64, identities, keys []byte) (sum [32]byte) {
	h := sha256.New()
	_, _ = h.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(log)), uint64(region)))
	_, _ = h.Write(identities)
	_, _ = h.Write(keys)
	return [32]byte(h.Sum(nil))
}

// decodeFilter reads the stored filter of a region of a log. A bit that is wrong in it, or the filter of
// another region, would let an entry in twice, or hide one from searches.
func decodeFilter(log, region int64, identities, keys []byte, sum [32]byte) (f filter, err error) {
	if filterSum(log, region, identities, keys) != sum {
		return f, errors.New("it is not what its SHA-256 says")
	}
	if f.identities, err = fuse.Decode[uint16](identities); err != nil {
		return f, fmt.Errorf("identities: %w", err)
	}
	if s := f.identities.Shape; s != regionShape {
		return f, fmt.Errorf("identities: it has %d segments of 2^%d places", s.Segments, s.Bits)
	}
	if keys == nil {
		return f, nil
	}
	k, err := fuse.Decode[uint8](keys)
	if err != nil {
		return f, fmt.Errorf("search keys: %w", err)
	}
	f.keys = &k
	return f, nil
}

// filters are those of the first full regions of a log, as many as are known. A region without one is
// looked into: less is slower and never wrong.
type filters struct {
	size   atomic.Int64 // of the log, when it was last seen
	absent atomic.Int64 // size of the log when one was last found missing by who may not make it
	list   atomic.Pointer[table]

	mu      sync.Mutex // held by who adds to list
	damaged []error    // stored filters that are not used
}

func (f *filters) known() table {
	if list := f.list.Load(); list != nil {
		return *list
	}
	return table{}
}

// learn reads the filters of regions that have been filled since, and makes one that is missing. It
// holds no lock in the database, and does not wait for who does the same. r is not of a transaction.
func (s *Store) learn(ctx context.Context, r reader, mayWrite bool) error {
	f := &s.filters
	size := f.size.Load()
	if int64(f.known().n) >= size>>regionBits || !mayWrite && f.absent.Load() == size {
		return nil
	}
	if !f.mu.TryLock() {
		return nil
	}
	defer f.mu.Unlock()
	err := s.load(ctx, r, size>>regionBits)
	if err == nil && int64(f.known().n) < size>>regionBits {
		if mayWrite {
			return s.makeNext(ctx, r)
		}
		f.absent.Store(size)
	}
	return err
}

// load reads stored filters, up to that of the region before full, or to the first that is missing. What is
// there and is not what it should be is not used: that region is looked into. s.filters.mu is held.
func (s *Store) load(ctx context.Context, r reader, full int64) error {
	for list := s.filters.known(); int64(list.n) < full; {
		next, err := r.filter(ctx, int64(list.n))
		switch {
		case errors.Is(err, tlog.ErrNotFound):
			return nil
		case errors.Is(err, tlog.ErrCorrupt):
			s.filters.damaged = append(s.filters.damaged, err)
			list = list.withOpen()
		case err != nil:
			return err
		default:
			list = list.with(next)
		}
		kept := list
		s.filters.list.Store(&kept)
	}
	return nil
}

// makeNext makes the filter of the first region that has none. s.filters.mu is held.
func (s *Store) makeNext(ctx context.Context, r reader) error {
	list := s.filters.known()
	next, err := s.makeFilter(ctx, r, int64(list.n))
	if err != nil {
		return fmt.Errorf("make the filter of region %d of log %s: %w", list.n, s.name, err)
	}
	list = list.with(next)
	s.filters.list.Store(&list)
	return nil
}

// filter reads the filter of a region, or fails with ErrNotFound.
func (r reader) filter(ctx context.Context, region int64) (filter, error) {
	type row struct {
		identities, keys []byte
		sum              [32]byte
	}
	v, err := one(ctx, r, func(from pgx.CollectableRow) (v row, err error) {
		return v, from.Scan(&v.identities, &v.keys, (*hash)(&v.sum))
	}, filterSQL, r.log, region)
	if err != nil {
		return filter{}, err
	}
	f, err := decodeFilter(r.log, region, v.identities, v.keys, v.sum)
	if err != nil {
		return filter{}, fmt.Errorf("%w: tlog_filter of log %d, region %d: %w", tlog.ErrCorrupt, r.log, region, err)
	}
	return f, nil
}

// makeFilter makes and stores the filter of a full region. Where another process was faster, both have
// made the same one.
func (s *Store) makeFilter(ctx context.Context, r reader, region int64) (filter, error) {
	identities, err := r.identitiesOf(ctx, region)
	if err != nil {
		return filter{}, err
	}
	keys, err := s.keysOf(ctx, r.log, region)
	if err != nil {
		return filter{}, err
	}
	f, err := newFilter(identities, keys)
	if err != nil {
		return filter{}, err
	}
	var b pgx.Batch
	ids, all, sum := f.encode(r.log, region)
	b.Queue(insertFilterSQL, r.log, region, ids, all, sum[:])
	err = s.db.Update(ctx, func(ctx context.Context, tx *pg.Tx) error { return tx.Once(ctx, &b) })
	if errors.Is(err, pg.ErrUnknownOutcome) {
		// It does not matter whether it is there; what the caller makes of this error does.
		return filter{}, fmt.Errorf("%w: its commit was not answered: %v", tlog.ErrTransient, err)
	}
	return f, fault("store it", err)
}

// filterSteps is in how many statements the identities of a region are read: none takes long, whatever the
// disk.
const filterSteps = 16

// identitiesOf reads the identities of a full region.
func (r reader) identitiesOf(ctx context.Context, region int64) ([]fuse.Key, error) {
	const step = regionSize / filterSteps
	identities := make([]fuse.Key, 0, regionSize)
	for from := region << regionBits; from < (region+1)<<regionBits; from += step {
		some, err := collect(ctx, r, scanHash, identitiesSQL, r.log, from, from+step)
		if err != nil {
			return nil, err
		}
		for i := range some {
			identities = append(identities, identityKey((*[32]byte)(&some[i])))
		}
	}
	if len(identities) != regionSize {
		return nil, fmt.Errorf("%w: it has %d leaves", tlog.ErrCorrupt, len(identities))
	}
	return identities, nil
}

// keysOf reads the different search keys of a full region, or more than maxFilterKeys of them, in the
// order in which they lie in the table.
func (s *Store) keysOf(ctx context.Context, log, region int64) ([]fuse.Key, error) {
	seen := make(map[fuse.Key]struct{}, regionSize)
	err := pgx.BeginFunc(ctx, s.db.Read(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, keysSettingsSQL); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, keysOfSQL, log, region<<slotBits, (region+1)<<slotBits)
		if err != nil {
			return err
		}
		var key []byte
		_, err = pgx.ForEachRow(rows, []any{(*pgtype.DriverBytes)(&key)}, func() error {
			if len(seen) <= maxFilterKeys {
				seen[searchKey(key)] = struct{}{}
			}
			return nil
		})
		return err
	})
	return slices.Collect(maps.Keys(seen)), fault("read search keys", err)
}
