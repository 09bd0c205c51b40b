package pkcs11

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sync/atomic"

	"github.com/sigbox/sigbox/internal/tokenwire"
)

// Signer is a key on a token: ECDSA P-256 or P-384, or RSA, which signs PKCS #1 v1.5. It is safe for concurrent use.
// A call takes 10 s at most. What Sign returns verifies with the public key.
type Signer struct {
	uri   URI
	token *token
	pub   crypto.PublicKey

	bad  atomic.Uint64
	last atomic.Pointer[error] // how the last use or check went; nil: well
}

// Load returns the key that a URI names. It logs in to the token where that is not done yet, and signs nothing.
func Load(uri string) (*Signer, error) { return process.Load(uri) }

// Make is [Pool.Make] with the child of Load.
func Make(uri string) (*Signer, error) { return process.Make(uri) }

// Load is [Load] with the children of the pool.
func (p *Pool) Load(uri string) (*Signer, error) { return p.open(uri, tokenwire.Find) }

// Make makes an ECDSA P-256 pair on the token and returns it as Load does. Its private half cannot be read out. It
// refuses where there is an object with that label or id.
func (p *Pool) Make(uri string) (*Signer, error) { return p.open(uri, tokenwire.Make) }

func (p *Pool) open(uri, op string) (*Signer, error) {
	u, err := ParseURI(uri)
	if err != nil {
		return nil, err
	}
	if op == tokenwire.Make && u.Object == "" {
		return nil, errors.New("PKCS #11 URI: a new key needs a label: object=LABEL")
	}
	s := &Signer{uri: u, token: p.token(u)}
	got, err := s.token.do(u.PINSource, tokenwire.Request{Op: op, Key: u.key()})
	if err != nil {
		return nil, err
	}
	if err := s.token.samePIN(u.PINSource); err != nil {
		return nil, err
	}
	if s.pub, err = x509.ParsePKIXPublicKey(got.SPKI); err != nil {
		return nil, fmt.Errorf("%s, %s: public key: %w", s.token.name, u.KeyName(), err)
	}
	switch pub := s.pub.(type) {
	case *ecdsa.PublicKey:
		if pub.Curve == elliptic.P256() || pub.Curve == elliptic.P384() {
			return s, nil
		}
	case *rsa.PublicKey:
		return s, nil
	}
	return nil, fmt.Errorf("%s, %s: want ECDSA P-256, P-384 or RSA", s.token.name, u.KeyName())
}

// Public implements [crypto.Signer].
func (s *Signer) Public() crypto.PublicKey { return s.pub }

// URI says where the key is.
func (s *Signer) URI() URI { return s.uri }

// Sign implements [crypto.Signer]: ASN.1 DER for ECDSA, PKCS #1 v1.5 for RSA. The randomness is the token's. Errors:
// [ErrAway], [ErrPIN], [ErrSignature] and others.
func (s *Signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	sig, err := s.sign(digest, opts)
	switch {
	case errors.Is(err, errInput):
		return nil, err // which says nothing of the token
	case err != nil:
		s.last.Store(&err)
		return nil, err
	}
	s.last.Store(nil)
	return sig, nil
}

var errInput = errors.New("cannot be signed")

func (s *Signer) sign(digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	hash := opts.HashFunc()
	if hash == 0 || hash.Size() != len(digest) {
		return nil, fmt.Errorf("%w: want a digest of its hash's length", errInput)
	}
	if _, pss := opts.(*rsa.PSSOptions); pss {
		return nil, fmt.Errorf("%w: RSA-PSS on a token is not built", errInput)
	}
	r := tokenwire.Request{Op: tokenwire.Sign, Key: s.uri.key(), Scheme: tokenwire.ECDSA, Input: digest}
	var verify func(sig []byte) ([]byte, bool)
	switch pub := s.pub.(type) {
	case *ecdsa.PublicKey:
		size := (pub.Curve.Params().BitSize + 7) / 8
		r.Input = digest[:min(len(digest), size)] // FIPS 186-5 6.4.1; many tokens refuse more
		verify = func(raw []byte) ([]byte, bool) {
			sig, err := der(raw, size)
			return sig, err == nil && ecdsa.VerifyASN1(pub, digest, sig)
		}
	case *rsa.PublicKey:
		prefix, ok := digestInfo[hash]
		if !ok {
			return nil, fmt.Errorf("%w: RSA with %s", errInput, hash)
		}
		r.Scheme, r.Input = tokenwire.RSA, append(append([]byte{}, prefix...), digest...)
		verify = func(raw []byte) ([]byte, bool) { return raw, rsa.VerifyPKCS1v15(pub, hash, digest, raw) == nil }
	}
	got, err := s.token.do(s.uri.PINSource, r)
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", s.uri.KeyName(), err)
	}
	sig, ok := verify(got.Signature)
	if !ok {
		s.bad.Add(1)
		return nil, fmt.Errorf("%w: %s, %s", ErrSignature, s.token.name, s.uri.KeyName())
	}
	return sig, nil
}

// der is an ECDSA signature of PKCS #11, r and s of a length, as ASN.1 (RFC 3279 2.2.3).
func der(raw []byte, size int) ([]byte, error) {
	if len(raw) != 2*size {
		return nil, errors.New("not r and s")
	}
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:size]), new(big.Int).SetBytes(raw[size:])})
}

// digestInfo are the DER prefixes of RFC 8017 9.2, note 1.
var digestInfo = map[crypto.Hash][]byte{
	crypto.SHA256: {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
	crypto.SHA384: {0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30},
	crypto.SHA512: {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40},
}

// Check asks the token whether it has the key still, and signs nothing. A token that was away is tried again. What it
// finds is what Err says from then on, but for a wrong signature: only a good one takes that back.
func (s *Signer) Check() error {
	before := s.last.Load()
	_, err := s.token.do(s.uri.PINSource, tokenwire.Request{Op: tokenwire.Check, Key: s.uri.key()})
	switch {
	case err != nil:
		s.last.Store(&err)
	case before != nil && !errors.Is(*before, ErrSignature):
		s.last.CompareAndSwap(before, nil)
	}
	return s.Err()
}

// Err says how the last use or check went: nil for well, and for a key that has not been used yet.
func (s *Signer) Err() error {
	if err := s.last.Load(); err != nil {
		return *err
	}
	return nil
}

// BadSignatures is how many signatures of the token did not verify.
func (s *Signer) BadSignatures() uint64 { return s.bad.Load() }
