// Command sigbox-pkcs11 is the child of sigbox that loads a PKCS #11 module, the shared library of an HSM's vendor, and
// signs with the keys of one token. It is started by sigbox, speaks [tokenwire] over standard input and output, and is
// of no use by itself. It ends when its standard input is closed.
//
// It is a program of its own since a module is C: it needs cgo, and what it does wrong it does to this process only.
// docs/design/0021 has the reasons.
//
//	CGO_ENABLED=1 go build ./cmd/sigbox-pkcs11
package main
