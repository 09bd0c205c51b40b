package pgstore

import (
	"context"
	"log/slog"
)

// prepareSays is after how many filters Prepare says how far it is.
const prepareSays = 32

// Prepare implements [tlog.Preparer]: it reads the filters of all full regions, and makes those that are
// missing, as all are after an upgrade from a build whose filters were of another kind. What has none yet is
// looked into meanwhile.
func (s *Store) Prepare(ctx context.Context, log *slog.Logger) error {
	full := s.filters.size.Load() >> regionBits
	if full == 0 {
		return nil
	}
	r, err := s.reader(ctx)
	if err != nil {
		return err
	}
	damaged, err := s.loadAll(ctx, r, full)
	for _, d := range damaged {
		log.ErrorContext(ctx, "a stored filter is damaged and not used: duplicates and searches are found without it; run sigbox log fsck", "err", d)
	}
	missing := full - int64(s.filters.known().n)
	if err != nil || missing <= 0 {
		return err
	}
	log.InfoContext(ctx, "making filters of what is in the log; appends and searches are slower until they are made", "filters", missing, "entries", missing<<regionBits)
	for n := int64(s.filters.known().n); n < full; n = int64(s.filters.known().n) {
		if err := s.makeOne(ctx, r, full); err != nil {
			return err
		}
		if left := full - n - 1; left%prepareSays == 0 && left > 0 {
			log.InfoContext(ctx, "making filters", "missing", left, "of", full)
		}
	}
	log.InfoContext(ctx, "all filters are made", "filters", missing)
	return nil
}

// loadAll is load, and returns what it found damaged.
func (s *Store) loadAll(ctx context.Context, r reader, full int64) ([]error, error) {
	s.filters.mu.Lock()
	defer s.filters.mu.Unlock()
	err := s.load(ctx, r, full)
	return s.filters.damaged, err
}

// makeOne makes the first filter that is missing, unless another process has made it.
func (s *Store) makeOne(ctx context.Context, r reader, full int64) error {
	s.filters.mu.Lock()
	defer s.filters.mu.Unlock()
	if err := s.load(ctx, r, full); err != nil || int64(s.filters.known().n) >= full {
		return err
	}
	return s.makeNext(ctx, r)
}
