// Package fuse makes filters of sets that never change: a [Filter] never denies a key that is in its set,
// and takes one of 65,536 others (256 with prints of one byte) for one.
//
// It is the binary fuse filter of Graf and Lemire ("Binary Fuse Filters: Fast and Smaller Than Xor Filters",
// ACM JEA 27, 2022) with three places for a key: an array of prints, such that the prints in a key's three
// places, taken together by XOR, are the print of the key. It takes 19 bits for each of 65,536 keys with
// prints of 16 bits, where a Bloom filter with as few false answers takes at least 23.
//
// To make it takes that the places of all keys can be told apart one after the other; where they cannot,
// which is one time in some hundreds, another seed is tried. The first seed is the same for all filters, so
// that most of them have a key in the same places, and many can be asked at once. The others come from the
// keys: who chooses keys such that the first one fails cannot also choose what the next ones do.
package fuse
