package pgstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/sigbox/sigbox/tlog"
)

// hashBits says how much of a key's hash tells the keys of a region apart. See the table tlog_key.
const hashBits = 40

// keyHash is the part of a slot that comes from the key.
func keyHash(key []byte) int64 {
	h := sha256.Sum256(key)
	return int64(binary.BigEndian.Uint64(h[:]) >> (64 - hashBits))
}

func slot(k tlog.Key) int64 { return k.Index>>regionBits<<hashBits + keyHash(k.Key) }

// search looks through the index of search keys, region by region, until it has enough. Each query
// covers twice as many regions as the one before: a common key is found in the first ones, and for
// a rare one the whole index takes few queries.
func (r reader) search(ctx context.Context, keys [][]byte, and bool, size int64, limit int) (found []int64, err error) {
	query := searchAnySQL
	if and {
		query = searchAllSQL
	}
	keys = slices.CompactFunc(slices.SortedFunc(slices.Values(keys), bytes.Compare), bytes.Equal) // the query counts them
	hashes := make([]int64, len(keys))
	for i, k := range keys {
		hashes[i] = keyHash(k)
	}
	last := (size - 1) >> regionBits
	for from, n := int64(0), int64(1); from <= last && len(found) < limit; from, n = from+n, 2*n {
		more, err := collect(ctx, r, pgx.RowTo[int64], query, r.log, keys, hashes, from, min(from+n-1, last), size, limit-len(found))
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// keys reads whole regions through their index. A row under a slot that is not its own is one that
// no search finds.
func (r reader) keys(ctx context.Context, from, to int64, each func(tlog.Key) error) error {
	if from >= to {
		return nil
	}
	first, end := from>>regionBits<<hashBits, ((to-1)>>regionBits+1)<<hashBits
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
		return each(k)
	})
	return err
}
