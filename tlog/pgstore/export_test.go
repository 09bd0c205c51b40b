package pgstore

// The statements, for tests of their plans.
const (
	LeafSQL, LeavesSQL, LeafHashesSQL, TileRootsSQL, FindSQL = leafSQL, leavesSQL, leafHashesSQL, tileRootsSQL, findSQL
	SearchAnySQL, SearchAllSQL, KeysSQL                      = searchAnySQL, searchAllSQL, keysSQL
)

// Slot is where a search key is found.
var Slot = slot
