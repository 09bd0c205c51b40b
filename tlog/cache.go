package tlog

import (
	"container/list"
	"sync"

	"github.com/sigbox/sigbox/tlog/tile"
)

// tileCache keeps the full tiles that were used last, expanded (16 KiB each). Only tiles that
// were checked against a signed head get in. A nil cache holds nothing.
type tileCache struct {
	limit int

	mu    sync.Mutex
	tiles map[tileKey]*list.Element
	used  *list.List // of cachedTile, last used first
}

type tileKey struct {
	level int
	n     int64
}

type cachedTile struct {
	tileKey
	full *tile.Full
}

func newTileCache(limit int) *tileCache {
	return &tileCache{limit: limit, tiles: make(map[tileKey]*list.Element), used: list.New()}
}

func (c *tileCache) get(level int, n int64) *tile.Full {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.tiles[tileKey{level, n}]
	if el == nil {
		return nil
	}
	c.used.MoveToFront(el)
	return el.Value.(cachedTile).full
}

func (c *tileCache) put(level int, n int64, f *tile.Full) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := tileKey{level, n}
	if c.tiles[k] != nil {
		return
	}
	c.tiles[k] = c.used.PushFront(cachedTile{k, f})
	if c.used.Len() > c.limit {
		last := c.used.Remove(c.used.Back()).(cachedTile)
		delete(c.tiles, last.tileKey)
	}
}
