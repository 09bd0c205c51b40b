package tuf

import (
	"context"
	"sync"
	"time"
)

const (
	lookPatience = time.Second     // of a reader that waits for a look
	lookPause    = 5 * time.Second // after one that failed: what is shown stays good without the store
)

// lookout lets readers look at what other replicas have published. All who ask before a look begins
// share it.
type lookout struct {
	mu      sync.Mutex
	next    chan struct{} // closed when the next look is over; nil while nobody asks
	looking bool
	pause   time.Time // nobody looks before
}

// Look shows what other replicas had published when it was called: a client that has the newest timestamp
// of one of them asks the next one a millisecond later, for what it names and for a timestamp that is no
// older. Where the store does not answer within a second, what is shown stays, and Run says what is wrong.
func (r *Repository) Look(ctx context.Context) {
	l := &r.looks
	l.mu.Lock()
	if time.Now().Before(l.pause) {
		l.mu.Unlock()
		return
	}
	if l.next == nil {
		l.next = make(chan struct{})
	}
	done := l.next
	if !l.looking {
		l.looking = true
		go r.lookForAll()
	}
	l.mu.Unlock()
	patience := time.NewTimer(lookPatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	case <-ctx.Done():
	}
}

// lookForAll looks for as long as there are readers who ask.
func (r *Repository) lookForAll() {
	l := &r.looks
	for {
		l.mu.Lock()
		done := l.next
		l.next = nil
		l.looking = done != nil
		l.mu.Unlock()
		if done == nil {
			return
		}
		if err := r.lookOnce(); err != nil {
			l.mu.Lock()
			l.pause = time.Now().Add(lookPause)
			l.mu.Unlock()
		}
		close(done)
	}
}

func (r *Repository) lookOnce() error {
	ctx, stop := context.WithTimeout(context.Background(), lookPatience) // of all who wait, not of one of them
	defer stop()
	v, err := r.cfg.Store.Versions(ctx)
	if p := r.published.Load(); err != nil || p != nil && p.Versions() == v {
		return err
	}
	return r.Open(ctx)
}
