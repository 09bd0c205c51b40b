package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/sqlite"
)

const serialBytes = 20

// SQLite is the ca.Store over the embedded database. It is safe for concurrent use.
type SQLite struct{ db *sqlite.DB }

var _ ca.Store = (*SQLite)(nil)

// NewSQLite returns the store of a database whose "ca" schema has been migrated.
func NewSQLite(db *sqlite.DB) *SQLite { return &SQLite{db: db} }

// Intend implements ca.Store.
func (s *SQLite) Intend(ctx context.Context, in ca.Intent) error {
	serial, err := encodeSerial(in.Serial)
	if err != nil {
		return err
	}
	sum, rules := in.Columns()
	return s.db.Update(ctx, func(tx *sql.Tx) error {
		res, err := tx.Exec(`
			INSERT INTO ca_issuance (serial, state, intended_ms, not_before, not_after, issuer, subject, san, spki_sha256, tbs_sha256, rules_sha256, rules)
			VALUES (?, 'intended', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (serial) DO NOTHING`,
			serial, in.At.UnixMilli(), in.NotBefore.Unix(), in.NotAfter.Unix(), in.Issuer, in.Subject, in.SAN, in.SPKISHA256[:], in.TBSSHA256[:], sum, rules)
		if err != nil {
			return fmt.Errorf("record intent: %w", err)
		}
		return oneRow(res, ca.ErrSerialUsed)
	})
}

// errSettled says that an outcome has no open intent: a bug, or a hand in the database.
var errSettled = errors.New("no open intent with this serial number")

// Settle implements ca.Store.
func (s *SQLite) Settle(ctx context.Context, out ca.Outcome) error {
	serial, err := encodeSerial(out.Serial)
	if err != nil {
		return err
	}
	state := ca.Intended
	switch {
	case out.Certificate != nil:
		state = ca.Issued
	case out.Precertificate != nil:
		state = ca.Precertified
	}
	return s.db.Update(ctx, func(tx *sql.Tx) error {
		res, err := tx.Exec(`
			UPDATE ca_issuance SET state = ?, settled_ms = ?, precert = ?, certificate = ?, failure = ?
			WHERE serial = ? AND settled_ms IS NULL`,
			string(state), out.At.UnixMilli(), out.Precertificate, out.Certificate, out.Failure, serial)
		if err != nil {
			return fmt.Errorf("record outcome: %w", err)
		}
		return oneRow(res, errSettled)
	})
}

func oneRow(res sql.Result, otherwise error) error {
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("rows affected: %w", err)
	}
	if n != 1 {
		return otherwise
	}
	return nil
}

// Records returns up to limit records with an id above after, in the order of their intents.
func (s *SQLite) Records(ctx context.Context, after int64, limit int) ([]ca.Record, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT id, serial, state, intended_ms, settled_ms, not_before, not_after, issuer, subject, san,
		       spki_sha256, tbs_sha256, rules_sha256, rules, precert, certificate, failure
		FROM ca_issuance WHERE id > ? ORDER BY id LIMIT ?`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("issuance records: %w", err)
	}
	defer rows.Close()
	var out []ca.Record
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("issuance record: %w", err)
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("issuance records: %w", err)
	}
	return out, nil
}

func scan(rows *sql.Rows) (ca.Record, error) {
	var r ca.Record
	var serial, spki, tbs, sum []byte
	var state, rules string
	var intended, notBefore, notAfter int64
	var settled sql.NullInt64
	if err := rows.Scan(&r.ID, &serial, &state, &intended, &settled, &notBefore, &notAfter, &r.Issuer, &r.Subject, &r.SAN,
		&spki, &tbs, &sum, &rules, &r.Precertificate, &r.Certificate, &r.Failure); err != nil {
		return ca.Record{}, err
	}
	r.Serial, r.State = new(big.Int).SetBytes(serial), ca.State(state)
	r.At = time.UnixMilli(intended).UTC()
	if settled.Valid {
		r.SettledAt = time.UnixMilli(settled.Int64).UTC()
	}
	r.NotBefore, r.NotAfter = time.Unix(notBefore, 0).UTC(), time.Unix(notAfter, 0).UTC()
	copy(r.SPKISHA256[:], spki)
	copy(r.TBSSHA256[:], tbs)
	r.Grant = ca.GrantOf(sum, rules)
	return r, nil
}

// encodeSerial gives serial numbers one length, so that equal numbers are equal bytes.
func encodeSerial(n *big.Int) ([]byte, error) {
	if n == nil || n.Sign() <= 0 || n.BitLen() > serialBytes*8 {
		return nil, errors.New("serial number is missing or out of range")
	}
	return n.FillBytes(make([]byte, serialBytes)), nil
}
