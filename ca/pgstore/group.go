package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
)

const (
	maxBatch   = 256  // rows in a transaction
	maxWaiting = 4096 // rows that wait for one

	maxRetries  = 2                      // of a transaction that was rolled back
	maxResolves = 14                     // of one that must not be given up lightly: some 5 s
	retryPause  = 10 * time.Millisecond  // before the first try again; then twice as long, and so on
	maxPause    = 500 * time.Millisecond // at most
)

var (
	errBusy       = errors.New("too many records wait to be written")
	errNotWritten = errors.New("the record was not written")
)

// keyed is a row that a serial number names.
type keyed interface{ key() serial }

// group writes rows of one table, many at a time. Whatever arrives while a transaction is under way
// goes into the next one, which one of the callers runs for all of them.
type group[T keyed] struct {
	db *pg.DB
	// queue adds the statements that write rows to a batch, and has the serial numbers put into done
	// that are on record then. after says that an earlier try may have written them.
	queue func(b *pgx.Batch, rows []T, after bool, done map[serial]bool)
	taken error // what the caller is told of a row that is there already
	// stubborn says that what the rows tell has happened: they are not given up lightly.
	stubborn bool

	mu      sync.Mutex
	busy    bool // a caller writes, or has been told to
	waiting []*row[T]
}

// row waits to be written, and its caller with it.
type row[T keyed] struct {
	value T
	err   error
	turn  chan bool // true: write what waits; closed: err says how it went
}

// add writes a row and returns when it is durable.
func (g *group[T]) add(value T) error {
	r := &row[T]{value: value, err: errNotWritten, turn: make(chan bool, 1)}
	g.mu.Lock()
	if len(g.waiting) >= maxWaiting {
		g.mu.Unlock()
		return errBusy
	}
	g.waiting = append(g.waiting, r)
	first := !g.busy
	g.busy = true
	g.mu.Unlock()
	if first || <-r.turn {
		g.lead(r)
	}
	return r.err
}

// lead writes what waits, r first, and hands on to the next that waits.
func (g *group[T]) lead(r *row[T]) {
	g.mu.Lock()
	n := min(len(g.waiting), maxBatch)
	batch := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	g.mu.Unlock()
	defer func() {
		for _, other := range batch {
			if other != r {
				close(other.turn)
			}
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.busy = len(g.waiting) > 0; g.busy {
			g.waiting[0].turn <- true
		}
	}()
	g.write(batch)
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
	g.settle(once, false)
}

// settle writes rows with distinct keys. after says that an earlier try may have written them.
func (g *group[T]) settle(rows []*row[T], after bool) {
	done, after, err := g.commit(rows, after)
	if len(rows) > 1 && blamesARow(err) {
		for i := range rows {
			g.settle(rows[i:i+1], after)
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
// until it knows, as long as that may help; after tells whether a try may have written them.
func (g *group[T]) commit(rows []*row[T], mayBe bool) (done map[serial]bool, after bool, err error) {
	values := make([]T, len(rows))
	for i, r := range rows {
		values[i] = r.value
	}
	var unknown error
	after = mayBe
	pause := retryPause
	for try := 0; ; try++ {
		var b pgx.Batch
		done = make(map[serial]bool, len(rows))
		g.queue(&b, values, after, done)
		err := g.db.Update(context.Background(), func(ctx context.Context, tx *pg.Tx) error { return tx.Once(ctx, &b) })
		limit := maxRetries
		switch {
		case err == nil:
			return done, after, nil
		case errors.Is(err, pg.ErrUnknownOutcome):
			unknown, after = err, true
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
			return nil, after, err
		}
		time.Sleep(pause/2 + rand.N(pause))
		pause = min(2*pause, maxPause)
	}
}
