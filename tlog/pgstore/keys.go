package pgstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/sigbox/sigbox/tlog"
)

// hashBits says how much of a key's hash tells the keys of a region apart. See the table tlog_key.
const (
	hashBits = 24
	slotBits = hashBits + regionBits // of a slot, below the number of the region
)

// keyHash is the part of a slot that comes from the key.
func keyHash(key []byte) int64 {
	h := sha256.Sum256(key)
	return int64(binary.BigEndian.Uint64(h[:])>>(64-hashBits)) << regionBits
}

func slot(k tlog.Key) int64 {
	return k.Index>>regionBits<<slotBits + keyHash(k.Key) + k.Index&(regionSize-1)
}

// regionsAtOnce is how many regions one query looks into at most: enough for few queries, and so few
// that a query for two common keys that no entry has both takes no longer than a statement may.
const regionsAtOnce = 32

// search looks through the index of search keys, region by region, from the newest back, until it has
// enough. Regions that have a filter are left out where that denies the keys.
func (r reader) search(ctx context.Context, keys [][]byte, and bool, size int64, limit int) (found []int64, err error) {
	keys = slices.CompactFunc(slices.SortedFunc(slices.Values(keys), bytes.Compare), bytes.Equal)
	regions := r.filters.keyRegions(keys, and, (size-1)>>regionBits)
	if and && len(keys) > 1 {
		found, err = r.searchAll(ctx, keys, regions, size, limit)
	} else {
		found, err = r.backwards(ctx, searchAnySQL, keys, regions, size, limit)
	}
	slices.Reverse(found)
	return found, err
}

// queriesAtOnce is how many queries of one search run at the same time, once it is clear that it looks for
// something rare: most of their time goes into waiting for pages of the index that nobody read lately.
const queriesAtOnce = 4

// fewRegions are looked into at once, whatever there is in them.
const fewRegions = 4

// backwards runs a query of regions, each time for more of them, and returns what it finds, the newest
// first, as the regions are.
func (r reader) backwards(ctx context.Context, query string, keys [][]byte, regions []int64, size int64, limit int, more ...any) (found []int64, err error) {
	hashes, queries := keyHashes(keys), queriesAtOnce
	if query == searchAllSQL { // which may take long for each region: one at a time
		queries = 1
	}
	look := func(ctx context.Context, regions []int64, limit int) ([]int64, error) {
		return collect(ctx, r, pgx.RowTo[int64], query, append([]any{r.log, keys, hashes, regions, size, limit}, more...)...)
	}
	n := 1
	if len(regions) <= fewRegions {
		n = fewRegions
	}
	for len(regions) > 0 && len(found) < limit {
		n = min(n, len(regions))
		some, err := together(ctx, r, queries, regions[:n], func(ctx context.Context, regions []int64) ([]int64, error) {
			return look(ctx, regions, limit-len(found))
		})
		if err != nil {
			return nil, err
		}
		found = append(found, some[:min(len(some), limit-len(found))]...)
		first := regions[n-1]
		regions = regions[n:]
		if len(found) == 0 {
			n = min(16*n, queries*regionsAtOnce)
			continue
		}
		// A common key needs only so many more entries.
		entries := (size - first<<regionBits) * int64(limit-len(found)) / int64(len(found))
		n = int(min(int64(4*n), regionsAtOnce, entries>>regionBits+1))
	}
	return found, nil
}

// together has regions looked through by several queries at once, if they are many, and returns what is
// found in the order of the regions.
func together(ctx context.Context, r reader, queries int, regions []int64, look func(ctx context.Context, regions []int64) ([]int64, error)) ([]int64, error) {
	const few = 8 // regions are not worth a query more
	parts := min(queries, (len(regions)-1)/few+1)
	if r.pool == nil || parts < 2 {
		return look(ctx, regions)
	}
	found, errs := make([][]int64, parts), make([]error, parts)
	var wg sync.WaitGroup
	for i := range parts {
		part := regions[i*len(regions)/parts : (i+1)*len(regions)/parts]
		wg.Go(func() { found[i], errs[i] = look(ctx, part) })
	}
	wg.Wait()
	return slices.Concat(found...), errors.Join(errs...)
}

func keyHashes(keys [][]byte) []int64 {
	hashes := make([]int64, len(keys))
	for i, k := range keys {
		hashes[i] = keyHash(k)
	}
	return hashes
}

// searchAll goes by the rarest of the keys, and looks each of its entries up by the others. It returns
// the newest first.
func (r reader) searchAll(ctx context.Context, keys [][]byte, regions []int64, size int64, limit int) ([]int64, error) {
	const enough = 100 // entries tell that a key is not rare
	var rarest []int64
	at := 0
	for i := range keys {
		some, err := r.backwards(ctx, searchAnySQL, keys[i:i+1], regions, size, enough)
		if err != nil || len(some) == 0 {
			return nil, err
		}
		if i == 0 || len(some) < len(rarest) || len(some) == len(rarest) && some[len(some)-1] < rarest[len(rarest)-1] {
			rarest, at = some, i
		}
	}
	others := slices.Delete(slices.Clone(keys), at, at+1)
	if len(rarest) == enough {
		return r.backwards(ctx, searchAllSQL, others, regions, size, limit, keys[at], keyHash(keys[at]))
	}
	found, err := collect(ctx, r, pgx.RowTo[int64], searchTheseSQL, r.log, others, keyHashes(others), rarest)
	return found[:min(limit, len(found))], err
}

// keys reads the keys of one region, or a part of it, through its index. A row under a slot that is not its
// own is one that no search finds, and so is one that the filter of the region denies, where f is one.
func (r reader) keys(ctx context.Context, from, to int64, f *filter, each func(tlog.Key) error) error {
	region := from >> regionBits
	first, end := region<<slotBits, (region+1)<<slotBits
	rows, err := r.q.Query(ctx, keysSQL, r.log, first, end, from, to)
	if err != nil {
		return err
	}
	var k tlog.Key
	var at int64
	_, err = pgx.ForEachRow(rows, []any{&k.Index, &at, (*pgtype.DriverBytes)(&k.Key)}, func() error {
		if at != slot(k) {
			return fmt.Errorf("%w: search key %x of leaf %d is in slot %d, not in %d", tlog.ErrCorrupt, k.Key, k.Index, at, slot(k))
		}
		if f != nil && !f.hasKey(searchKey(k.Key)) {
			return fmt.Errorf("%w: search key %x of leaf %d is denied by the filter of region %d", tlog.ErrCorrupt, k.Key, k.Index, region)
		}
		return each(k)
	})
	return err
}
