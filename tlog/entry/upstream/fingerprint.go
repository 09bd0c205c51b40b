package upstream

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"github.com/sigstore/rekor/pkg/pki"

	"github.com/sigbox/sigbox/tlog/entry"
)

// Fingerprints returns, for each format of public keys but x509 that a search may have, the function
// that makes the search key of a key: hex SHA-256 of its canonical form. The formats are those of
// upstream's API: pgp, minisign, ssh, tuf. Errors wrap entry.ErrInvalid.
func Fingerprints() map[string]func(key []byte) (string, error) {
	out := map[string]func([]byte) (string, error){}
	for format, check := range map[pki.Format]func([]byte) error{
		pki.PGP: checkPGPKey, pki.Minisign: small, pki.SSH: small,
		pki.Tuf: func(key []byte) error {
			return checkTUF(map[string]any{"root": map[string]any{"content": base64.StdEncoding.EncodeToString(key)}})
		},
	} {
		out[string(format)] = func(key []byte) (string, error) { return fingerprint(format, key, check) }
	}
	return out
}

func small(key []byte) error {
	if len(key) > maxSmallKey {
		return entry.Invalidf("the public key is larger than %d bytes", maxSmallKey)
	}
	return nil
}

func fingerprint(format pki.Format, key []byte, check func([]byte) error) (_ string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = entry.Invalid("the public key cannot be read", panicked(r))
		}
	}()
	if len(key) > maxPGPKey {
		return "", entry.Invalidf("the public key is larger than %d bytes", maxPGPKey)
	}
	if err := check(key); err != nil {
		return "", err
	}
	f, err := pki.NewArtifactFactory(format)
	if err != nil {
		return "", refuse(string(format), err)
	}
	k, err := f.NewPublicKey(bytes.NewReader(key))
	if err != nil {
		return "", refuse(string(format), err)
	}
	canonical, err := k.CanonicalValue()
	if err != nil {
		return "", refuse(string(format), err)
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}
