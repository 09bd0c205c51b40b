// Package entry is what the kinds of Rekor entries share: the seam through which a log's face
// takes kinds ([Kinds]), keys and certificates in their canonical PEM ([Key]), verification of
// signatures with the algorithms that Rekor takes, search keys, and canonical JSON (RFC 8785).
//
// A kind parses the "spec" of a proposed entry, checks all signatures in it and yields a
// [Proposed]: canonical body, identity and search keys. The identity of an entry is its RFC 6962
// leaf hash, which is also what Rekor calls its UUID. Bodies and search keys are held byte for
// byte to upstream's (github.com/sigstore/rekor pkg/types) by differential tests; where we are
// stricter the package of the kind says so.
//
// It verifies that a signature belongs to a key, never that a key or certificate is to be
// trusted, and it fetches nothing: an entry with a "url" field is refused.
package entry
