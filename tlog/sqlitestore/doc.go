// Package sqlitestore keeps logs in an SQLite file, for one node: a [tlog.Store] over package
// internal/sqlite, with the tables of migrations/sqlite/tlog.
//
// Several logs share one file; each has its own head row. The lock of the head is SQLite's write
// lock, so the logs of one file take turns, and so do processes. A commit is durable (WAL,
// synchronous=FULL). Triggers refuse to update or delete what was appended.
package sqlitestore
