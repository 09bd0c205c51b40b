// Package pgstore keeps the certificate authority's issuance records in PostgreSQL, for any number
// of equal processes: a ca.Store over package internal/pg, with the tables of
// migrations/postgres/ca.
//
// An intent is a row, its outcome is another row, and no row is ever changed: the writer's role may
// insert and read, nothing else. A serial number has one intent and at most one outcome, by unique
// indexes that all processes share.
//
// Records of both kinds that arrive while a COMMIT is under way share the next one, so that many requests
// cost few commits and a lone one waits for nobody. Where that fails, the rows of each kind are written
// again by themselves: an outcome, which has happened, is not given up for seconds, an intent is refused at
// once. A row that the database refuses takes no other row with it.
//
// A COMMIT whose outcome is unknown is asked about, by writing the same rows again: that waits
// until the lost transaction is over, and finds its rows or inserts them. What the caller is told
// is therefore certain, or it is an error: then an intent may be on record whose key was never
// used, and an outcome may be missing, whose intent says that the key may have signed.
package pgstore
