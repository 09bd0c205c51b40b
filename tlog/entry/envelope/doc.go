// Package envelope reads DSSE envelopes (github.com/secure-systems-lab/dsse), for the kinds that
// log what is signed with them: which signature a key has made, and what an in-toto statement in
// the payload is about.
//
// Work is bounded: 100 signatures, 1,000 attempts to match keys with signatures and 10,000 digests
// in a statement. The payload, which may be large, is decoded once and never copied. JSON with a key twice is refused; unknown fields are ignored, as the
// specification demands. Errors wrap [entry.ErrInvalid].
package envelope
