package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

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

// filter tells which identities a full region does not hold, so that it need not be looked into. It is
// a sorted list of 28 bits of each identity there: it never denies one that is there, and takes one of
// 4,096 others for one. It is 2.25 bytes per entry, and never changed.
type filter struct {
	ends   []uint32 // ends[b] is where the bits of identities whose first bucketBits bits are b end
	prints []uint16 // the 16 bits after those, sorted within each bucket
}

const (
	bucketBits = 12
	printBytes = 2
	filterSize = 4<<bucketBits + printBytes<<regionBits
)

func bucket(identity *[32]byte) (b uint32, print uint16) {
	bits := binary.BigEndian.Uint32(identity[:]) >> (32 - bucketBits - 8*printBytes)
	return bits >> (8 * printBytes), uint16(bits)
}

// newFilter makes the filter of a region that holds the given identities.
func newFilter(identities [][32]byte) *filter {
	bits := make([]uint32, len(identities))
	for i := range identities {
		b, print := bucket(&identities[i])
		bits[i] = b<<(8*printBytes) | uint32(print)
	}
	slices.Sort(bits)
	f := &filter{ends: make([]uint32, 1<<bucketBits), prints: make([]uint16, len(bits))}
	for i, v := range bits {
		f.prints[i] = uint16(v)
		f.ends[v>>(8*printBytes)]++
	}
	for b := 1; b < len(f.ends); b++ {
		f.ends[b] += f.ends[b-1]
	}
	return f
}

// maybe says whether the region may hold an entry with that identity.
func (f *filter) maybe(identity *[32]byte) bool {
	b, print := bucket(identity)
	var from uint32
	if b > 0 {
		from = f.ends[b-1]
	}
	_, found := slices.BinarySearch(f.prints[from:f.ends[b]], print)
	return found
}

// encode returns a filter as it is stored: ends, then prints, big-endian.
func (f *filter) encode() []byte {
	data := make([]byte, 0, filterSize)
	for _, v := range f.ends {
		data = binary.BigEndian.AppendUint32(data, v)
	}
	for _, v := range f.prints {
		data = binary.BigEndian.AppendUint16(data, v)
	}
	return data
}

// decodeFilter reads a stored filter. Whatever is wrong with it would let an entry in twice.
func decodeFilter(data []byte, sum [32]byte) (*filter, error) {
	if len(data) != filterSize || sha256.Sum256(data) != sum {
		return nil, errors.New("it is not what its SHA-256 says")
	}
	f := &filter{ends: make([]uint32, 1<<bucketBits), prints: make([]uint16, regionSize)}
	for i := range f.ends {
		f.ends[i] = binary.BigEndian.Uint32(data[4*i:])
	}
	prints := data[4*len(f.ends):]
	for i := range f.prints {
		f.prints[i] = binary.BigEndian.Uint16(prints[printBytes*i:])
	}
	if !slices.IsSorted(f.ends) || f.ends[len(f.ends)-1] != regionSize {
		return nil, errors.New("its buckets do not add up")
	}
	return f, nil
}

// filters are those of the first full regions of a log, as many as are known. A region without one is
// looked into: less is slower and never wrong.
type filters struct {
	size atomic.Int64 // of the log, when it was last seen
	list atomic.Pointer[[]*filter]
	mu   sync.Mutex // held by who adds to list
}

func (f *filters) known() []*filter {
	if list := f.list.Load(); list != nil {
		return *list
	}
	return nil
}

// learn reads the filters of regions that have been filled since, and makes one that is missing. It
// holds no lock in the database. r is not of a transaction.
func (s *Store) learn(ctx context.Context, r reader, mayWrite bool) error {
	f := &s.filters
	full := f.size.Load() >> regionBits
	if int64(len(f.known())) >= full {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.known()
	list = list[:len(list):len(list)] // who reads the old one goes on
	for region := int64(len(list)); region < full; region++ {
		next, err := r.filter(ctx, region)
		if errors.Is(err, tlog.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		list = append(list, next)
	}
	if region := int64(len(list)); region < full && mayWrite {
		next, err := s.makeFilter(ctx, r, region)
		if err != nil {
			return fmt.Errorf("make the filter of region %d of log %s: %w", region, s.name, err)
		}
		list = append(list, next)
	}
	f.list.Store(&list)
	return nil
}

// filter reads the filter of a region, or fails with ErrNotFound.
func (r reader) filter(ctx context.Context, region int64) (*filter, error) {
	type row struct {
		data []byte
		sum  [32]byte
	}
	v, err := one(ctx, r, func(from pgx.CollectableRow) (v row, err error) {
		return v, from.Scan(&v.data, (*hash)(&v.sum))
	}, filterSQL, r.log, region)
	if err != nil {
		return nil, err
	}
	f, err := decodeFilter(v.data, v.sum)
	if err != nil {
		return nil, fmt.Errorf("%w: tlog_filter of log %d, region %d: %w", tlog.ErrCorrupt, r.log, region, err)
	}
	return f, nil
}

// makeFilter makes and stores the filter of a full region. Where another process was faster, both have
// made the same one.
func (s *Store) makeFilter(ctx context.Context, r reader, region int64) (*filter, error) {
	const step = regionSize / 16 // no statement takes long, whatever the disk
	identities := make([][32]byte, 0, regionSize)
	for from := region << regionBits; from < (region+1)<<regionBits; from += step {
		some, err := collect(ctx, r, scanHash, identitiesSQL, r.log, from, from+step)
		if err != nil {
			return nil, err
		}
		for _, id := range some {
			identities = append(identities, id)
		}
	}
	if len(identities) != regionSize {
		return nil, fmt.Errorf("%w: it has %d leaves", tlog.ErrCorrupt, len(identities))
	}
	f := newFilter(identities)
	data := f.encode()
	sum := sha256.Sum256(data)
	var b pgx.Batch
	b.Queue(insertFilterSQL, r.log, region, data, sum[:])
	err := s.db.Update(ctx, func(ctx context.Context, tx *pg.Tx) error { return tx.Once(ctx, &b) })
	if errors.Is(err, pg.ErrUnknownOutcome) {
		// It does not matter whether it is there; what the caller makes of this error does.
		return nil, fmt.Errorf("%w: its commit was not answered: %v", tlog.ErrTransient, err)
	}
	return f, fault("store it", err)
}

// candidates returns, for identities, the full regions that may hold them, as two columns.
func candidates(list []*filter, identities [][32]byte) (wanted [][]byte, regions []int32) {
	for region, f := range list { // one filter after the other: each fits into the processor's cache
		for i := range identities {
			if f.maybe(&identities[i]) {
				wanted = append(wanted, identities[i][:])
				regions = append(regions, int32(region))
			}
		}
	}
	return wanted, regions
}
