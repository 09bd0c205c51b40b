// Package differential holds our Fulcio face against a running upstream Fulcio: requests, the tokens and keys
// that they name, and what of an answer is compared. It is [github.com/sigbox/sigbox/tlog/differential] for the
// certificate authority, whose recordings, comparison and lists of differences it uses
// (docs/design/0016-differences.md).
//
// Upstream's answers are kept in testdata, recorded by e2e/differential from the released server with its CT
// log and never written by hand.
//
// It is for tests, those of e2e included.
package differential
