package tlog

import (
	"sync"
)

// news wakes those who wait for the next head.
type news struct {
	mu   sync.Mutex
	next chan struct{} // closed when a head is shown; nil while nobody waits for it
}

func (n *news) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == nil {
		n.next = make(chan struct{})
	}
	return n.next
}

func (n *news) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != nil {
		close(n.next)
		n.next = nil
	}
}

var closed = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Changed returns a channel that is closed once the published head is larger than size: at once
// where it is. Heads that other processes wrote count when they are published here (Config.Poll).
func (e *Engine) Changed(size int64) <-chan struct{} {
	next := e.news.wait() // before the look, so that no head comes between
	if e.published.Load().edge.size > size {
		return closed
	}
	return next
}
