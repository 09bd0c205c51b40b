// Package differential holds sigbox against running upstream servers: the requests that both are
// asked, the answers that upstream gave, and the list of those that ours are allowed to differ in.
//
// Upstream's answers are kept in testdata, recorded by e2e/differential from the released servers and
// never written by hand, so that the tests of this package compare in seconds and without them. The
// same package of e2e plays the requests to the servers again and compares with what is kept
// (docs/design/0016-differences.md).
//
// Requests name what only a server's answers can say, such as the id of an entry that an earlier
// request made: see [Request]. Answers are kept with the same names in place of what is a server's
// own: see [Player].
//
// It is for tests, those of e2e included.
package differential
