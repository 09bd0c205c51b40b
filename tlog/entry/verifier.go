package entry

import (
	"crypto/x509"

	"github.com/sigbox/sigbox/tlog"
)

// Verifier is a public key or certificate that a signature of an entry holds against.
type Verifier struct {
	// Fingerprint is the hex SHA-256 of its canonical form, which is what search looks for.
	Fingerprint string
	// Certificate names the owner of the key, nil for a bare key. Nothing in it has been verified but
	// that its key has signed.
	Certificate *x509.Certificate
	// Subjects are the names in Certificate, as search keys have them.
	Subjects []string
}

// Signed is an entry that tells who has signed it.
type Signed interface {
	tlog.Entry
	// Verifiers returns what every signature of the entry that the log shows was verified with, at
	// least one. The error, which wraps ErrInvalid, says that the entry does not tell.
	Verifiers() ([]Verifier, error)
}

// Verifier returns the key as what a signature was verified with.
func (k *Key) Verifier() Verifier {
	v := Verifier{Fingerprint: k.Fingerprint(), Subjects: k.Subjects()}
	if len(k.certs) > 0 {
		v.Certificate = k.certs[0]
	}
	return v
}

// Verifiers returns keys as what signatures were verified with.
func Verifiers(keys []*Key) ([]Verifier, error) {
	if len(keys) == 0 { // read for a look-up
		return nil, Invalidf("no signature of the entry has been verified")
	}
	list := make([]Verifier, len(keys))
	for i, k := range keys {
		list[i] = k.Verifier()
	}
	return list, nil
}
