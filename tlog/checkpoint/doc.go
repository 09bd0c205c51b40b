// Package checkpoint is the signed head of a log: a three-line text (C2SP tlog-checkpoint) in a
// signed note (C2SP signed-note), with the ECDSA signatures that Rekor's clients verify.
//
// The text is origin, size and base64 root, each line ended by a newline; the last checkpoint of a
// Rekor v2 log that was frozen has a fourth line that says so and when. The signature line
// carries a name and a four-byte hint, which is the start of SHA-256 over the key's
// SubjectPublicKeyInfo; the signature is ASN.1 DER ECDSA over SHA-256 of the text. That is the
// same for Rekor v1 and v2, except that the origin of a v1 log is "<host> - <tree id>" while its
// signature line names just "<host>". So a [Signer] is given both.
//
// A [Signer] verifies every signature with the public key before it hands it out, so a broken
// key store or a flipped bit never leaves the process. A [Verifier] needs the log's own
// signature and ignores lines of other keys, such as witness cosignatures.
//
// The package keeps no state: that a log never signs two heads which contradict each other is
// the log engine's work (package tlog).
package checkpoint
