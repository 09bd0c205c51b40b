package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/sigbox/sigbox/keys"
)

// Limits of what a request carries.
const (
	maxKeyBytes   = 16 << 10 // PEM or DER of one public key; RSA 4096 takes 800 bytes of PEM
	maxProofBytes = 1 << 10  // RSA 4096 signs with 512
)

// Key is a public key whose private half the requester has shown to hold. Only KeyFromProof and
// KeyFromCSR make one.
type Key struct {
	pub       crypto.PublicKey
	spki      []byte // pub as SubjectPublicKeyInfo, in DER
	challenge string // what was signed; "" for a CSR, which signs itself
	csr       bool
}

// Public returns the key.
func (k Key) Public() crypto.PublicKey { return k.pub }

// KeyFromProof takes a public key, as one PEM block or as DER SubjectPublicKeyInfo (PKCS #1 too in
// PEM), and a signature with it over the challenge: P-256 with SHA-256, P-384 with SHA-384, P-521
// with SHA-512, RSA PKCS #1 v1.5 with SHA-256, Ed25519 pure. Errors: ErrPublicKey,
// ErrInsecureKey, ErrPossession.
func KeyFromProof(content, proof []byte, challenge string) (Key, error) {
	pub, spki, err := parsePublicKey(content)
	if err != nil {
		return Key{}, err
	}
	if err := checkKey(pub); err != nil {
		return Key{}, err
	}
	if challenge == "" {
		return Key{}, fmt.Errorf("empty challenge: %w", ErrPossession)
	}
	if len(proof) > maxProofBytes || !verifyProof(pub, proof, []byte(challenge)) {
		return Key{}, fmt.Errorf("signature over the challenge does not verify: %w", ErrPossession)
	}
	return Key{pub: pub, spki: spki, challenge: challenge}, nil
}

func verifyProof(pub crypto.PublicKey, sig, message []byte) bool {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, ecdsaDigest(k, message), sig)
	case *rsa.PublicKey:
		digest := sha256.Sum256(message)
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], sig) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(k, message, sig)
	}
	return false
}

// ecdsaDigest hashes with the function of the curve's size; checkKey let no other curve through.
func ecdsaDigest(k *ecdsa.PublicKey, message []byte) []byte {
	switch k.Curve.Params().BitSize {
	case 384:
		d := sha512.Sum384(message)
		return d[:]
	case 521:
		d := sha512.Sum512(message)
		return d[:]
	}
	d := sha256.Sum256(message)
	return d[:]
}

// parsePublicKey reads one key and nothing beside it, and returns it also as SubjectPublicKeyInfo. What it
// returns encodes to the bytes it read, so nothing that the parser overlooked reaches a certificate.
func parsePublicKey(content []byte) (pub crypto.PublicKey, spki []byte, err error) {
	if len(content) == 0 {
		return nil, nil, fmt.Errorf("not provided: %w", ErrPublicKey)
	}
	if len(content) > maxKeyBytes {
		return nil, nil, fmt.Errorf("%d bytes, at most %d are read: %w", len(content), maxKeyBytes, ErrPublicKey)
	}
	der, pkcs1 := content, false
	if bytes.HasPrefix(content, []byte("-")) {
		block, err := onePEM(content, "PUBLIC KEY", "RSA PUBLIC KEY")
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrPublicKey, err)
		}
		der, pkcs1 = block.Bytes, block.Type == "RSA PUBLIC KEY"
	}
	if pkcs1 {
		pub, err := x509.ParsePKCS1PublicKey(der)
		if err != nil || !bytes.Equal(x509.MarshalPKCS1PublicKey(pub), der) {
			return nil, nil, fmt.Errorf("not a PKCS #1 public key: %w", ErrPublicKey)
		}
		spki, err = keys.SPKI(pub)
		return pub, spki, err
	}
	if pub, err = x509.ParsePKIXPublicKey(der); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrPublicKey, err)
	}
	if spki, err = keys.SPKI(pub); err != nil || !bytes.Equal(spki, der) {
		return nil, nil, fmt.Errorf("%T in an encoding of its own: %w", pub, ErrPublicKey)
	}
	return pub, spki, nil
}

// onePEM reads exactly one block of one of the labels: nothing before it, no headers, no carriage
// returns, nothing but a newline after it.
func onePEM(text []byte, labels ...string) (*pem.Block, error) {
	if !bytes.HasPrefix(text, []byte("-----BEGIN ")) || bytes.ContainsRune(text, '\r') {
		return nil, errors.New("want one PEM block with plain newlines")
	}
	block, rest := pem.Decode(text)
	if block == nil || len(block.Headers) != 0 || len(bytes.TrimRight(rest, "\n")) != 0 ||
		bytes.Count(text, []byte("-----BEGIN ")) != 1 {
		return nil, errors.New("want exactly one PEM block")
	}
	if !slices.Contains(labels, block.Type) {
		return nil, fmt.Errorf("PEM label is none of %q", labels)
	}
	return block, nil
}

// KeyFromCSR takes a PKCS #10 request in PEM. Its self-signature shows possession. The names,
// extensions and attributes it asks for are ignored: the certificate says what the token says.
// Errors: ErrCSR, ErrInsecureKey, ErrPossession, ErrAlgorithm.
func KeyFromCSR(text []byte) (Key, error) {
	block, err := onePEM(text, "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrCSR, err)
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrCSR, err)
	}
	if csr.Version != 0 || !bytes.Equal(csr.Raw, block.Bytes) {
		return Key{}, fmt.Errorf("version %d, or trailing data: %w", csr.Version, ErrCSR)
	}
	if err := checkKey(csr.PublicKey); err != nil {
		return Key{}, err
	}
	spki, err := keys.SPKI(csr.PublicKey)
	if err != nil || !bytes.Equal(spki, csr.RawSubjectPublicKeyInfo) {
		return Key{}, fmt.Errorf("public key in an encoding of its own: %w", ErrCSR)
	}
	if err := csr.CheckSignature(); err != nil {
		return Key{}, fmt.Errorf("self-signature: %w: %w", ErrPossession, err)
	}
	if err := checkCSRAlgorithm(csr); err != nil {
		return Key{}, err
	}
	return Key{pub: csr.PublicKey, spki: spki, csr: true}, nil
}

// AlgorithmError names a signing algorithm that is not accepted. Its text is upstream's, and for
// the client. It is an ErrAlgorithm.
type AlgorithmError struct{ text string }

func (e *AlgorithmError) Error() string { return e.text }

// Is makes every AlgorithmError an ErrAlgorithm.
func (e *AlgorithmError) Is(target error) bool { return target == ErrAlgorithm }

// checkCSRAlgorithm holds a CSR to the one hash that each kind of key is accepted with.
func checkCSRAlgorithm(csr *x509.CertificateRequest) error {
	hashes := map[x509.SignatureAlgorithm]crypto.Hash{
		x509.ECDSAWithSHA256: crypto.SHA256, x509.ECDSAWithSHA384: crypto.SHA384, x509.ECDSAWithSHA512: crypto.SHA512,
		x509.SHA256WithRSA: crypto.SHA256, x509.SHA384WithRSA: crypto.SHA384, x509.SHA512WithRSA: crypto.SHA512,
		x509.PureEd25519: 0,
	}
	hash, known := hashes[csr.SignatureAlgorithm]
	if !known {
		return &AlgorithmError{fmt.Sprintf("unrecognized signature algorithm: %s", csr.SignatureAlgorithm)}
	}
	var want crypto.Hash
	switch k := csr.PublicKey.(type) {
	case *rsa.PublicKey:
		want = crypto.SHA256
	case *ecdsa.PublicKey:
		want = map[int]crypto.Hash{256: crypto.SHA256, 384: crypto.SHA384, 521: crypto.SHA512}[k.Curve.Params().BitSize]
	}
	if hash != want {
		return &AlgorithmError{fmt.Sprintf("signing algorithm not permitted: %T, %s", csr.PublicKey, hash)}
	}
	return nil
}
