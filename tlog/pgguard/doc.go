// Package pgguard is a [tlog.Guard] in PostgreSQL, for logs with several writing processes: one row
// per log, which holds the last signed checkpoint and is moved by compare-and-swap.
//
// It must not be the log's own database, nor restored or failed over together with it: then both
// would forget the same history. A small server of its own is enough; it commits once per batch,
// durably, on the way of every answer.
//
// The row moves only to a checkpoint that a consistency proof connects with it, and never back; the
// database refuses that too. Whoever owns the database can turn the guard back: it protects from
// accidents of the log's database, not from the guard's owner.
package pgguard
