// Package sqlite opens the embedded database that a single node keeps everything in.
//
// One file, write-ahead log, synchronous=FULL: what a committed transaction wrote survives a
// power cut. All writes go through one connection, in turn; reads run beside them on their own
// connections and see the last commit. The file is readable by its owner only.
package sqlite
