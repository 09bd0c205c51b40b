package sqlitestore

// Queries are those that must not scan a table.
var Queries = map[string]string{
	"head": headSQL, "leaf": leafSQL, "leaves": leavesSQL, "leaves at": leavesAtSQL, "leaf hashes": leafHashesSQL, "tile": tileSQL,
	"tile roots": tileRootsSQL, "find": findSQL, "search any": searchAnySQL, "search all": searchAllSQL, "keys": keysSQL,
}
