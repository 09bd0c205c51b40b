package pgstore

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/tlog"
)

// audited are filters of the regions that are being audited, each in the place of its number: several
// goroutines read on from one region into the next.
type audited struct {
	mu     sync.Mutex
	loaded [2]struct {
		region int64
		f      *filter // nil if there is none
		known  bool
	}
}

// filter returns the filter of a region, nil if there is none.
func (a *audited) filter(ctx context.Context, r reader, region int64) (*filter, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := &a.loaded[region%int64(len(a.loaded))]
	if at.known && at.region == region {
		return at.f, nil
	}
	f, err := r.filter(ctx, region)
	if errors.Is(err, tlog.ErrNotFound) {
		return nil, nil // one may be made any moment, of what is read then
	}
	if err != nil {
		return nil, err
	}
	at.region, at.f, at.known = region, &f, true
	return at.f, nil
}

// Findable implements [tlog.Auditor]: each leaf has to pass the filter of its own region, and is then
// looked up in the index there. A look into other regions finds what is there, but hides nothing here.
func (s *Store) Findable(ctx context.Context, leaves []tlog.Leaf) (int, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return 0, err
	}
	n, err := s.pass(ctx, r, leaves)
	if err != nil || n == 0 {
		return 0, err
	}
	indexes, times, identities := make([]int64, n), make([]int64, n), make([][]byte, n)
	for i := range leaves[:n] {
		indexes[i], times[i], identities[i] = leaves[i].Index, leaves[i].TimeMS, leaves[i].Identity[:]
	}
	lost, err := collect(ctx, r, pgx.RowTo[int64], unfoundSQL, r.log, indexes, times, identities)
	for _, index := range lost {
		n = min(n, int(index-leaves[0].Index))
	}
	return n, err
}

// pass returns how many leaves the filters of their regions let through.
func (s *Store) pass(ctx context.Context, r reader, leaves []tlog.Leaf) (int, error) {
	var f *filter
	var err error
	for i, l := range leaves {
		if i == 0 || l.Index&(regionSize-1) == 0 {
			if f, err = s.audited.filter(ctx, r, l.Index>>regionBits); err != nil {
				return 0, err
			}
		}
		if f != nil && !f.identities.Has(identityKey(&l.Identity)) {
			return i, nil
		}
	}
	return len(leaves), nil
}
