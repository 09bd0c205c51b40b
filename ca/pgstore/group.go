package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
)

const (
	maxRetries  = 2                      // of a transaction that was rolled back
	maxResolves = 14                     // of one that must not be given up lightly: some 5 s
	retryPause  = 10 * time.Millisecond  // before the first try again; then twice as long, and so on
	maxPause    = 500 * time.Millisecond // at most
)

// keyed is a row that a serial number names.
type keyed interface{ key() serial }

// group writes rows of one table that an earlier try may have written, and goes on trying.
type group[T keyed] struct {
	turns[T]
	db *pg.DB
	// queue adds the statements that write rows to a batch, and has the serial numbers put into done
	// that are on record then.
	queue func(b *pgx.Batch, rows []T, after bool, done map[serial]bool)
	taken error // what the caller is told of a row that is there already
	// stubborn says that what the rows tell has happened: they are not given up lightly.
	stubborn bool
}

func newGroup[T keyed](db *pg.DB, queue func(*pgx.Batch, []T, bool, map[serial]bool), taken error) *group[T] {
	g := &group[T]{db: db, queue: queue, taken: taken}
	g.turns.write = g.write
	return g
}

// write writes rows in one transaction and gives each its error.
func (g *group[T]) write(batch []*row[T]) {
	seen := make(map[serial]bool, len(batch))
	once := make([]*row[T], 0, len(batch))
	for _, r := range batch {
		if seen[r.value.key()] {
			r.err = g.taken
			continue
		}
		seen[r.value.key()] = true
		once = append(once, r)
	}
	g.settle(once)
}

// settle writes rows with distinct keys.
func (g *group[T]) settle(rows []*row[T]) {
	done, err := g.commit(rows)
	if len(rows) > 1 && blamesARow(err) {
		for i := range rows {
			g.settle(rows[i : i+1])
		}
		return
	}
	for _, r := range rows {
		switch {
		case err != nil:
			r.err = err
		case done[r.value.key()]:
			r.err = nil
		default:
			r.err = g.taken
		}
	}
}

// blamesARow tells whether the server refused a value (SQLSTATE classes 22 and 23).
func blamesARow(err error) bool {
	code := pg.Code(err)
	return code != "" && (code[:2] == "22" || code[:2] == "23")
}

// commit writes rows and returns which of them are on record, by serial number. It goes on trying
// until it knows, as long as that may help.
func (g *group[T]) commit(rows []*row[T]) (done map[serial]bool, err error) {
	values := make([]T, len(rows))
	for i, r := range rows {
		values[i] = r.value
	}
	var unknown error
	pause := retryPause
	for try := 0; ; try++ {
		var b pgx.Batch
		done = make(map[serial]bool, len(rows))
		g.queue(&b, values, true, done)
		err := g.db.Update(context.Background(), func(ctx context.Context, tx *pg.Tx) error { return tx.Once(ctx, &b) })
		limit := maxRetries
		switch {
		case err == nil:
			return done, nil
		case errors.Is(err, pg.ErrUnknownOutcome):
			unknown = err
		case !errors.Is(err, pg.ErrTransient):
			limit = 0
		}
		if limit > 0 && (unknown != nil || g.stubborn) {
			limit = maxResolves
		}
		if try >= limit {
			if unknown != nil && !errors.Is(err, pg.ErrUnknownOutcome) {
				err = fmt.Errorf("%w; not resolved: %w", unknown, err)
			}
			return nil, err
		}
		time.Sleep(pause/2 + rand.N(pause))
		pause = min(2*pause, maxPause)
	}
}
