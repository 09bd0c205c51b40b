// Package fileguard is a [tlog.Guard] in a directory, which should be on another volume than the
// database: one file per log, which holds the last signed checkpoint.
//
// A file is replaced atomically and durably (temporary file, fsync, rename, fsync of the
// directory), and only by a checkpoint that a consistency proof connects with it. A lock on the
// directory keeps a second process out: a file guard protects a log with one writing process.
// Whoever can write to the directory can turn the guard back; it protects from accidents of the
// database, not from the machine's owner.
package fileguard
