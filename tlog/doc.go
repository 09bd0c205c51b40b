// Package tlog is the engine of sigbox's transparency logs: an append-only Merkle tree (RFC 6962
// hashing) over a database, with signed checkpoints (C2SP tlog-checkpoint) and tiles (C2SP
// tlog-tiles).
//
// # Appending
//
// A face (an HTTP API) hands [Log] an [Entry]. When Append returns, the entry is durable, it has
// its index, and a signed checkpoint covers it; the [Receipt] carries an inclusion proof. There
// is no promise to be kept later, and nothing to poll.
//
//	receipt, err := log.Append(ctx, entry)
//
// One row of the database, the head row, is the log. A batch is one transaction that locks that
// row, writes only new rows, moves the row, and commits. A batch is whatever arrived while the
// previous one was being committed: an idle log commits an entry at once, a busy one commits
// many at a time. Before a head is signed the rows are read back and the root is computed from
// them a second time, by other code.
//
// Entries with equal identities are one entry: a second Append is answered with the first one,
// whether that is still waiting, in another process, or years old.
//
// # Making and running a log
//
// A log is created once, on purpose, and then opened, as often as needed, by one process or many:
//
//	err := tlog.Create(ctx, store, cfg, seeds)
//	engine, err := tlog.Open(ctx, store, cfg)
//	err = engine.Run(ctx) // until ctx is cancelled; then it drains
//
// [Config] holds the signer and the limits; a [Store] is where rows are kept: packages memstore,
// sqlitestore and pgstore. Every Store passes the suite of package storetest.
//
// # Reading
//
// A reader sees the published head and nothing beyond it. What comes from the store is checked
// against that head on the way, tile by tile, so a damaged row is [ErrCorrupt] and is never
// served, proven or built on.
//
// # When things go wrong
//
// An append fails with [ErrUnavailable] if its batch was rolled back, and may be tried again. A
// commit whose outcome is unknown is looked up under the head lock before anybody is answered.
// A conflict, a damaged row or a lost history stops the log for good: it serves reads, refuses
// writes, and [Engine.Health] says why. A [Guard] outside the database notices a database that
// was rolled back. [Fsck] recomputes everything.
//
// The package knows no SQL, no HTTP, and no kind of entry.
package tlog
