package entry

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"math/big"
)

// errSignature says no more than that: why a signature does not hold helps only a forger.
var errSignature = errors.New("signature does not verify")

// Permitted says whether Rekor logs an artifact signature by that key over a digest of that hash:
// RSA of 2048, 3072 or 4096 bits with SHA-256, P-256 with SHA-256, P-384 with SHA-384, P-521 with
// SHA-512, Ed25519ph with SHA-512.
func Permitted(pub crypto.PublicKey, hash crypto.Hash) bool {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		bits := k.Size() * 8
		return hash == crypto.SHA256 && (bits == 2048 || bits == 3072 || bits == 4096)
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return hash == crypto.SHA256
		case elliptic.P384():
			return hash == crypto.SHA384
		case elliptic.P521():
			return hash == crypto.SHA512
		}
	case ed25519.PublicKey:
		return hash == crypto.SHA512
	}
	return false
}

// VerifyDigest checks a signature over a digest: RSA PKCS #1 v1.5, ECDSA in ASN.1 or, failing
// that, as the two numbers side by side (IEEE P1363), Ed25519ph (RFC 8032; SHA-512 only).
func VerifyDigest(pub crypto.PublicKey, hash crypto.Hash, digest, sig []byte) error {
	if len(sig) == 0 {
		return errors.New("signature is empty")
	}
	if !hash.Available() || len(digest) != hash.Size() {
		return errors.New("digest has the wrong length")
	}
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return failed(rsa.VerifyPKCS1v15(k, hash, digest, sig) == nil)
	case *ecdsa.PublicKey:
		return failed(verifyECDSA(k, digest, sig))
	case ed25519.PublicKey:
		return failed(ed25519.VerifyWithOptions(k, digest, sig, &ed25519.Options{Hash: crypto.SHA512}) == nil)
	}
	return errors.New("public key is of an unsupported type")
}

// Message is what DSSE signs. It may be large: its digest is made once.
type Message struct {
	text   []byte
	digest []byte // SHA-256, once it was needed
}

// NewMessage returns text as a message.
func NewMessage(text []byte) *Message { return &Message{text: text} }

// Verify checks a signature over the message as DSSE signs: SHA-256 first, but pure Ed25519.
func (m *Message) Verify(pub crypto.PublicKey, sig []byte) error {
	if k, ok := pub.(ed25519.PublicKey); ok {
		return failed(ed25519.Verify(k, m.text, sig))
	}
	if m.digest == nil {
		sum := sha256.Sum256(m.text)
		m.digest = sum[:]
	}
	return VerifyDigest(pub, crypto.SHA256, m.digest, sig)
}

func failed(ok bool) error {
	if !ok {
		return errSignature
	}
	return nil
}

func verifyECDSA(pub *ecdsa.PublicKey, digest, sig []byte) bool {
	if ecdsa.VerifyASN1(pub, digest, sig) {
		return true
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(sig, &rs); err == nil {
		return false // it is ASN.1, and it does not hold
	}
	if len(sig) > 132 || len(sig)%2 != 0 { // two numbers of P-521
		return false
	}
	r := new(big.Int).SetBytes(sig[:len(sig)/2])
	s := new(big.Int).SetBytes(sig[len(sig)/2:])
	return ecdsa.Verify(pub, digest, r, s)
}
