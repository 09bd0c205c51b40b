// Package tuf keeps the repository through which every client learns to trust the instance
// (The Update Framework, specification 1.0.31).
//
// A [Repository] signs and publishes one set of metadata at a time: root, targets, snapshot and
// timestamp, with consistent snapshots and one flat targets role. It guarantees:
//
//   - A set is published whole or not at all. What readers see is an immutable [Published] that
//     is swapped in one step; every older version stays reachable.
//   - Before a set is stored, a client's own state machine has accepted it, once from the first
//     root and once as an update of the set before it. A set that a client would refuse is never
//     written.
//   - A (role, version) is signed once. Replicas that share a store take turns.
//   - Snapshot and timestamp renew themselves long before they expire, while [Repository.Run]
//     runs and their keys answer.
//   - Root and targets that people have signed offline are published by [Repository.Install], only
//     over the very set that they were asked for. The record that the targets were composed from and
//     the transcript of the ceremony are stored in the same transaction.
//
// The forms are the ones that all clients take (COMPAT.md 5): P-256 keys of type "ecdsa", PEM;
// SHA-256 only; expiry without fractions; no optional field that is empty.
//
// The package knows no SQL (tuf/sqlstore, tuf/pgstore) and no HTTP (tuf/web). What the targets say is
// kept by tuf/record and composed by tuf/trustroot; how people sign is tuf/ceremony. Delegations are
// not part of it.
package tuf
