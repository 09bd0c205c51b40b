package memstore

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/sigbox/sigbox/tlog"
)

// Clone returns a copy of the store.
func (s *Store) Clone() *Store {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := New()
	c.data = s.data
	c.data.identities = maps.Clone(s.data.identities)
	c.data.tiles = maps.Clone(s.data.tiles)
	c.data.leaves = slices.Clone(s.data.leaves)
	c.data.keys = make(map[string][]int64)
	for k, v := range s.data.keys {
		c.data.keys[k] = slices.Clone(v)
	}
	return c
}

// Cell is storetest.Cell, which this package cannot import.
type Cell struct {
	Table  string
	Level  int
	N      int64
	Column string
}

// Tamper changes a value behind the store's back.
func (s *Store) Tamper(at Cell, change func([]byte) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch at.Table {
	case "tlog_leaf":
		return s.tamperLeaf(at, change)
	case "tlog_tile":
		id := tileID{at.Level, at.N}
		t := s.data.tiles[id]
		set := map[string]func() bool{
			"hashes": func() bool { t.Hashes = change(t.Hashes); return t.Hashes != nil },
			"root":   func() bool { return tamper32(&t.Root, change) },
		}[at.Column]
		if s.data.tiles[id] = t; !set() {
			delete(s.data.tiles, id)
			return nil
		}
		s.data.tiles[id] = t
		return nil
	case "tlog_head":
		h := &s.data.head
		switch at.Column {
		case "root":
			tamper32(&h.Root, change)
		case "size":
			tamperInt(&h.Size, change)
		case "time_ms":
			tamperInt(&h.TimeMS, change)
		case "checkpoint":
			h.Note = change(h.Note)
		}
		return nil
	case "tlog_key":
		for k, indexes := range s.data.keys {
			s.data.keys[k] = slices.DeleteFunc(indexes, func(i int64) bool { return i == at.N })
		}
		return nil
	}
	return fmt.Errorf("cannot tamper with %+v", at)
}

func (s *Store) tamperLeaf(at Cell, change func([]byte) []byte) error {
	i := slices.IndexFunc(s.data.leaves, func(l tlog.Leaf) bool { return l.Index == at.N })
	l := &s.data.leaves[i]
	keep := true
	switch at.Column {
	case "data":
		l.Data = change(l.Data)
		keep = l.Data != nil
	case "leaf_hash":
		keep = tamper32(&l.Hash, change)
	case "identity":
		delete(s.data.identities, l.Identity)
		keep = tamper32(&l.Identity, change)
		s.data.identities[l.Identity] = l.Index
	case "time_ms":
		tamperInt(&l.TimeMS, change)
	}
	if !keep {
		s.data.leaves = slices.Delete(s.data.leaves, i, i+1)
	}
	return nil
}

func tamper32(h *[32]byte, change func([]byte) []byte) (keep bool) {
	b := change(h[:])
	if b != nil {
		*h = [32]byte(b)
	}
	return b != nil
}

func tamperInt(n *int64, change func([]byte) []byte) {
	*n = int64(binary.BigEndian.Uint64(change(binary.BigEndian.AppendUint64(nil, uint64(*n)))))
}
