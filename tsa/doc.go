// Package tsa is the timestamp authority: it says, under its signature, that a digest existed at
// a moment (RFC 3161).
//
// [NewChain] makes the certificates and keys of an authority, [New] checks what it is given and
// refuses a chain that a client would refuse later, [ParseRequest] reads a TimeStampReq, and
// [Authority.Stamp] answers one.
//
// Guarantees: a token is granted or there is none; its serial number is 158 random bits; genTime
// never goes back within a process and lies within the validity of every certificate of the
// chain; the nonce is echoed exactly; every token is read back by other code than that which wrote it, compared
// with the request and verified with the certificate's public key before it is handed out. A token is byte for
// byte what upstream's server makes, but that its signingTime is genTime: the clock is read once. A clock that steps back by
// more than the stated accuracy stops the authority instead of bending time.
//
// Certificates follow RFC 3161 2.3 and RFC 5816 (signingCertificateV2). Only ECDSA keys sign:
// sigstore-js reads no other.
//
// A [Guard] compares the clock with another one and with the time that has passed; an authority that has
// one stamps nothing while the clock is not known to be right.
//
// The package keeps no state and no copy of what it stamped, and knows no HTTP: tsa/web does.
package tsa
