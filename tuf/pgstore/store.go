package pgstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/tuf"
)

const (
	maxRetries  = 2                      // of a transaction that was rolled back
	maxResolves = 14                     // of one that may have been committed: some 5 s
	retryPause  = 10 * time.Millisecond  // before the first try again; then twice as long, and so on
	maxPause    = 500 * time.Millisecond // at most
)

// Store is the tuf.Store of a database. It is safe for concurrent use, by other processes too.
type Store struct{ db *pg.DB }

var (
	_ tuf.Store = (*Store)(nil)
	_ tuf.Inbox = (*Store)(nil)
)

// New returns the store of a database that was opened with the schema "tuf".
func New(db *pg.DB) *Store { return &Store{db: db} }

// Update implements tuf.Store.
func (s *Store) Update(ctx context.Context, f func(cur tuf.Release) (tuf.Release, error)) error {
	var sent tuf.Release // by the last try
	var unknown error
	pause := retryPause
	for try := 0; ; try++ {
		err := s.db.Update(ctx, func(ctx context.Context, tx *pg.Tx) error {
			return publish(ctx, tx, f, unknown != nil, &sent)
		})
		limit := maxRetries
		switch {
		case err == nil:
			return nil
		case errors.Is(err, pg.ErrUnknownOutcome):
			unknown = err
		case !errors.Is(err, pg.ErrTransient):
			limit = 0
		}
		if limit > 0 && unknown != nil {
			limit = maxResolves
		}
		if try >= limit {
			if unknown != nil && !errors.Is(err, pg.ErrUnknownOutcome) {
				err = fmt.Errorf("%w; not resolved: %w", unknown, err)
			}
			return err
		}
		time.Sleep(pause/2 + rand.N(pause))
		pause = min(2*pause, maxPause)
	}
}

// publish is one try. sent is the set that the last one sent, which may be there if doubt is set, and
// becomes the one that this one sends. The look under the lock is committed too: that waits for the
// synchronous standby, which the set may not have reached.
func publish(ctx context.Context, tx *pg.Tx, f func(tuf.Release) (tuf.Release, error), doubt bool, sent *tuf.Release) error {
	var b pgx.Batch
	var set current
	set.queue(&b, lockSQL)
	wrote := false
	if doubt {
		// A set is known by its timestamp: each has one of its own.
		b.Queue(wroteSQL, sent.Timestamp.Version, sent.Timestamp.Bytes).QueryRow(func(row pgx.Row) error { return row.Scan(&wrote) })
	}
	if err := tx.Begin(ctx, &b); err != nil {
		return err
	}
	if wrote {
		return tx.Commit(ctx, &pgx.Batch{})
	}
	cur, err := set.release()
	if err != nil {
		return err
	}
	next, err := f(cur)
	if err != nil {
		return err
	}
	if next.Versions() == cur.Versions() {
		return tx.Commit(ctx, &pgx.Batch{})
	}
	if err := write(ctx, tx, next); err != nil {
		return err
	}
	*sent = next
	var last pgx.Batch
	v := next.Versions()
	last.Queue(moveSQL, v.Root, v.Targets, v.Snapshot, v.Timestamp, cur.Timestamp.Version)
	return tx.Commit(ctx, &last)
}

// write inserts the rows of a set that are not there yet.
func write(ctx context.Context, tx *pg.Tx, next tuf.Release) error {
	var names []string
	var sums, contents [][]byte
	for _, blob := range next.Contents {
		sum := sha256.Sum256(blob.Content)
		names, sums, contents = append(names, blob.Name), append(sums, sum[:]), append(contents, blob.Content)
	}
	var roles []string
	var versions, signed []int64
	var files [][]byte
	for _, m := range append(next.Roots[:len(next.Roots):len(next.Roots)], next.Targets, next.Snapshot, next.Timestamp) {
		roles, versions = append(roles, m.Role), append(versions, m.Version)
		signed, files = append(signed, m.SignedAt.Unix()), append(files, m.Bytes)
	}
	var b pgx.Batch
	b.Queue(insertContentSQL, names, sums, contents)
	b.Queue(insertTargetSQL, next.Targets.Version, names, sums)
	b.Queue(insertMetadataSQL, roles, versions, signed, files)
	b.Queue(otherSQL, roles, versions, files).Query(func(rows pgx.Rows) error {
		var role string
		var version int64
		_, err := pgx.ForEachRow(rows, []any{&role, &version}, func() error {
			return fmt.Errorf("%w: %s version %d", tuf.ErrConflict, role, version)
		})
		return err
	})
	queueRecord(&b, next)
	return tx.Send(ctx, &b)
}
