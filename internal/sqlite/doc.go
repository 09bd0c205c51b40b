// Package sqlite opens the embedded database that a single node keeps everything in.
//
// One file, write-ahead log, synchronous=FULL: what a committed transaction wrote survives a
// power cut. All writes go through one connection, in turn; reads run beside them on their own
// connections and see the last commit. A file that it makes is readable by its owner only, and so
// are the log and the index that SQLite keeps beside it.
package sqlite
