package pgstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/tuf"
)

// queueRecord inserts the record and the transcript of a set, unless they are there.
func queueRecord(b *pgx.Batch, next tuf.Release) {
	v := next.Versions()
	if next.Record != nil {
		b.Queue(insertRecordSQL, v.Targets, next.Record)
	}
	if next.Transcript != nil {
		b.Queue(insertTranscriptSQL, v.Root, v.Targets, next.Transcript)
	}
	conflict := func(what string) func(pgx.Rows) error {
		return func(rows pgx.Rows) error {
			defer rows.Close()
			if rows.Next() {
				return fmt.Errorf("%w: %s", tuf.ErrConflict, what)
			}
			return rows.Err()
		}
	}
	b.Queue(otherRecordSQL, v.Targets, next.Record).Query(conflict(fmt.Sprintf("record of targets version %d", v.Targets)))
	b.Queue(otherTranscriptSQL, v.Root, v.Targets, next.Transcript).
		Query(conflict(fmt.Sprintf("transcript of root version %d and targets version %d", v.Root, v.Targets)))
}

// scanBytes reads the one column of the one row that there may be.
func scanBytes(to *[]byte) func(pgx.Row) error {
	return func(row pgx.Row) error {
		if err := row.Scan(to); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		*to = nil
		return nil
	}
}

// Receive implements tuf.Inbox.
func (s *Store) Receive(ctx context.Context, m tuf.Message) (fresh bool, err error) {
	sum := sha256.Sum256(m.Envelope)
	err = s.db.Update(ctx, func(ctx context.Context, tx *pg.Tx) error {
		fresh = false
		var b pgx.Batch
		b.Queue(receiveSQL, sum[:], m.Sender, m.At.Unix(), m.Envelope).QueryRow(func(row pgx.Row) error {
			var id int64
			err := row.Scan(&id)
			fresh = err == nil
			if errors.Is(err, pgx.ErrNoRows) {
				return nil
			}
			return err
		})
		return tx.Once(ctx, &b)
	})
	if err != nil {
		return false, fmt.Errorf("store a trust statement: %w", err)
	}
	return fresh, nil
}

// Messages implements tuf.Inbox.
func (s *Store) Messages(ctx context.Context) ([]tuf.Message, error) {
	rows, err := s.db.Read().Query(ctx, messagesSQL)
	if err != nil {
		return nil, pg.Fault("read trust statements", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m tuf.Message, err error) {
		var at int64
		err = row.Scan(&m.Sender, &at, &m.Envelope)
		m.At = time.Unix(at, 0).UTC()
		return m, err
	})
	return list, pg.Fault("read trust statements", err)
}
