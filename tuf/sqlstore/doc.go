// Package sqlstore keeps the TUF repository in a database.
//
// It implements [tuf.Store] over one SQLite file. A publication is one transaction that holds the
// file's write lock, inserts new rows only, and moves the one row that says which set is current.
// Rows of earlier sets stay. It judges no metadata: tuf does, inside the transaction.
package sqlstore
