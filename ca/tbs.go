package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // RFC 5280 4.2.1.2 method 1 names keys by SHA-1; nothing relies on its strength
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidKeyUsage       = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidExtKeyUsage    = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidSubjectKeyID   = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidAuthorityKeyID = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidSAN            = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidCodeSigning    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
	oidPoison         = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3} // RFC 6962 3.1
	oidSCTList        = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2} // RFC 6962 3.3

	tagExtensions = casn1.Tag(3).ContextSpecific().Constructed()
	poison        = pkix.Extension{Id: oidPoison, Critical: true, Value: asn1.NullBytes}
)

// serialBits is what 20 octets hold without a sign bit (RFC 5280 4.1.2.2).
const serialBits = 159

func newSerial() (*big.Int, error) {
	for {
		n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
		if err != nil {
			return nil, fmt.Errorf("serial number: %w", err)
		}
		if n.Sign() > 0 {
			return n, nil
		}
	}
}

// subjectKeyID is SHA-1 of the subjectPublicKey bits (RFC 5280 4.2.1.2, method 1):
//
//	SubjectPublicKeyInfo ::= SEQUENCE { algorithm AlgorithmIdentifier, subjectPublicKey BIT STRING }
func subjectKeyID(spki []byte) ([]byte, error) {
	var info cryptobyte.String
	var key asn1.BitString
	in := cryptobyte.String(spki)
	if !in.ReadASN1(&info, casn1.SEQUENCE) || !info.SkipASN1(casn1.SEQUENCE) || !info.ReadASN1BitString(&key) {
		return nil, errors.New("decode public key: not a SubjectPublicKeyInfo")
	}
	id := sha1.Sum(key.Bytes)
	return id[:], nil
}

// algorithm is how an issuing key signs.
type algorithm struct {
	id   []byte // DER AlgorithmIdentifier
	x509 x509.SignatureAlgorithm
	hash crypto.Hash
}

func algorithmOf(pub crypto.PublicKey) (algorithm, error) {
	var oid asn1.ObjectIdentifier
	var null bool
	a := algorithm{}
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			oid, a.x509, a.hash = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, x509.ECDSAWithSHA256, crypto.SHA256
		case elliptic.P384():
			oid, a.x509, a.hash = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, x509.ECDSAWithSHA384, crypto.SHA384
		}
	case *rsa.PublicKey:
		if k.N.BitLen() >= 2048 {
			oid, a.x509, a.hash, null = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, x509.SHA256WithRSA, crypto.SHA256, true
		}
	}
	if oid == nil {
		return algorithm{}, errors.New("an issuing key must be ECDSA P-256, ECDSA P-384 or RSA of 2048 bits or more: clients verify no other")
	}
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if null {
			b.AddASN1NULL()
		}
	})
	a.id = b.BytesOrPanic()
	return a, nil
}

// commonSize is what most certificates stay under: room for one, made before it is encoded.
const commonSize = 1 << 10

// template is everything that a certificate says, apart from its last extension.
type template struct {
	serial     *big.Int
	issuer     []byte // DER Name
	notBefore  time.Time
	notAfter   time.Time
	spki       []byte // DER SubjectPublicKeyInfo
	extensions []pkix.Extension
}

// encode returns the TBSCertificate (RFC 5280 4.1) with last as its last extension.
func (t template) encode(alg algorithm, last pkix.Extension) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, commonSize))
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) }) // v3
		b.AddASN1BigInt(t.serial)
		b.AddBytes(alg.id)
		b.AddBytes(t.issuer)
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addTime(b, t.notBefore)
			addTime(b, t.notAfter)
		})
		b.AddASN1(casn1.SEQUENCE, func(*cryptobyte.Builder) {}) // subject: empty
		b.AddBytes(t.spki)
		b.AddASN1(tagExtensions, func(b *cryptobyte.Builder) {
			b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, e := range t.extensions {
					addExtension(b, e)
				}
				addExtension(b, last)
			})
		})
	})
	tbs, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode TBSCertificate: %w", err)
	}
	return tbs, nil
}

// addTime writes UTCTime through 2049 and GeneralizedTime after (RFC 5280 4.1.2.5).
func addTime(b *cryptobyte.Builder, t time.Time) {
	if t.Year() < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}

func addExtension(b *cryptobyte.Builder, e pkix.Extension) {
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(e.Id)
		if e.Critical { // DEFAULT FALSE is left out in DER
			b.AddASN1Boolean(true)
		}
		b.AddASN1OctetString(e.Value)
	})
}

// leafExtensions are the extensions that every leaf has, in the order that upstream writes them:
// key usage, extended key usage, key identifiers, name, then identity.
func leafExtensions(subjectID, authorityID []byte, san pkix.Extension, identity []pkix.Extension) ([]pkix.Extension, error) {
	usage, err := asn1.Marshal(asn1.BitString{Bytes: []byte{0x80}, BitLength: 1}) // digitalSignature
	if err != nil {
		return nil, err
	}
	purpose, err := asn1.Marshal([]asn1.ObjectIdentifier{oidCodeSigning})
	if err != nil {
		return nil, err
	}
	subject, err := asn1.Marshal(subjectID)
	if err != nil {
		return nil, err
	}
	authority, err := asn1.Marshal(struct {
		ID []byte `asn1:"tag:0"`
	}{authorityID})
	if err != nil {
		return nil, err
	}
	return append([]pkix.Extension{
		{Id: oidKeyUsage, Critical: true, Value: usage},
		{Id: oidExtKeyUsage, Value: purpose},
		{Id: oidSubjectKeyID, Value: subject},
		{Id: oidAuthorityKeyID, Value: authority},
		san,
	}, identity...), nil
}

// assemble wraps a TBSCertificate and a signature over it into a Certificate.
func assemble(tbs []byte, alg algorithm, sig []byte) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+len(alg.id)+len(sig)+16))
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(alg.id)
		b.AddASN1BitString(sig)
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode certificate: %w", err)
	}
	return der, nil
}
