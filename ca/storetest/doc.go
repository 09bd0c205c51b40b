// Package storetest is the conformance suite of ca.Store: what the authority relies on, whatever
// the records are kept in. A store that passes it refuses what would lose or rewrite a record.
package storetest
