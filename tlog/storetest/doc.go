// Package storetest is the conformance and fault suite of [tlog.Store]: what every database must
// do under the log engine, and what the engine must do when it fails.
//
// It checks the store by itself (rows, locking, classes of errors), then the engine over it: a
// fault at every named point of the commit path, alone and followed by a second one during
// recovery; commits of unknown outcome; several writers; restarts; rows that were changed behind
// its back; databases that were rolled back.
package storetest
