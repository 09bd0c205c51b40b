package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/tlog"
)

// regionBits says how many entries share a region of the index of search keys; hashBits, how much
// of a key's hash tells the keys of a region apart. See the table tlog_key.
const (
	regionBits = 16
	hashBits   = 40
)

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

func (r reader) missingKeys(ctx context.Context, keys []tlog.Key) ([]tlog.Key, error) {
	list, slots, indexes := make([][]byte, len(keys)), make([]int64, len(keys)), make([]int64, len(keys))
	for i, k := range keys {
		list[i], slots[i], indexes[i] = append([]byte{}, k.Key...), slot(k), k.Index
	}
	return collect(ctx, r, func(row pgx.CollectableRow) (k tlog.Key, err error) {
		return k, row.Scan(&k.Key, &k.Index)
	}, missingKeysSQL, r.log, list, slots, indexes)
}
