// Package pgstore keeps the TUF repository in PostgreSQL, for any number of equal processes: a
// tuf.Store over package internal/pg, with the tables of migrations/postgres/tuf.
//
// A publication is one transaction that locks the one row that says which set is current, inserts
// new rows only, and moves that row, forward. The lock is how replicas take turns; a (role, version)
// is unique besides. Readers see the set before or the set after, whole. Triggers refuse to change
// or delete what was published.
//
// A process that dies or stalls with the lock holds it no longer than the timeouts of pg.Config:
// IdleTimeout bounds the time in which metadata are signed. A COMMIT whose outcome is unknown is
// asked about under the lock, which waits until the lost transaction is over: the set is there, or
// it is signed again.
//
// It judges no metadata: tuf does, inside the transaction.
package pgstore
