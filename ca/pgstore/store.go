package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/pg"
)

// errSettled says that an outcome has no open intent: a bug, or a hand in the database.
var errSettled = errors.New("no open intent with this serial number")

// Store is the ca.Store of a database. It is safe for concurrent use, by other processes too.
type Store struct {
	db   *pg.DB
	lane *lane
	// What the lane has failed to write.
	intents  *group[intent]
	outcomes *group[outcome]
}

var _ ca.Store = (*Store)(nil)

// New returns the store of a database that was opened with the schema "ca".
func New(db *pg.DB) *Store {
	s := &Store{
		db: db, lane: newLane(db),
		intents: newGroup(db, queueIntents, ca.ErrSerialUsed), outcomes: newGroup(db, queueOutcomes, errSettled),
	}
	s.outcomes.stubborn = true
	return s
}

// serial is a serial number in one length, so that equal numbers are equal bytes.
type serial [20]byte

func encodeSerial(n *big.Int) (s serial, err error) {
	if n == nil || n.Sign() <= 0 || n.BitLen() > len(s)*8 {
		return s, errors.New("serial number is missing or out of range")
	}
	n.FillBytes(s[:])
	return s, nil
}

type intent struct {
	serial
	ca.Intent
	rulesSum   []byte // nil where there are no rules
	rulesNames string
}

func (i intent) key() serial { return i.serial }

type outcome struct {
	serial
	ca.Outcome
}

func (o outcome) key() serial { return o.serial }

// Intend implements ca.Store. ctx counts until the record is on its way.
func (s *Store) Intend(ctx context.Context, in ca.Intent) error {
	n, err := encodeSerial(in.Serial)
	if err != nil {
		return err
	}
	sum, rules := in.Columns()
	for name, text := range map[string]string{"issuer": in.Issuer, "subject": in.Subject, "name": in.SAN, "names of rules": rules} {
		if text != storable(text) {
			return fmt.Errorf("record intent: the %s %q is not text that the database can hold", name, text)
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("record intent: %w", err)
	}
	r := intent{n, in, sum, rules}
	if err = s.lane.add(record{intent: &r}); errors.Is(err, errAgain) {
		err = s.intents.add(r)
	}
	if err != nil {
		return fmt.Errorf("record intent: %w", err)
	}
	return nil
}

// Settle implements ca.Store. ctx counts until the record is on its way.
func (s *Store) Settle(ctx context.Context, out ca.Outcome) error {
	n, err := encodeSerial(out.Serial)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("record outcome: %w", err)
	}
	out.Failure = storable(out.Failure)
	r := outcome{n, out}
	if err = s.lane.add(record{outcome: &r}); errors.Is(err, errAgain) {
		err = s.outcomes.add(r)
	}
	if err != nil {
		return fmt.Errorf("record outcome: %w", err)
	}
	return nil
}

// storable replaces what is no text to PostgreSQL: bytes that are not UTF-8, and NUL.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, string(utf8.RuneError)), "\x00", string(utf8.RuneError))
}

func queueIntents(b *pgx.Batch, rows []intent, after bool, done map[serial]bool) {
	var serials, spkis, tbss, sums [][]byte
	var at, notBefore, notAfter []int64
	var issuers, subjects, sans, rules []string
	for _, r := range rows {
		serials, spkis, tbss = append(serials, r.serial[:]), append(spkis, r.SPKISHA256[:]), append(tbss, r.TBSSHA256[:])
		at, notBefore, notAfter = append(at, r.At.UnixMilli()), append(notBefore, r.NotBefore.Unix()), append(notAfter, r.NotAfter.Unix())
		issuers, subjects, sans = append(issuers, r.Issuer), append(subjects, r.Subject), append(sans, r.SAN)
		sums, rules = append(sums, r.rulesSum), append(rules, r.rulesNames)
	}
	b.Queue(intendSQL, serials, at, notBefore, notAfter, issuers, subjects, sans, spkis, tbss, sums, rules).Query(note(done))
	if after {
		b.Queue(intendedSQL, serials, spkis, tbss).Query(note(done))
		b.Queue(writeSQL)
	}
}

func queueOutcomes(b *pgx.Batch, rows []outcome, after bool, done map[serial]bool) {
	var serials, precerts, certs [][]byte
	var at []int64
	var failures []string
	for _, r := range rows {
		serials, at, failures = append(serials, r.serial[:]), append(at, r.At.UnixMilli()), append(failures, r.Failure)
		precerts, certs = append(precerts, r.Precertificate), append(certs, r.Certificate)
	}
	b.Queue(settleSQL, serials, at, precerts, certs, failures).Query(note(done))
	if after {
		b.Queue(settledSQL, serials, precerts, certs, failures).Query(note(done))
		b.Queue(writeSQL)
	}
}

// note puts the serial numbers that a statement returns into done.
func note(done map[serial]bool) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var n []byte
		_, err := pgx.ForEachRow(rows, []any{&n}, func() error {
			done[serial(n)] = true
			return nil
		})
		return err
	}
}

// Records returns up to limit records with an ID above after, in the order of their IDs. Processes
// commit side by side: a record may appear after one with a higher ID has.
func (s *Store) Records(ctx context.Context, after int64, limit int) ([]ca.Record, error) {
	rows, err := s.db.Read().Query(ctx, recordsSQL, after, limit)
	if err != nil {
		return nil, pg.Fault("issuance records", err)
	}
	list, err := pgx.CollectRows(rows, scan)
	return list, pg.Fault("issuance records", err)
}

// Times returns the clock of the database and the time of the latest intent, zero for none.
func (s *Store) Times(ctx context.Context) (now, latest time.Time, err error) {
	var ms *int64
	if err := s.db.Read().QueryRow(ctx, timesSQL).Scan(&now, &ms); err != nil {
		return now, latest, pg.Fault("clock of the database", err)
	}
	if ms != nil {
		latest = time.UnixMilli(*ms).UTC()
	}
	return now.UTC(), latest, nil
}

func scan(row pgx.CollectableRow) (r ca.Record, err error) {
	var number, spki, tbs, sum []byte
	var rules string
	var intended, notBefore, notAfter int64
	var settled *int64
	if err := row.Scan(&r.ID, &number, &r.State, &intended, &settled, &notBefore, &notAfter, &r.Issuer, &r.Subject, &r.SAN,
		&spki, &tbs, &sum, &rules, &r.Precertificate, &r.Certificate, &r.Failure); err != nil {
		return ca.Record{}, err
	}
	r.Serial, r.At = new(big.Int).SetBytes(number), time.UnixMilli(intended).UTC()
	if settled != nil {
		r.SettledAt = time.UnixMilli(*settled).UTC()
	}
	r.NotBefore, r.NotAfter = time.Unix(notBefore, 0).UTC(), time.Unix(notAfter, 0).UTC()
	copy(r.SPKISHA256[:], spki)
	copy(r.TBSSHA256[:], tbs)
	r.Grant = ca.GrantOf(sum, rules)
	return r, nil
}
