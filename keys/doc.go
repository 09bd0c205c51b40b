// Package keys makes, stores and describes the signing keys of an instance.
//
// Every role (CA, log, timestamp authority, TUF role, development issuer) has a key of its own.
// A key file is PKCS #8 in PEM, or one line that names a key on a PKCS #11 token (package keys/pkcs11). It is readable by
// its owner only (internal/private has the exact rule); a file that others can read is refused. The package knows no role
// and does no signing of its own: it hands out a crypto.Signer. There are no signers of cloud KMS yet.
package keys
