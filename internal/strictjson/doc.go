// Package strictjson reads JSON that all readers read alike (RFC 7493), in one pass: exactly one value, UTF-8 without
// a byte order mark, no name twice in an object (letter case aside, as encoding/json matches names to fields), no
// half of a surrogate pair, nesting of at most 64, at most 131,072 values.
//
// What it makes of a value is what encoding/json with UseNumber makes of it. It costs a third, since checks and decoding
// are one pass: requests are checked and read in it, thousands of times a second. Strings are parts of what was read
// where the caller allows it, so that a large one is there once.
package strictjson
