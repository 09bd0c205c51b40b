// Package memstore keeps a log in memory: a [tlog.Store] for tests and for logs that need not
// outlive their process. It gives the same guarantees as the database stores, except durability,
// and checks on every write what a database's constraints would check.
package memstore
