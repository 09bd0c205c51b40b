package logrpc

import (
	"context"
	"fmt"
	"slices"

	pb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	"github.com/sigbox/sigbox/tlog"
)

const (
	maxBatch      = 1024      // entries in one answer
	maxBatchBytes = 256 << 10 // bytes in one answer, unless it is one entry
	maxChunk      = 32        // entries in one read of the store, which knows no limit in bytes
	maxReads      = 4         // reads of the store at a time, of all logs together
	keep          = 1024      // newest entries of a log that are kept in memory
	keepBytes     = 4 << 20
)

// source reads the entries of a log for all who follow it.
//
// A store is asked for entries by number, and they may be large. So it is asked for few at a time,
// for as many as will probably fit into the answer, and by few readers at once.
type source struct {
	log   Log
	slots chan struct{} // one item for each read of the store

	owner  chan struct{} // has an item while somebody reads or changes the fields below
	first  int64         // index of the first entry of recent
	recent []*pb.Entry   // the newest entries, as far as anybody asked for them; entries are never changed
}

func newSource(l Log, slots chan struct{}) *source {
	return &source{log: l, slots: slots, owner: make(chan struct{}, 1)}
}

// read returns entries from index from on, at least one and at most a batch, none from to on.
func (s *source) read(ctx context.Context, from, to int64) ([]*pb.Entry, error) {
	if from >= to {
		return nil, nil
	}
	if to-from > keep {
		return s.load(ctx, from, to) // far behind: nobody else is likely to want the same
	}
	entries, err := s.newest(ctx, from, to)
	if entries == nil && err == nil {
		return s.load(ctx, from, to) // older than what is kept
	}
	return entries, err
}

// newest answers from memory, after one of those who ask has read what is missing there. It returns
// nothing where from is older than what is kept.
func (s *source) newest(ctx context.Context, from, to int64) ([]*pb.Entry, error) {
	select {
	case s.owner <- struct{}{}:
		defer func() { <-s.owner }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch end := s.first + int64(len(s.recent)); {
	case from < s.first && end > s.first:
		return nil, nil
	case from > end || end == s.first:
		s.first, s.recent = from, nil
		fallthrough
	case from == end:
		more, err := s.load(ctx, from, to)
		if err != nil {
			return nil, err
		}
		s.add(more)
		return more, nil
	}
	have := s.recent[from-s.first:]
	return have[:min(fits(have), int(min(to-from, maxBatch)))], nil
}

// add appends to what is kept, and lets go of the oldest.
func (s *source) add(more []*pb.Entry) {
	s.recent = append(s.recent, more...)
	bytes, n := 0, len(s.recent)
	for ; n > 0 && len(s.recent)-n < keep; n-- {
		if bytes += size(s.recent[n-1]); bytes > keepBytes {
			break
		}
	}
	if n > 0 {
		s.first, s.recent = s.first+int64(n), slices.Clone(s.recent[n:]) // followers hold parts of the old slice
	}
}

// fits returns how many entries are one batch by their bytes, at least one.
func fits(entries []*pb.Entry) int {
	bytes := 0
	for i, e := range entries {
		if bytes += size(e); i > 0 && bytes > maxBatchBytes {
			return i
		}
	}
	return len(entries)
}

// load reads a batch from the store.
func (s *source) load(ctx context.Context, from, to int64) (batch []*pb.Entry, err error) {
	bytes, chunk := 0, maxChunk/2
	for from < to && len(batch) < maxBatch && bytes < maxBatchBytes {
		n := min(int64(chunk), to-from, int64(maxBatch-len(batch)))
		more, err := s.chunk(ctx, from, from+n)
		if err != nil {
			return nil, err
		}
		from += n
		before := bytes
		for _, e := range more {
			if bytes += size(e); len(batch) > 0 && bytes > maxBatchBytes {
				return batch, nil
			}
			batch = append(batch, e)
		}
		average := (bytes-before)/len(more) + 1
		chunk = min(max((maxBatchBytes-bytes)/average, 1), maxChunk)
	}
	return batch, nil
}

func (s *source) chunk(ctx context.Context, from, to int64) ([]*pb.Entry, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	leaves, err := s.log.Engine.Leaves(ctx, from, to)
	if err != nil {
		return nil, err
	}
	if int64(len(leaves)) != to-from {
		return nil, fmt.Errorf("%w: of leaves [%d, %d) %d are there", tlog.ErrCorrupt, from, to, len(leaves))
	}
	entries := make([]*pb.Entry, len(leaves))
	for i, l := range leaves {
		if entries[i], err = s.entry(l); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

func (s *source) entry(l tlog.Leaf) (*pb.Entry, error) {
	e := &pb.Entry{Index: l.Index, Leaf: l.Data, TimeMs: l.TimeMS}
	if s.log.Split != nil {
		var err error
		if e.Leaf, e.Extra, err = s.log.Split(l.Data); err != nil {
			return nil, fmt.Errorf("%w: leaf %d: %w", tlog.ErrCorrupt, l.Index, err)
		}
	}
	return e, nil
}

// size is roughly what an entry weighs.
func size(e *pb.Entry) int { return len(e.Leaf) + len(e.Extra) + 32 }
