// Package hashedrekord is Rekor v1's kind hashedrekord 0.0.1: a signature over the digest of an
// artifact, with the key or certificate that verifies it.
//
// Canonical body, search keys and refusals equal upstream's (sigstore/rekor
// pkg/types/hashedrekord/v0.0.1 and the algorithm policy of its server), with these differences:
// a "url" field is refused, not ignored, and so is an RSA key of more than 8192 bits. The artifact
// itself is never seen; a certificate is not checked against any root and may have expired.
package hashedrekord
