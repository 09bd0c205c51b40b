package tlog

import (
	"context"
	"fmt"
	"sync"
)

// pool holds the entries that wait for a commit, and those that are being committed.
//
// One mutex covers the look for an equal entry, adding, taking a batch and settling it. So an
// entry that Append does not find here is either new or committed and answered; the store, asked
// under the head lock, tells which.
type pool struct {
	limit int
	ready chan struct{} // has an item when the queue may be non-empty, or the pool was closed

	mu         sync.Mutex
	queue      []*pending
	byIdentity map[[32]byte]*pending // in the queue or being committed
	closed     error                 // why no entry is taken
}

// pending is one entry on its way into the log. Its fields belong to the sequencer until done
// is closed, and are never changed from then on; leaf, growth and next not from when durable is.
type pending struct {
	entry    Entry
	identity [32]byte
	size     int           // bytes, roughly
	durable  chan struct{} // closed when an entry that is new is in the store
	done     chan struct{}

	// lost says that a commit of unknown outcome has the entry at lostAt.
	lost   bool
	lostAt Found

	err    error
	leaf   Leaf    // with Data only if the entry was appended in this batch
	known  bool    // the log held it before
	growth *growth // proves leaf; nil if the entry was found in the store
	next   *view   // the head that growth leads to, published or not
	view   *view   // the published head that covers leaf
}

// wait waits until the fate of an entry is known.
func (p *pending) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the commit: %w", ctx.Err())
	}
}

// shown waits until readers see the entry, and says why they do not.
func (p *pending) shown(ctx context.Context) error {
	if err := p.wait(ctx); err != nil {
		return err
	}
	return p.err
}

func newPool(limit int) *pool {
	return &pool{limit: limit, ready: make(chan struct{}, 1), byIdentity: make(map[[32]byte]*pending)}
}

// add queues an entry, or finds the equal entry that waits already (second is true then).
func (p *pool) add(n *pending) (_ *pending, second bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return nil, false, p.closed
	}
	if have := p.byIdentity[n.identity]; have != nil {
		return have, true, nil
	}
	if len(p.byIdentity) >= p.limit {
		return nil, false, ErrBusy
	}
	p.byIdentity[n.identity] = n
	p.queue = append(p.queue, n)
	p.signal()
	return n, false, nil
}

// take removes the next batch from the queue: at least one entry if there is one.
func (p *pool) take(maxEntries, maxBytes int) []*pending {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, bytes := 0, 0
	for n < len(p.queue) && n < maxEntries && (n == 0 || bytes+p.queue[n].size <= maxBytes) {
		bytes += p.queue[n].size
		n++
	}
	batch := p.queue[:n:n]
	p.queue = p.queue[n:]
	if len(p.queue) > 0 {
		p.signal()
	}
	return batch
}

// settle wakes the waiters of entries whose fate is known.
func (p *pool) settle(batch []*pending) {
	p.mu.Lock()
	for _, n := range batch {
		delete(p.byIdentity, n.identity)
	}
	p.mu.Unlock()
	for _, n := range batch {
		close(n.done)
	}
}

// close makes add return err from now on. Entries in the queue stay. The first reason stands.
func (p *pool) close(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed == nil {
		p.closed = err
	}
	p.signal()
}

func (p *pool) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.byIdentity)
}

func (p *pool) signal() {
	select {
	case p.ready <- struct{}{}:
	default:
	}
}
