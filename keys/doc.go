// Package keys makes, stores and describes the signing keys of an instance.
//
// Every role (CA, log, timestamp authority, TUF role, development issuer) has a key of its own.
// On disk a key is PKCS #8 in PEM, readable by its owner only (internal/private has the exact
// rule); a file that others can read is refused. The package knows no role and does no signing of its own: it hands out a
// crypto.Signer. PKCS#11 and KMS signers are adapters of a later issue (keys/pkcs11 and others).
package keys
