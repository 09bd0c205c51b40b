package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	lib "modernc.org/sqlite/lib"

	driver "modernc.org/sqlite"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/tile"
)

// tx is a transaction that holds the write lock of the file.
type tx struct {
	reader
	current tlog.Head
}

func (t tx) Head() tlog.Head { return t.current }

// Update implements [tlog.Store].
func (s *Store) Update(ctx context.Context, _ [][32]byte, f func(tlog.Tx) (*tlog.Batch, error)) error {
	r, err := s.reader(ctx)
	if err != nil {
		return err
	}
	return s.transact(ctx, func(ctx context.Context, t *sql.Tx) error {
		r := reader{log: r.log, q: s.stmts.write.in(ctx, t)}
		head, err := r.head(ctx)
		if err != nil {
			return err
		}
		b, err := f(tx{r, head})
		if err != nil || b == nil {
			return err
		}
		next, err := s.write(ctx, t, r, b)
		if err != nil {
			return err
		}
		res, err := t.StmtContext(ctx, s.stmts.setHead).ExecContext(ctx, next.Size, next.Root[:], next.TimeMS, next.Note, r.log, head.Size)
		if err != nil {
			return fault("move the head row", err)
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, fmt.Errorf("%w: tlog_head of log %s is not at size %d any more", tlog.ErrConflict, s.name, head.Size))
		}
		return nil
	})
}

// Create implements [tlog.Store].
func (s *Store) Create(ctx context.Context, d tlog.Description, f func(tlog.Tx) (*tlog.Batch, error)) error {
	if d.Name != s.name {
		return fmt.Errorf("create log %q in the store of log %q", d.Name, s.name)
	}
	return s.transact(ctx, func(ctx context.Context, t *sql.Tx) error {
		var taken int
		err := t.QueryRowContext(ctx, "SELECT count(*) FROM tlog WHERE name = ? OR origin = ? OR follows = ?", d.Name, d.Origin, d.Follows).Scan(&taken)
		if err == nil && taken > 0 {
			err = fmt.Errorf("log %s with origin %q: %w", d.Name, d.Origin, tlog.ErrExists)
		}
		if err != nil {
			return err
		}
		res, err := t.ExecContext(ctx, insertLogSQL, d.Name, d.Origin, d.Face, d.KeySHA256[:], d.CreatedMS, d.Follows)
		if err != nil {
			return fault("insert the log", err)
		}
		id, err := res.LastInsertId()
		if err != nil {
			return fault("insert the log", err)
		}
		r := reader{log: id, q: s.stmts.write.in(ctx, t)}
		b, err := f(tx{r, tlog.Head{Root: tile.EmptyRoot()}})
		if err != nil {
			return err
		}
		head, err := s.write(ctx, t, r, b)
		if err != nil {
			return err
		}
		_, err = t.ExecContext(ctx, insertHeadSQL, id, head.Size, head.Root[:], head.TimeMS, head.Note)
		return fault("insert the head row", err)
	})
}

// transact runs f in a transaction and tells the ways apart in which it can end.
func (s *Store) transact(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	if err := s.hit(tlog.PointTxBegin); err != nil {
		return err
	}
	var sent, lost bool
	err := s.db.Update(ctx, func(t *sql.Tx) error {
		err := f(context.WithoutCancel(ctx), t)
		for _, point := range []string{tlog.PointHeadStored, tlog.PointTxPrecommit, tlog.PointTxCommitSent} {
			if err == nil {
				err = s.hit(point)
				lost = err != nil && point == tlog.PointTxCommitSent
			}
		}
		sent = err == nil
		return err
	})
	if err == nil {
		if err = s.hit(tlog.PointTxCommitted); err != nil {
			return fmt.Errorf("%w: %w", tlog.ErrUnknownOutcome, err)
		}
		return nil
	}
	// A full disk or a busy file at COMMIT is a rollback; after any other error there it is not
	// certain what a reader of the file will find.
	if lost || sent && code(err) != lib.SQLITE_FULL && code(err) != lib.SQLITE_BUSY {
		return fmt.Errorf("%w: %w", tlog.ErrUnknownOutcome, err)
	}
	return fault("transaction on log "+s.name, err)
}

// write inserts the rows of a batch, reads them back and has them sealed.
func (s *Store) write(ctx context.Context, t *sql.Tx, r reader, b *tlog.Batch) (tlog.Head, error) {
	if err := s.insert(ctx, t, r.log, b.Rows); err != nil {
		return tlog.Head{}, err
	}
	var stored tlog.Rows
	var err error
	if n := len(b.Leaves); n > 0 {
		if stored.Leaves, err = r.Leaves(ctx, b.Leaves[0].Index, b.Leaves[n-1].Index+1); err != nil {
			return tlog.Head{}, fmt.Errorf("read back: %w", err)
		}
	}
	for _, want := range b.Tiles {
		row, err := r.Tile(ctx, want.Level, want.N)
		if err != nil {
			return tlog.Head{}, fmt.Errorf("read back: %w", err)
		}
		stored.Tiles = append(stored.Tiles, row)
	}
	return b.Seal(stored)
}

func (s *Store) insert(ctx context.Context, t *sql.Tx, log int64, rows tlog.Rows) error {
	exec := func(stmt *sql.Stmt) func(what string, args ...any) error {
		bound := t.StmtContext(ctx, stmt)
		return func(what string, args ...any) error {
			_, err := bound.ExecContext(ctx, args...)
			return fault(what, err)
		}
	}
	leaf, attest := exec(s.stmts.insertLeaf), exec(s.stmts.insertAttest)
	for _, l := range rows.Leaves {
		if err := leaf(fmt.Sprintf("tlog_leaf row of log %s, idx %d", s.name, l.Index),
			log, l.Index, l.Identity[:], l.Hash[:], l.TimeMS, notNull(l.Data)); err != nil {
			return err
		}
	}
	if err := s.hit(tlog.PointLeafInserted); err != nil {
		return err
	}
	newTile := exec(s.stmts.insertTile)
	for _, v := range rows.Tiles {
		if err := newTile(fmt.Sprintf("tlog_tile row of log %s, level %d, n %d", s.name, v.Level, v.N),
			log, v.Level, v.N, v.Hashes, v.Root[:]); err != nil {
			return err
		}
	}
	if err := s.hit(tlog.PointTilesWritten); err != nil {
		return err
	}
	key := exec(s.stmts.insertKey)
	for _, k := range rows.Keys {
		if err := key(fmt.Sprintf("tlog_key row of log %s, idx %d", s.name, k.Index), log, notNull(k.Key), k.Index); err != nil {
			return err
		}
	}
	if err := s.hit(tlog.PointIndexInserted); err != nil {
		return err
	}
	for _, l := range rows.Leaves {
		if l.Attestation == nil {
			continue
		}
		if err := attest(fmt.Sprintf("attestation row of log %s, idx %d", s.name, l.Index), log, l.Index, l.Attestation); err != nil {
			return err
		}
	}
	return s.hit(tlog.PointAttestInserted)
}

// notNull is b, which may be empty but is not NULL.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// fault wraps an error of the database in the class that the engine acts on.
func fault(what string, err error) error {
	if err == nil {
		return nil
	}
	switch code(err) {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return fmt.Errorf("%s: %w: %w", what, tlog.ErrTransient, err)
	case lib.SQLITE_CONSTRAINT:
		return fmt.Errorf("%w: %s: %w", tlog.ErrConflict, what, err)
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return fmt.Errorf("%w: %s: %w", tlog.ErrCorrupt, what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// code returns the primary result code of SQLite, or 0 for other errors.
func code(err error) int {
	var e *driver.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff
}
