package tlog

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
)

// Auditor is a Store in which looking for all leaves by their identities costs much less than Find
// does: it need not look where an identity is not.
type Auditor interface {
	// Findable returns how many of the leaves, which are consecutive, are found by their identities
	// where they are: the one behind those is the first that is not. That an identity is at another
	// place too is not noticed.
	Findable(ctx context.Context, leaves []Leaf) (int, error)
}

// seen remembers identities, so that one which comes twice is noticed without asking the store for
// each: a Bloom filter of 16 bits per leaf, in which an identity's four bits are in one word. It never
// forgets one, and takes about one of 500 others for one.
type seen struct {
	words []uint64
	again []Leaf // were there already, probably; without data
}

// maxAgain bounds how many leaves wait to be looked up.
const maxAgain = 1 << 16

func newSeen(leaves int64) *seen { return &seen{words: make([]uint64, leaves/4+1)} }

// add remembers the identity of a leaf. Identities are hashes.
func (s *seen) add(l Leaf) {
	if s == nil {
		return
	}
	place, h := binary.BigEndian.Uint32(l.Identity[:4]), binary.BigEndian.Uint32(l.Identity[4:])
	word := &s.words[uint64(place)*uint64(len(s.words))>>32]
	var bits uint64
	for i := range 4 {
		bits |= 1 << (h >> (6 * i) & 63)
	}
	if *word&bits == bits {
		s.again = append(s.again, l)
	}
	*word |= bits
}

// full tells that it is time to look up those that came twice.
func (s *seen) full() bool { return s != nil && len(s.again) >= maxAgain }

// lookAgain looks up the leaves whose identities may be those of earlier leaves. After the last time
// no identity is added.
func (f *fsck) lookAgain(ctx context.Context, last bool) error {
	if f.seen == nil {
		return nil
	}
	again := f.seen.again
	f.seen.again = nil
	if last {
		f.seen = nil // the store may take as much memory to look
	}
	for some := range slices.Chunk(again, 4096) {
		n, err := f.findEach(ctx, some)
		if err != nil {
			return err
		}
		if n < len(some) {
			return notFound(some[n])
		}
	}
	return nil
}

// findEach looks leaves up by their identities, and returns how many are found, as Findable does.
func (f *fsck) findEach(ctx context.Context, leaves []Leaf) (int, error) {
	identities := make([][32]byte, len(leaves))
	for i, l := range leaves {
		identities[i] = l.Identity
	}
	found, err := f.store.Find(ctx, identities)
	if err != nil {
		return 0, err
	}
	for i, l := range leaves {
		if at, ok := found[l.Identity]; !ok || at.Index != l.Index || at.TimeMS != l.TimeMS {
			return i, nil
		}
	}
	return len(leaves), nil
}

func notFound(l Leaf) error {
	return leafError{l.Index, fmt.Errorf("%w: leaf %d is not found by its identity", ErrCorrupt, l.Index)}
}
