package sqlstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sigbox/sigbox/tuf"
)

// writeRecord adds the record and the transcript of a set, or finds that they are there.
func (s *Store) writeRecord(ctx context.Context, tx *sql.Tx, next tuf.Release) error {
	v := next.Versions()
	if next.Record != nil {
		if err := s.fault("record"); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO tuf_record (version, record) VALUES (?, ?) ON CONFLICT DO NOTHING`, v.Targets, next.Record)
		if err != nil {
			return fmt.Errorf("store the record of targets version %d: %w", v.Targets, err)
		}
	}
	if next.Transcript != nil {
		if err := s.fault("transcript"); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO tuf_transcript (root, targets, transcript) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
			v.Root, v.Targets, next.Transcript)
		if err != nil {
			return fmt.Errorf("store the transcript of root version %d and targets version %d: %w", v.Root, v.Targets, err)
		}
	}
	have, transcript, err := record(ctx, tx, v)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, next.Record) {
		return fmt.Errorf("%w: record of targets version %d", tuf.ErrConflict, v.Targets)
	}
	if !bytes.Equal(transcript, next.Transcript) {
		return fmt.Errorf("%w: transcript of root version %d and targets version %d", tuf.ErrConflict, v.Root, v.Targets)
	}
	return nil
}

// record returns the record and the transcript of a set, nil where there is none.
func record(ctx context.Context, q querier, v tuf.Versions) (record, transcript []byte, err error) {
	err = q.QueryRowContext(ctx, `SELECT record FROM tuf_record WHERE version = ?`, v.Targets).Scan(&record)
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		err = q.QueryRowContext(ctx, `SELECT transcript FROM tuf_transcript WHERE root = ? AND targets = ?`, v.Root, v.Targets).Scan(&transcript)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, nil, fmt.Errorf("read the record of the current TUF set: %w", err)
	}
	return record, transcript, nil
}

// Receive implements tuf.Inbox.
func (s *Store) Receive(ctx context.Context, m tuf.Message) (fresh bool, err error) {
	sum := sha256.Sum256(m.Envelope)
	err = s.db.Update(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO tuf_inbox (sha256, sender, received_s, envelope) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			sum[:], m.Sender, m.At.Unix(), m.Envelope)
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		fresh = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("store a trust statement: %w", err)
	}
	return fresh, nil
}

// Messages implements tuf.Inbox.
func (s *Store) Messages(ctx context.Context) ([]tuf.Message, error) {
	rows, err := s.db.Read().QueryContext(ctx, `SELECT sender, received_s, envelope FROM tuf_inbox ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read trust statements: %w", err)
	}
	defer rows.Close()
	var out []tuf.Message
	for rows.Next() {
		var m tuf.Message
		var at int64
		if err := rows.Scan(&m.Sender, &at, &m.Envelope); err != nil {
			return nil, fmt.Errorf("read trust statements: %w", err)
		}
		m.At = time.Unix(at, 0).UTC()
		out = append(out, m)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read trust statements: %w", err)
	}
	return out, nil
}
