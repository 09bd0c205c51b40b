//go:build cgo

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"

	"github.com/sigbox/sigbox/internal/tokenwire"
)

// find finds a key and returns its public half as SubjectPublicKeyInfo. Private objects do not show it, so it is that
// of the public key or certificate with the same id, or, for a key without an id, the same label.
func (t *token) find(k tokenwire.Key) (spki []byte, err error) {
	err = t.session(func(s pkcs11.SessionHandle) error {
		h, err := t.private(s, k)
		if err != nil {
			return err
		}
		name, err := t.module.GetAttributeValue(s, h, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_ID, nil), pkcs11.NewAttribute(pkcs11.CKA_LABEL, nil),
		})
		if err != nil {
			return fmt.Errorf("read id and label of the key: %w", err)
		}
		other := tokenwire.Key{Label: string(name[1].Value)}
		if len(name[0].Value) > 0 {
			other = tokenwire.Key{ID: name[0].Value}
		}
		public, err := t.objects(s, template(pkcs11.CKO_PUBLIC_KEY, other)...)
		if err != nil {
			return err
		}
		certificates, err := t.objects(s, template(pkcs11.CKO_CERTIFICATE, other)...)
		if err != nil {
			return err
		}
		var key any
		switch {
		case len(public) == 1:
			key, err = t.publicKey(s, public[0])
		case len(public) > 1:
			return fmt.Errorf("the token has more than one public key with %s", keyName(other))
		case len(certificates) > 0:
			key, err = t.certified(s, certificates[0])
		default:
			return fmt.Errorf("the token has neither a public key nor a certificate with %s: write the public key to it, beside the private one",
				keyName(other))
		}
		if err == nil {
			spki, err = x509.MarshalPKIXPublicKey(key)
		}
		return err
	})
	return spki, err
}

func (t *token) attribute(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, attr uint) ([]byte, error) {
	list, err := t.module.GetAttributeValue(s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(attr, nil)})
	if err != nil {
		return nil, fmt.Errorf("read the public key: %w", err)
	}
	return list[0].Value, nil
}

func (t *token) publicKey(s pkcs11.SessionHandle, h pkcs11.ObjectHandle) (any, error) {
	params, err := t.attribute(s, h, pkcs11.CKA_EC_PARAMS)
	if err != nil || len(params) == 0 {
		return t.rsaKey(s, h)
	}
	var oid asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(params, &oid); err != nil || len(rest) != 0 {
		return nil, errors.New("the public key has a curve without a name")
	}
	curve := map[string]elliptic.Curve{"1.2.840.10045.3.1.7": elliptic.P256(), "1.3.132.0.34": elliptic.P384()}[oid.String()]
	if curve == nil {
		return nil, fmt.Errorf("the public key has the curve %s: want P-256 or P-384", oid)
	}
	point, err := t.attribute(s, h, pkcs11.CKA_EC_POINT)
	if err != nil {
		return nil, err
	}
	var inner []byte // PKCS #11 wants the point in an OCTET STRING; some tokens have it without
	if rest, err := asn1.Unmarshal(point, &inner); err == nil && len(rest) == 0 {
		point = inner
	}
	return ecdsa.ParseUncompressedPublicKey(curve, point)
}

func (t *token) rsaKey(s pkcs11.SessionHandle, h pkcs11.ObjectHandle) (any, error) {
	n, err := t.attribute(s, h, pkcs11.CKA_MODULUS)
	if err != nil {
		return nil, err
	}
	e, err := t.attribute(s, h, pkcs11.CKA_PUBLIC_EXPONENT)
	if err != nil {
		return nil, err
	}
	exponent := new(big.Int).SetBytes(e)
	if !exponent.IsInt64() || exponent.Int64() > 1<<31-1 {
		return nil, errors.New("the public key has an exponent that is too large")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
}

func (t *token) certified(s pkcs11.SessionHandle, h pkcs11.ObjectHandle) (any, error) {
	raw, err := t.attribute(s, h, pkcs11.CKA_VALUE)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("the certificate beside the key: %w", err)
	}
	return cert.PublicKey, nil
}
