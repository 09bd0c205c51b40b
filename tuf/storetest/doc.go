// Package storetest is the conformance suite of tuf.Store: what a repository relies on, whatever
// its sets are kept in. A store that passes it publishes a set whole or not at all, never stores a
// (role, version) with other bytes, and lets replicas take turns.
package storetest
