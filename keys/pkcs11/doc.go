// Package pkcs11 has keys that are on a PKCS #11 token: an HSM, a smart card, SoftHSM.
//
// A key is named by a URI (RFC 7512, [ParseURI]) and is a crypto.Signer. The vendor's module, a shared library in C, is
// loaded by a child process, [Program], one for each token, so that sigbox needs no cgo and a module that crashes,
// hangs or prints does no harm: the child is ended and another is started by the next use. docs/design/0021 has the
// reasons, docs/hsm.md the way there.
//
// It guarantees:
//
//   - No signature is handed out that does not verify with the public key.
//   - Every call ends within 10 seconds. Starts of a child that does not work are further and further apart.
//   - A PIN is read from a private file, and goes to the child over a pipe: it is in no argument, environment, log or
//     error. One that the token has not accepted is tried once by a process, and not at all where the token says that
//     tries are running out.
//   - A session that is lost is opened again, with the PIN that was accepted.
//
// It does not make, destroy or back up tokens, and it has no PINs from keyboards (CKF_PROTECTED_AUTHENTICATION_PATH).
package pkcs11
