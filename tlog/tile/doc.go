// Package tile is the arithmetic of a Merkle log that is kept and served in tiles (C2SP
// tlog-tiles, RFC 6962 hashing): hashes, tile paths, and entry bundles.
//
// A tile holds up to 256 hashes. Tile n of level L holds the roots of the perfect subtrees of
// 256^L leaves with numbers 256*n and up; level 0 holds leaf hashes. A tile of 256 hashes is
// full and never changes; the last tile of a level is partial, and each narrower partial tile is
// a prefix of it. An entry bundle holds the entries whose hashes are in the level 0 tile of the
// same number.
//
// The package is pure: no I/O, no state. Impossible arguments panic, bad input is an error.
package tile
