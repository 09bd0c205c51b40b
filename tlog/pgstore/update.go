package pgstore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/tile"
)

// txn is a transaction that holds the lock of the head row.
type txn struct {
	reader
	current tlog.Head
	wanted  [][32]byte
	found   map[[32]byte]tlog.Found // of wanted; nil if they were not looked for
}

func (t txn) Head() tlog.Head { return t.current }

func (t txn) Find(ctx context.Context, identities [][32]byte) (map[[32]byte]tlog.Found, error) {
	if t.found != nil && slices.Equal(identities, t.wanted) {
		return t.found, nil
	}
	return t.reader.Find(ctx, identities)
}

// Update implements [tlog.Store].
func (s *Store) Update(ctx context.Context, wanted [][32]byte, f func(tlog.Tx) (*tlog.Batch, error)) error {
	r, err := s.reader(ctx)
	if err != nil {
		return err
	}
	if err := s.learn(ctx, r, true); err != nil {
		return err
	}
	return s.transact(ctx, func(ctx context.Context, tx *pg.Tx) error {
		t, err := s.begin(ctx, tx, r.log, wanted)
		if err != nil {
			return err
		}
		head, r := t.current, t.reader
		b, err := f(t)
		if err != nil {
			return err
		}
		var last pgx.Batch
		if b != nil {
			next, err := s.write(ctx, tx, r, b)
			if err != nil {
				return err
			}
			last.Queue(moveHeadSQL, r.log, head.Size, next.Size, next.Root[:], next.TimeMS, next.Note)
		}
		err = s.commit(ctx, tx, &last)
		if pg.Code(err) == divisionByZero {
			err = fmt.Errorf("%w: tlog_head of log %s is not at size %d any more", tlog.ErrConflict, s.name, head.Size)
		}
		return err
	})
}

// begin begins a transaction with the lock of the head row, and looks for identities then, in the same
// round trip.
func (s *Store) begin(ctx context.Context, tx *pg.Tx, log int64, wanted [][32]byte) (t txn, err error) {
	t = txn{reader: reader{log: log, q: tx.Conn(), filters: s.filters.known()}, wanted: wanted}
	var b pgx.Batch
	if len(wanted) > 0 {
		b.Queue(findSQL, t.findArguments(wanted, wanted)...).Query(func(rows pgx.Rows) (err error) {
			t.found, err = firsts(pgx.AppendRows([]foundRow(nil), rows, scanFound))
			return err
		})
	}
	if t.current, err = s.lock(ctx, tx, log, &b); err != nil {
		return t, err
	}
	s.filters.size.Store(t.current.Size)
	if full := t.current.Size >> regionBits; full < int64(t.filters.n) {
		// The database lacks what it held: a filter says nothing of it.
		t.filters, t.found = t.filters.first(full), nil
	}
	return t, nil
}

// lock locks the head row and reads it, then whether the log is frozen, and runs more statements.
func (s *Store) lock(ctx context.Context, tx *pg.Tx, log int64, more *pgx.Batch) (head tlog.Head, err error) {
	var b pgx.Batch
	b.Queue(lockSQL, log).QueryRow(func(row pgx.Row) error {
		return row.Scan(&head.Size, (*hash)(&head.Root), &head.TimeMS, &head.Note)
	})
	b.Queue(stateSQL, log).QueryRow(func(row pgx.Row) error { return row.Scan(&head.Frozen, &head.Lost, &head.Reason) })
	b.QueuedQueries = append(b.QueuedQueries, more.QueuedQueries...)
	err = tx.Begin(ctx, &b)
	if errors.Is(err, pgx.ErrNoRows) {
		err = fmt.Errorf("%w: the head row of log %s is gone", tlog.ErrCorrupt, s.name)
	}
	return head, err
}

// Create implements [tlog.Store].
func (s *Store) Create(ctx context.Context, d tlog.Description, f func(tlog.Tx) (*tlog.Batch, error)) error {
	if d.Name != s.name {
		return fmt.Errorf("create log %q in the store of log %q", d.Name, s.name)
	}
	return s.transact(ctx, func(ctx context.Context, tx *pg.Tx) error {
		r := reader{q: tx.Conn()}
		var first pgx.Batch
		first.Queue(insertLogSQL, d.Name, d.Origin, d.Face, d.KeySHA256[:], d.CreatedMS, d.Follows).QueryRow(func(row pgx.Row) error { return row.Scan(&r.log) })
		err := tx.Begin(ctx, &first)
		if errors.Is(err, pgx.ErrNoRows) {
			err = fmt.Errorf("log %s with origin %q: %w", d.Name, d.Origin, tlog.ErrExists)
		}
		if err != nil {
			return err
		}
		b, err := f(txn{reader: r, current: tlog.Head{Root: tile.EmptyRoot()}})
		if err != nil {
			return err
		}
		head, err := s.write(ctx, tx, r, b)
		if err != nil {
			return err
		}
		var last pgx.Batch
		last.Queue(insertHeadSQL, r.log, head.Size, head.Root[:], head.TimeMS, head.Note)
		return s.commit(ctx, tx, &last)
	})
}

func (s *Store) transact(ctx context.Context, f func(context.Context, *pg.Tx) error) error {
	if err := s.hit(tlog.PointTxBegin); err != nil {
		return err
	}
	return fault("transaction on log "+s.name, s.db.Update(ctx, f))
}

// commit moves the head with the last batch and commits, in one round trip.
func (s *Store) commit(ctx context.Context, tx *pg.Tx, last *pgx.Batch) error {
	if err := s.hit(tlog.PointHeadStored, tlog.PointTxPrecommit); err != nil {
		return err
	}
	if err := s.hit(tlog.PointTxCommitSent); err != nil {
		return fmt.Errorf("%w: %w", tlog.ErrUnknownOutcome, err)
	}
	if err := tx.Commit(ctx, last); err != nil {
		return err
	}
	if err := s.hit(tlog.PointTxCommitted); err != nil {
		return fmt.Errorf("%w: %w", tlog.ErrUnknownOutcome, err)
	}
	return nil
}

// write inserts the rows of a batch, reads them back and has them sealed. Few rows are inserted in the
// round trip that reads them back; for many, COPY is the faster way.
func (s *Store) write(ctx context.Context, tx *pg.Tx, r reader, b *tlog.Batch) (tlog.Head, error) {
	var batch pgx.Batch
	copied := len(b.Leaves) > fewLeaves
	if copied {
		if err := tx.Copy(ctx, encode(r.log, b.Rows)...); err != nil {
			return tlog.Head{}, fault(fmt.Sprintf("insert rows of log %s%s", s.name, refusedLeaf(err, b.Leaves)), err)
		}
		if err := s.hit(tlog.PointLeafInserted); err != nil {
			return tlog.Head{}, err
		}
	} else {
		queueRows(&batch, r.log, b.Rows)
	}
	for _, t := range b.Tiles {
		batch.Queue(insertTileSQL, r.log, t.Level, t.N, t.Hashes, t.Root[:])
	}
	stored := readBack(&batch, r.log, b.Rows)
	if err := tx.Send(ctx, &batch); err != nil {
		return tlog.Head{}, fault(fmt.Sprintf("write %d leaves of log %s", len(b.Leaves), s.name), err)
	}
	if !copied {
		if err := s.hit(tlog.PointLeafInserted); err != nil {
			return tlog.Head{}, err
		}
	}
	if err := s.hit(tlog.PointTilesWritten, tlog.PointIndexInserted, tlog.PointAttestInserted); err != nil {
		return tlog.Head{}, err
	}
	return b.Seal(*stored)
}

var copyLine = regexp.MustCompile(`^COPY tlog_leaf, line (\d+)`)

// refusedLeaf names the leaf that the database refused in COPY.
func refusedLeaf(err error, leaves []tlog.Leaf) string {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return ""
	}
	m := copyLine.FindStringSubmatch(e.Where)
	if m == nil {
		return ""
	}
	line, err := strconv.Atoi(m[1])
	if err != nil || line < 1 || line > len(leaves) {
		return ""
	}
	return fmt.Sprintf(": leaf %d", leaves[line-1].Index)
}

// readBack adds the queries for what the database says of a batch's rows.
func readBack(batch *pgx.Batch, log int64, rows tlog.Rows) *tlog.Rows {
	stored := &tlog.Rows{}
	if n := len(rows.Leaves); n > 0 {
		batch.Queue(leavesSQL, log, rows.Leaves[0].Index, rows.Leaves[n-1].Index+1).Query(func(from pgx.Rows) (err error) {
			stored.Leaves, err = pgx.AppendRows(make([]tlog.Leaf, 0, n), from, scanLeaf)
			return err
		})
	}
	for _, t := range rows.Tiles {
		batch.Queue(tileSQL, log, t.Level, t.N).Query(func(from pgx.Rows) (err error) {
			stored.Tiles, err = pgx.AppendRows(stored.Tiles, from, scanTile(t.Level, t.N))
			return err
		})
	}
	return stored
}
