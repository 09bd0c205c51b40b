package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

const (
	describeSQL = `SELECT id, name, origin, face, key_sha256, created_ms, coalesce(follows, '') FROM tlog`

	headSQL       = `SELECT h.size, h.root, h.time_ms, h.checkpoint, l.state = 'frozen', l.lost, l.frozen_why FROM tlog_head h JOIN tlog l ON l.id = h.log_id WHERE h.log_id = ?`
	leafSQL       = `SELECT l.idx, l.time_ms, l.identity, l.leaf_hash, l.data, a.data FROM tlog_leaf l LEFT JOIN attestation a ON a.log_id = l.log_id AND a.idx = l.idx WHERE l.log_id = ? AND l.idx = ?`
	leavesSQL     = `SELECT idx, time_ms, identity, leaf_hash, data, NULL FROM tlog_leaf WHERE log_id = ? AND idx >= ? AND idx < ? ORDER BY idx`
	leavesAtSQL   = `SELECT idx, time_ms, identity, leaf_hash, data, NULL FROM tlog_leaf WHERE log_id = ? AND idx IN (SELECT value FROM json_each(?)) ORDER BY idx`
	leafHashesSQL = `SELECT leaf_hash FROM tlog_leaf WHERE log_id = ? AND idx >= ? AND idx < ? ORDER BY idx`
	tileSQL       = `SELECT hashes, root FROM tlog_tile WHERE log_id = ? AND level = ? AND n = ?`
	tileRootsSQL  = `SELECT root FROM tlog_tile WHERE log_id = ? AND level = ? AND n >= ? AND n < ? ORDER BY n`
	// Identities and keys arrive as a JSON array of hex strings: one statement for any number.
	findSQL      = `SELECT identity, idx, time_ms FROM tlog_leaf WHERE log_id = ? AND identity IN (SELECT unhex(value) FROM json_each(?))`
	searchAnySQL = `SELECT DISTINCT idx FROM tlog_key WHERE log_id = ? AND key IN (SELECT unhex(value) FROM json_each(?)) AND idx < ? ORDER BY idx DESC LIMIT ?`
	searchAllSQL = `SELECT idx FROM tlog_key WHERE log_id = ?1 AND key IN (SELECT unhex(value) FROM json_each(?2)) AND idx < ?3 ` +
		`GROUP BY idx HAVING count(*) = (SELECT count(DISTINCT value) FROM json_each(?2)) ORDER BY idx DESC LIMIT ?4`
	// The keys of an entry are found by its index, and each of them then as a search finds it.
	keysSQL = `SELECT k.key, k.idx FROM tlog_key i INDEXED BY tlog_key_idx CROSS JOIN tlog_key k ON k.log_id = i.log_id AND k.key = i.key AND k.idx = i.idx ` +
		`WHERE i.log_id = ? AND i.idx >= ? AND i.idx < ?`
	attestsSQL = `SELECT idx, data FROM attestation WHERE log_id = ? AND idx >= ? AND idx < ?`

	insertLogSQL    = `INSERT INTO tlog (name, origin, face, key_sha256, created_ms, follows) VALUES (?, ?, ?, ?, ?, nullif(?, ''))`
	insertHeadSQL   = `INSERT INTO tlog_head (log_id, size, root, time_ms, checkpoint) VALUES (?, ?, ?, ?, ?)`
	insertLeafSQL   = `INSERT INTO tlog_leaf (log_id, idx, identity, leaf_hash, time_ms, data) VALUES (?, ?, ?, ?, ?, ?)`
	insertTileSQL   = `INSERT INTO tlog_tile (log_id, level, n, hashes, root) VALUES (?, ?, ?, ?, ?)`
	insertKeySQL    = `INSERT INTO tlog_key (log_id, key, idx) VALUES (?, ?, ?)`
	insertAttestSQL = `INSERT INTO attestation (log_id, idx, data) VALUES (?, ?, ?)`
	moveHeadSQL     = `UPDATE tlog_head SET size = ?, root = ?, time_ms = ?, checkpoint = ? WHERE log_id = ? AND size = ?`
	freezeSQL       = `UPDATE tlog SET state = 'frozen', lost = ?, frozen_why = ? WHERE id = ? AND state <> 'frozen'`
	setNoteSQL      = `UPDATE tlog_head SET checkpoint = ? WHERE log_id = ?`
)

// queries are the prepared reads; a transaction has its own, bound to it.
type queries struct {
	head, leaf, leaves, leafHashes, tile, tileRoots, find *sql.Stmt
}

// statements are all prepared statements of a store.
type statements struct {
	read  queries // on the reading connections
	write queries // on the writing connection

	searchAny, searchAll, leavesAt, keys, attests            *sql.Stmt // reading
	insertLeaf, insertTile, insertKey, insertAttest, setHead *sql.Stmt // writing
}

func (q *queries) list() map[**sql.Stmt]string {
	return map[**sql.Stmt]string{
		&q.head: headSQL, &q.leaf: leafSQL, &q.leaves: leavesSQL, &q.leafHashes: leafHashesSQL,
		&q.tile: tileSQL, &q.tileRoots: tileRootsSQL, &q.find: findSQL,
	}
}

// in returns the queries bound to a transaction.
func (q queries) in(ctx context.Context, tx *sql.Tx) queries {
	for stmt := range q.list() {
		*stmt = tx.StmtContext(ctx, *stmt)
	}
	return q
}

func prepare(ctx context.Context, read, write *sql.DB) (_ *statements, err error) {
	s := new(statements) // not the result, which is nil where the deferred close runs
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("prepare the statements of the logs: %w", err), s.close())
		}
	}()
	for db, list := range map[*sql.DB][]map[**sql.Stmt]string{
		read: {s.read.list(), {
			&s.searchAny: searchAnySQL, &s.searchAll: searchAllSQL, &s.leavesAt: leavesAtSQL, &s.keys: keysSQL, &s.attests: attestsSQL,
		}},
		write: {s.write.list(), {
			&s.insertLeaf: insertLeafSQL, &s.insertTile: insertTileSQL, &s.insertKey: insertKeySQL,
			&s.insertAttest: insertAttestSQL, &s.setHead: moveHeadSQL,
		}},
	} {
		for _, statements := range list {
			for stmt, text := range statements {
				if *stmt, err = db.PrepareContext(ctx, text); err != nil {
					return nil, err
				}
			}
		}
	}
	return s, nil
}

func (s *statements) close() error {
	var errs []error
	closeAll := func(stmts ...*sql.Stmt) {
		for _, stmt := range stmts {
			if stmt != nil {
				errs = append(errs, stmt.Close())
			}
		}
	}
	for _, q := range []*queries{&s.read, &s.write} {
		for stmt := range q.list() {
			closeAll(*stmt)
		}
	}
	closeAll(s.searchAny, s.searchAll, s.leavesAt, s.keys, s.attests, s.insertLeaf, s.insertTile, s.insertKey, s.insertAttest, s.setHead)
	return errors.Join(errs...)
}
