package tlog

import (
	"container/list"
	"sync"
)

// cache keeps what was used last of the full tiles or full bundles of a log, up to a number of bytes.
// Only what was checked against a signed head gets in. A nil cache holds nothing.
type cache[V any] struct {
	limit int // bytes

	mu    sync.Mutex
	bytes int
	items map[place]*list.Element
	used  *list.List // of cached[V], last used first
}

// place is a tile level, tile.Entries for bundles, and a number.
type place struct {
	level int
	n     int64
}

type cached[V any] struct {
	place
	value V
	size  int
}

func newCache[V any](limit int) *cache[V] {
	return &cache[V]{limit: limit, items: make(map[place]*list.Element), used: list.New()}
}

func (c *cache[V]) get(level int, n int64) (v V, ok bool) {
	if c == nil {
		return v, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.items[place{level, n}]
	if el == nil {
		return v, false
	}
	c.used.MoveToFront(el)
	return el.Value.(cached[V]).value, true
}

// put keeps a value of some bytes, and drops those that were not used for longest to make room.
func (c *cache[V]) put(level int, n int64, v V, size int) {
	if c == nil || size > c.limit {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := place{level, n}
	if c.items[at] != nil {
		return
	}
	c.items[at] = c.used.PushFront(cached[V]{at, v, size})
	for c.bytes += size; c.bytes > c.limit; {
		last := c.used.Remove(c.used.Back()).(cached[V])
		delete(c.items, last.place)
		c.bytes -= last.size
	}
}
