package tlog

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	lookGap      = 10 * time.Millisecond // between looks that readers ask for: each is a query
	lookPatience = 2 * time.Second       // of a reader that waits for one: a database under load commits that slowly
	headPatience = time.Second           // of a reader that wants the newest head, and takes another one too
)

// lookout lets readers ask for the next look at what other processes wrote. All who ask before it
// begins share it.
type lookout struct {
	asked chan struct{} // tells Run

	mu   sync.Mutex
	next chan struct{} // closed when the next look is over; nil while nobody asks
	rest bool          // after a look: Run is told only when the gap is over
}

func newLookout() *lookout { return &lookout{asked: make(chan struct{}, 1)} }

func (l *lookout) ask() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == nil {
		l.next = make(chan struct{})
		l.tell()
	}
	return l.next
}

// tell is called with the lock held.
func (l *lookout) tell() {
	if l.next == nil || l.rest {
		return
	}
	select {
	case l.asked <- struct{}{}:
	default:
	}
}

// do looks for all who have asked.
func (l *lookout) do(look func()) {
	l.mu.Lock()
	done := l.next
	l.next, l.rest = nil, true
	l.mu.Unlock()
	look()
	if done != nil {
		close(done)
	}
	time.AfterFunc(lookGap, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.rest = false
		l.tell()
	})
}

// Reach implements [Log]: a client that was answered by one replica asks the next one a millisecond
// later.
func (e *Engine) Reach(ctx context.Context, size int64) {
	if e.cfg.Poll <= 0 || size <= e.published.Load().edge.size || !e.running.Load() {
		return
	}
	patience := time.NewTimer(lookPatience)
	defer patience.Stop()
	select {
	case <-e.look.ask():
	case <-patience.C:
	case <-ctx.Done():
	}
}

// catchUp looks for heads that other processes wrote, as far as there were any when it was called: who searches, or
// asks for the head, names no size to reach. The head row is asked first, since waiting for a look takes longer.
func (e *Engine) catchUp(ctx context.Context) error {
	if e.cfg.Poll <= 0 || e.published.Load().state.Frozen {
		return nil
	}
	head, err := e.store.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the head: %w", err)
	}
	if head.Frozen {
		head.Size++ // what another process has frozen is not known here yet, whatever its size
	}
	e.Reach(ctx, head.Size)
	return nil
}
