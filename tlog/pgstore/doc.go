// Package pgstore keeps logs in PostgreSQL, for any number of equal processes: a [tlog.Store] over
// package internal/pg, with the tables of migrations/postgres/tlog.
//
// Several logs share a database and no lock: each has its own head row. A batch is one transaction
// that locks the head row, writes only new rows, reads them back, moves the head row and commits.
// Three nets are below a fork: the lock, the size that the head must still have when it is moved,
// and the unique index on (log, index).
//
// Rows are found by identity and by search key in regions of 65,536 entries, so that writing touches a
// small part of each index however large the log is. Filters in memory, 2.4 bytes per entry in steps of
// 2.5 MB and 1.2 bytes per different search key of a region, tell which regions cannot hold an identity or a
// key; they are made once for a full region and kept in the database. See docs/design/0004.
//
// Dead and stalled processes hold the lock of a head no longer than the timeouts of [pg.Config]. A
// commit whose answer is lost, or comes with a warning (a cancelled wait for the synchronous
// standby), is [tlog.ErrUnknownOutcome]. A batch that writes nothing is committed too: its COMMIT
// waits for the standby that an earlier commit may not have reached, so whatever it found there may
// be acknowledged.
//
// Durability, isolation and the deduplication's plan do not depend on how the server is configured;
// [pg.Open] refuses a server on which they would.
package pgstore
