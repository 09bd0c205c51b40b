package tlog

import (
	"context"
	"errors"

	"github.com/sigbox/sigbox/tlog/checkpoint"
)

var (
	// ErrRollback says ROLLBACK DETECTED: the guard, or this process, remembers history that
	// the database does not hold. The log serves reads and refuses writes. Append wraps it
	// together with ErrUnavailable.
	ErrRollback = errors.New("tlog: ROLLBACK DETECTED")
	// ErrGuardMoved is returned by a Guard that holds another head than the caller thought.
	ErrGuardMoved = errors.New("tlog: the guard holds another head")
)

// Mark is a head that a guard remembers.
type Mark struct {
	Size int64
	Root [32]byte // undefined where Size is 0
}

// Guard is a register outside the database that remembers the last head of each log, so that a
// database which lost committed history (a restored backup, a lossy fail-over) is noticed. It
// only moves forward.
//
// A guard that is private to a process protects a log with one writing process. Replicas need
// one that they share.
type Guard interface {
	// Last returns what the guard remembers of the log with that origin; size 0 where it has
	// never heard of it.
	Last(ctx context.Context, origin string) (Mark, error)
	// Advance moves the guard from one head to a later one of the same origin, durably. It
	// checks that it holds from (ErrGuardMoved otherwise) and that proof is a consistency proof
	// between the two; proof is empty where from.Size is 0.
	Advance(ctx context.Context, from Mark, to checkpoint.Signed, proof [][]byte) error
}
