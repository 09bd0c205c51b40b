package pgstore

import (
	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/tlog"
)

// encode returns the rows of a batch for COPY, all but the tiles, which are few.
func encode(log int64, rows tlog.Rows) (all []*pg.Rows) {
	if len(rows.Leaves) > 0 {
		all = append(all, encodeLeaves(log, rows.Leaves))
	}
	if len(rows.Keys) > 0 {
		all = append(all, encodeKeys(log, rows.Keys))
	}
	if r, n := encodeAttestations(log, rows.Leaves); n > 0 {
		all = append(all, r)
	}
	return all
}

func encodeLeaves(log int64, leaves []tlog.Leaf) *pg.Rows {
	size := 0
	for _, l := range leaves {
		size += 110 + len(l.Data)
	}
	r := pg.NewRows(copyLeavesSQL, size)
	for _, l := range leaves {
		r.Row(6)
		r.Int4(int32(log))
		r.Int8(l.Index)
		r.Int8(l.TimeMS)
		r.Bytes(l.Identity[:])
		r.Bytes(l.Hash[:])
		r.Bytes(l.Data)
	}
	return r
}

func encodeKeys(log int64, keys []tlog.Key) *pg.Rows {
	size := 0
	for _, k := range keys {
		size += 38 + len(k.Key)
	}
	r := pg.NewRows(copyKeysSQL, size)
	for _, k := range keys {
		r.Row(4)
		r.Int4(int32(log))
		r.Int8(k.Index)
		r.Int8(slot(k))
		r.Bytes(k.Key)
	}
	return r
}

func encodeAttestations(log int64, leaves []tlog.Leaf) (r *pg.Rows, n int) {
	r = pg.NewRows(copyAttestSQL, 0)
	for _, l := range leaves {
		if l.Attestation != nil {
			r.Row(3)
			r.Int4(int32(log))
			r.Int8(l.Index)
			r.Bytes(l.Attestation)
			n++
		}
	}
	return r, n
}

// fewLeaves is how many leaves are inserted with INSERT: no more than that take less with it than with
// COPY, for which the server has to be asked by itself.
const fewLeaves = 16

// queueRows adds the statements that insert the rows of a batch, all but the tiles.
func queueRows(batch *pgx.Batch, log int64, rows tlog.Rows) {
	n := len(rows.Leaves)
	index, timeMS, identity, hash, data := make([]int64, n), make([]int64, n), make([][]byte, n), make([][]byte, n), make([][]byte, n)
	var attested []int64
	var attestations [][]byte
	for i := range rows.Leaves {
		l := &rows.Leaves[i]
		index[i], timeMS[i], identity[i], hash[i], data[i] = l.Index, l.TimeMS, l.Identity[:], l.Hash[:], notNull(l.Data)
		if l.Attestation != nil {
			attested, attestations = append(attested, l.Index), append(attestations, l.Attestation)
		}
	}
	if n > 0 {
		batch.Queue(insertLeavesSQL, log, index, timeMS, identity, hash, data)
	}
	if n := len(rows.Keys); n > 0 {
		index, slots, keys := make([]int64, n), make([]int64, n), make([][]byte, n)
		for i, k := range rows.Keys {
			index[i], slots[i], keys[i] = k.Index, slot(k), notNull(k.Key)
		}
		batch.Queue(insertKeysSQL, log, index, slots, keys)
	}
	if len(attested) > 0 {
		batch.Queue(insertAttestSQL, log, attested, attestations)
	}
}

// notNull returns b, and no bytes where it is nil, which would be NULL.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
