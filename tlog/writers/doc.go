// Package writers decides whose entries a log takes: everybody's, those of the authority's
// certificates, of some issuers' identities among them, and those of listed keys.
//
// What decides is what the signatures of an entry were verified with, all of them: one that may not
// write makes the entry one that is refused. A certificate counts for what it says only after its chain
// was verified: it must be issued by the first certificate of one of the authorities' chains, for
// code signing, and be valid when it is looked at, which is a moment before the entry gets its time.
// That it was issued is not looked up in a certificate transparency log: the authority issues none
// without, and clients look when they verify.
//
// A certificate is never taken for the bare key in it, although the key may be listed: the log would show
// the names in it, for which nobody stands.
package writers
