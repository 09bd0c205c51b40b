package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// KeySet checks the signature of a compact JWS and returns its payload (go-oidc's interface).
type KeySet = gooidc.KeySet

// errNoKey says that no key of a set matches a token's kid and algorithm: a fresh set may have one.
var errNoKey = errors.New("no usable key matches the token's kid and algorithm")

const maxKeys = 100

// algorithms are the signature algorithms accepted at all, per kind of key. Symmetric ones and
// "none" are missing on purpose (RFC 8725 section 3.1), as is RSA with SHA-1.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}
}

// fits says whether a key is of the kind and size that an algorithm asks for (RFC 7518 section 3).
func fits(alg jose.SignatureAlgorithm, pub crypto.PublicKey) bool {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		switch alg {
		case jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512:
			return true
		}
	case *ecdsa.PublicKey:
		return alg == jose.ES256 && k.Curve.Params().BitSize == 256 ||
			alg == jose.ES384 && k.Curve.Params().BitSize == 384 ||
			alg == jose.ES512 && k.Curve.Params().BitSize == 521
	case ed25519.PublicKey:
		return alg == jose.EdDSA
	}
	return false
}

// checkKey refuses keys that nobody should sign with.
func checkKey(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 || n > 8192 {
			return fmt.Errorf("RSA key of %d bits: want 2048 to 8192", n)
		}
		if k.E < 3 || k.E%2 == 0 || k.N.Bit(0) == 0 {
			return errors.New("RSA key with an impossible modulus or exponent")
		}
		return nil
	case *ecdsa.PublicKey:
		if _, err := k.ECDH(); err != nil { // on the curve, not the point at infinity
			return fmt.Errorf("elliptic curve key: %w", err)
		}
		return nil
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return errors.New("Ed25519 key of a wrong length")
		}
		return nil
	}
	return fmt.Errorf("a %T does not sign tokens", pub)
}

// webKey is one usable key of a set.
type webKey struct {
	id        string // "" where the set gives none
	algorithm string // "" where the set gives none
	public    crypto.PublicKey
	// certificate is of the key (x5c, RFC 7517 4.7); nil where the set gives none. Its validity says nothing
	// about tokens.
	certificate *x509.Certificate
}

// JWKS is a set of public keys (RFC 7517). It is immutable.
type JWKS struct{ keys []webKey }

// StaticKeys returns a set that holds exactly these keys, each matching any kid.
func StaticKeys(keys ...crypto.PublicKey) (*JWKS, error) {
	s := &JWKS{}
	for _, k := range keys {
		if err := checkKey(k); err != nil {
			return nil, err
		}
		s.keys = append(s.keys, webKey{public: k})
	}
	return s, nil
}

// ParseJWKS reads a JSON Web Key Set. Keys that cannot verify tokens (other uses, other kinds, too
// small, off the curve, a kid that two different keys claim) are left out. A set with private or
// more than 100 keys, or with none left, is refused.
func ParseJWKS(data []byte) (*JWKS, error) {
	if len(data) > maxDocument {
		return nil, fmt.Errorf("key set is larger than %d bytes", maxDocument)
	}
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, errors.New("key set is not JSON of the form {\"keys\":[...]}")
	}
	if len(doc.Keys) > maxKeys {
		return nil, fmt.Errorf("key set has more than %d keys", maxKeys)
	}
	s := &JWKS{}
	for _, raw := range doc.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil {
			continue // a kind we do not know, or a broken key
		}
		if _, symmetric := k.Key.([]byte); !symmetric && !k.IsPublic() {
			return nil, fmt.Errorf("key set publishes the private key %q", clip(k.KeyID))
		}
		if k.Use != "" && k.Use != "sig" || checkKey(k.Key) != nil {
			continue
		}
		own := webKey{id: k.KeyID, algorithm: k.Algorithm, public: k.Key}
		if len(k.Certificates) > 0 {
			own.certificate = k.Certificates[0]
		}
		s.keys = append(s.keys, own)
	}
	s.dropAmbiguous()
	if len(s.keys) == 0 {
		return nil, errors.New("key set has no usable key")
	}
	return s, nil
}

// dropAmbiguous removes all keys of a kid that stands for more than one key.
func (s *JWKS) dropAmbiguous() {
	type equaler interface{ Equal(crypto.PublicKey) bool }
	first, bad := map[string]crypto.PublicKey{}, map[string]bool{}
	for _, k := range s.keys {
		if have, ok := first[k.id]; !ok {
			first[k.id] = k.public
		} else if k.id != "" && !have.(equaler).Equal(k.public) {
			bad[k.id] = true
		}
	}
	kept := s.keys[:0]
	for _, k := range s.keys {
		if !bad[k.id] {
			kept = append(kept, k)
		}
	}
	s.keys = kept
}

// Ends returns the certificate of the key that ends last, as issuers say that give certificates with their
// keys; nil where a key has none, and so no end that is known.
func (s *JWKS) Ends() (last *x509.Certificate) {
	for _, k := range s.keys {
		switch {
		case k.certificate == nil:
			return nil
		case last == nil || k.certificate.NotAfter.After(last.NotAfter):
			last = k.certificate
		}
	}
	return last
}

// VerifySignature implements KeySet. A token without kid is taken only where the set leaves no
// choice: one key. The error is errNoKey where no key matches.
func (s *JWKS) VerifySignature(_ context.Context, raw string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(raw, algorithms())
	if err != nil {
		return nil, err
	}
	h := jws.Signatures[0].Protected
	matched := false
	for _, k := range s.keys {
		if h.KeyID == "" && len(s.keys) != 1 || h.KeyID != "" && k.id != "" && k.id != h.KeyID {
			continue
		}
		if k.algorithm != "" && k.algorithm != h.Algorithm || !fits(jose.SignatureAlgorithm(h.Algorithm), k.public) {
			continue
		}
		matched = true
		if payload, err := jws.Verify(k.public); err == nil {
			return payload, nil
		}
	}
	if !matched {
		return nil, errNoKey
	}
	return nil, errors.New("signature does not verify")
}
