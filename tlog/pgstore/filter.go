package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
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

// filter tells which identities a full region does not hold, so that it need not be looked into: a
// Bloom filter of 24 bits per entry, in which the five bits of an identity are in one word. It never
// denies an identity that is there, and takes about one of a thousand others for one. It is never
// changed.
type filter []uint64

const filterWords = 24 << regionBits / 64

// probe returns the word and the bits of it that an identity has. Identities are hashes.
func probe(identity *[32]byte) (word uint32, bits uint64) {
	h := binary.BigEndian.Uint64(identity[:])
	for i := range 5 {
		bits |= 1 << (h >> (6 * i) & 63)
	}
	return uint32(h >> 32 * filterWords >> 32), bits
}

// newFilter makes the filter of a region that holds the given identities.
func newFilter(identities [][32]byte) filter {
	f := make(filter, filterWords)
	for i := range identities {
		word, bits := probe(&identities[i])
		f[word] |= bits
	}
	return f
}

// encode returns a filter as it is stored: its words, big-endian.
func (f filter) encode() []byte {
	data := make([]byte, 0, 8*len(f))
	for _, word := range f {
		data = binary.BigEndian.AppendUint64(data, word)
	}
	return data
}

// decodeFilter reads a stored filter. A bit that is missing in it would let an entry in twice.
func decodeFilter(data []byte, sum [32]byte) (filter, error) {
	if len(data) != 8*filterWords || sha256.Sum256(data) != sum {
		return nil, errors.New("it is not what its SHA-256 says")
	}
	f := make(filter, filterWords)
	for i := range f {
		f[i] = binary.BigEndian.Uint64(data[8*i:])
	}
	return f, nil
}

// groupRegions is how many filters lie together. The first one of a group takes memory for all, 3 MB.
const groupRegions = 16

// table is the filters of the first n regions of a log. The words of the same place in 16 filters lie
// side by side, so that a look at all of them reads a run of memory: ten million entries are 153 filters,
// and one access to memory for each would take longer than all else that is done for an entry.
type table struct {
	n      int
	groups [][]uint64 // word w of region r is [r/groupRegions][w*groupRegions+r%groupRegions]
}

// with returns a table with one filter more. It shares memory with t, whose own part is not touched;
// one caller at a time may extend what comes from the same table.
func (t table) with(f filter) table {
	if t.n%groupRegions == 0 {
		t.groups = append(t.groups[:len(t.groups):len(t.groups)], make([]uint64, filterWords*groupRegions))
	}
	last, slot := t.groups[t.n/groupRegions], t.n%groupRegions
	for w, word := range f {
		last[w*groupRegions+slot] = word
	}
	t.n++
	return t
}

// first returns the filters of the first n regions at most.
func (t table) first(n int64) table {
	t.n = int(min(int64(t.n), n))
	return t
}

// each calls hit for every region that may hold an identity.
func (t table) each(identity *[32]byte, hit func(region int)) {
	word, bits := probe(identity)
	for g := 0; g*groupRegions < t.n; g++ {
		row := t.groups[g][int(word)*groupRegions:][:min(groupRegions, t.n-g*groupRegions)]
		for slot, w := range row {
			if w&bits == bits {
				hit(g*groupRegions + slot)
			}
		}
	}
}

// filters are those of the first full regions of a log, as many as are known. A region without one is
// looked into: less is slower and never wrong.
type filters struct {
	size   atomic.Int64 // of the log, when it was last seen
	absent atomic.Int64 // size of the log when one was last found missing by who may not make it
	list   atomic.Pointer[table]
	mu     sync.Mutex // held by who adds to list
}

func (f *filters) known() table {
	if list := f.list.Load(); list != nil {
		return *list
	}
	return table{}
}

// learn reads the filters of regions that have been filled since, and makes one that is missing. It
// holds no lock in the database. r is not of a transaction.
func (s *Store) learn(ctx context.Context, r reader, mayWrite bool) error {
	f := &s.filters
	size := f.size.Load()
	if int64(f.known().n) >= size>>regionBits || !mayWrite && f.absent.Load() == size {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	list, err := s.more(ctx, r, f.known(), size>>regionBits, mayWrite)
	f.list.Store(&list) // with those that were read before a failure
	if err == nil && int64(list.n) < size>>regionBits {
		f.absent.Store(size)
	}
	return err
}

// more returns list with the filters of further regions, up to full of them.
func (s *Store) more(ctx context.Context, r reader, list table, full int64, mayWrite bool) (table, error) {
	for int64(list.n) < full {
		next, err := r.filter(ctx, int64(list.n))
		if errors.Is(err, tlog.ErrNotFound) {
			break
		}
		if err != nil {
			return list, err
		}
		list = list.with(next)
	}
	if region := int64(list.n); region < full && mayWrite {
		next, err := s.makeFilter(ctx, r, region)
		if err != nil {
			return list, fmt.Errorf("make the filter of region %d of log %s: %w", region, s.name, err)
		}
		list = list.with(next)
	}
	return list, nil
}

// filter reads the filter of a region, or fails with ErrNotFound.
func (r reader) filter(ctx context.Context, region int64) (filter, error) {
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
func (s *Store) makeFilter(ctx context.Context, r reader, region int64) (filter, error) {
	const step = regionSize / 16 // no statement takes long, whatever the disk
	identities := make([][32]byte, 0, regionSize)
	for from := region << regionBits; from < (region+1)<<regionBits; from += step {
		some, err := collect(ctx, r, scanHash, identitiesSQL, r.log, from, from+step)
		if err != nil {
			return nil, err
		}
		identities = append(identities, some...)
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
func candidates(list table, identities [][32]byte) (wanted [][]byte, regions []int32) {
	for i := range identities {
		list.each(&identities[i], func(region int) {
			wanted = append(wanted, identities[i][:])
			regions = append(regions, int32(region))
		})
	}
	return wanted, regions
}
