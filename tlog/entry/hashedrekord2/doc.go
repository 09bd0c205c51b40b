// Package hashedrekord2 is Rekor v2's only kind, hashedrekord 0.0.2: a signature over a digest,
// with the key or certificate that verifies it. The digest is of an artifact or of the
// pre-authentication encoding of a DSSE envelope; the log cannot tell and need not.
//
// The canonical body equals upstream's (sigstore/rekor-tiles pkg/types/hashedrekord) byte for
// byte: sigstore-go builds it anew from a bundle. We are stricter in one thing: the label
// "keyDetails" must fit the key, where upstream lets an RSA key be labelled as P-256, and plain
// PKIX_ED25519 is refused, on which upstream panicked.
package hashedrekord2
