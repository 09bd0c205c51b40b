package pgstore

import "context"

// The statements, for tests of their plans.
const (
	LeafSQL, LeavesSQL, LeafHashesSQL, TileRootsSQL, FindSQL = leafSQL, leavesSQL, leafHashesSQL, tileRootsSQL, findSQL
	SearchAnySQL, SearchAllSQL, SearchTheseSQL, KeysSQL      = searchAnySQL, searchAllSQL, searchTheseSQL, keysSQL
	LeavesAtSQL, UnfoundSQL                                  = leavesAtSQL, unfoundSQL
	KeysOfSQL                                                = keysOfSQL
)

// FewLeaves are inserted with INSERT, more with COPY.
const FewLeaves = fewLeaves

// KeyHash is the part of a slot that comes from the key.
var KeyHash = keyHash

// Learn makes the filters of a log that are missing, and returns how many there are.
func Learn(ctx context.Context, s *Store) (int, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return 0, err
	}
	head, err := s.Head(ctx)
	for n := head.Size >> regionBits; err == nil && int64(s.filters.known().n) < n; {
		err = s.learn(ctx, r, true)
	}
	return s.filters.known().n, err
}

// Filters returns of how many regions a process knows the filters.
func Filters(s *Store) int { return s.filters.known().n }
