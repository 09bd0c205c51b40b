package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/tuf"
)

// Versions implements tuf.Store.
func (s *Store) Versions(ctx context.Context) (v tuf.Versions, err error) {
	err = scanVersions(&v)(s.db.Read().QueryRow(ctx, versionsSQL))
	return v, pg.Fault("read the current TUF set", err)
}

// Load implements tuf.Store.
func (s *Store) Load(ctx context.Context) (a tuf.Archive, err error) {
	set := &current{}
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly} // one for all queries
	err = pgx.BeginTxFunc(ctx, s.db.Read(), snapshot, func(tx pgx.Tx) error {
		var b pgx.Batch
		set.queue(&b, versionsSQL)
		queueRows(&b, &a.Old, scanMetadata, oldSQL)
		queueRows(&b, &a.Blobs, scanBlob, blobsSQL)
		return tx.SendBatch(ctx, &b).Close()
	})
	if err != nil {
		return tuf.Archive{}, pg.Fault("read the TUF repository", err)
	}
	if a.Current, err = set.release(); err != nil {
		return tuf.Archive{}, err
	}
	if !a.Current.Created() {
		return tuf.Archive{}, tuf.ErrNotCreated
	}
	return a, nil
}

// current is what the queries for the current set return.
type current struct {
	versions tuf.Versions
	metadata []tuf.Metadata
	contents []tuf.Blob

	record, transcript []byte
}

// queue adds the queries to a batch. The first one reads the versions, and may lock them.
func (c *current) queue(b *pgx.Batch, versions string) {
	b.Queue(versions).QueryRow(scanVersions(&c.versions))
	queueRows(b, &c.metadata, scanMetadata, currentSQL)
	queueRows(b, &c.contents, scanBlob, contentsSQL)
	b.Queue(recordSQL).QueryRow(scanBytes(&c.record))
	b.Queue(transcriptSQL).QueryRow(scanBytes(&c.transcript))
}

// release puts the set together, the zero Release if there is none.
func (c *current) release() (tuf.Release, error) {
	v := c.versions
	if v == (tuf.Versions{}) {
		return tuf.Release{}, nil
	}
	s := tuf.Release{Contents: c.contents, Record: c.record, Transcript: c.transcript}
	for _, m := range c.metadata {
		switch m.Role {
		case tuf.Root:
			s.Roots = append(s.Roots, m)
		case tuf.Targets:
			s.Targets = m
		case tuf.Snapshot:
			s.Snapshot = m
		case tuf.Timestamp:
			s.Timestamp = m
		}
	}
	if int64(len(s.Roots)) != v.Root {
		return tuf.Release{}, fmt.Errorf("TUF repository is damaged: %d versions of root, want %d", len(s.Roots), v.Root)
	}
	for _, want := range []struct {
		role string
		have tuf.Metadata
		at   int64
	}{{tuf.Targets, s.Targets, v.Targets}, {tuf.Snapshot, s.Snapshot, v.Snapshot}, {tuf.Timestamp, s.Timestamp, v.Timestamp}} {
		if want.have.Version != want.at {
			return tuf.Release{}, fmt.Errorf("TUF repository is damaged: %s version %d is missing", want.role, want.at)
		}
	}
	return s, nil
}

func queueRows[T any](b *pgx.Batch, to *[]T, scan pgx.RowToFunc[T], query string) {
	b.Queue(query).Query(func(rows pgx.Rows) (err error) {
		*to, err = pgx.AppendRows((*to)[:0], rows, scan)
		return err
	})
}

func scanVersions(v *tuf.Versions) func(pgx.Row) error {
	return func(row pgx.Row) error {
		err := row.Scan(&v.Root, &v.Targets, &v.Snapshot, &v.Timestamp)
		if errors.Is(err, pgx.ErrNoRows) {
			return errors.New("TUF repository is damaged: the row of the current set is gone")
		}
		return err
	}
}

func scanMetadata(row pgx.CollectableRow) (m tuf.Metadata, err error) {
	var signed int64
	err = row.Scan(&m.Role, &m.Version, &signed, &m.Bytes)
	m.SignedAt = time.Unix(signed, 0).UTC()
	return m, err
}

func scanBlob(row pgx.CollectableRow) (b tuf.Blob, err error) {
	err = row.Scan(&b.Name, &b.Content)
	return b, err
}
