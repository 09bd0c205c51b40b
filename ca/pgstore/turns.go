package pgstore

import (
	"errors"
	"runtime"
	"sync"
)

const (
	maxBatch   = 256  // rows in a transaction
	maxWaiting = 4096 // rows that wait for one
)

var (
	errBusy       = errors.New("too many records wait to be written")
	errNotWritten = errors.New("the record was not written")
)

// turns has rows written many at a time. Whatever arrives while some are written waits for the next
// turn, which one of the callers takes for all of them.
type turns[T any] struct {
	write func([]*row[T]) // and gives each its error

	mu      sync.Mutex
	busy    bool // a caller writes, or has been told to
	waiting []*row[T]
}

// row waits to be written, and its caller with it.
type row[T any] struct {
	value T
	err   error
	turn  chan bool // true: write what waits; closed: err says how it went
}

// add has a row written and returns how it went.
func (t *turns[T]) add(value T) error {
	r := &row[T]{value: value, err: errNotWritten, turn: make(chan bool, 1)}
	t.mu.Lock()
	if len(t.waiting) >= maxWaiting {
		t.mu.Unlock()
		return errBusy
	}
	t.waiting = append(t.waiting, r)
	first := !t.busy
	t.busy = true
	t.mu.Unlock()
	if first || <-r.turn {
		t.lead(r)
	}
	return r.err
}

// lead writes what waits, r first, and hands on to the next that waits.
func (t *turns[T]) lead(r *row[T]) {
	// Whoever can run does before: many are about to add a row, and each that does saves a transaction.
	// Where nobody else has anything to do, this is nothing.
	runtime.Gosched()
	t.mu.Lock()
	n := min(len(t.waiting), maxBatch)
	batch := t.waiting[:n:n]
	t.waiting = t.waiting[n:]
	t.mu.Unlock()
	defer func() {
		for _, other := range batch {
			if other != r {
				close(other.turn)
			}
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.busy = len(t.waiting) > 0; t.busy {
			t.waiting[0].turn <- true
		}
	}()
	t.write(batch)
}
