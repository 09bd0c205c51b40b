package tsa

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidSigningTime          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	oidSigningCertificateV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}

	directory = cbasn1.Tag(4).ContextSpecific().Constructed() // GeneralName: directoryName
)

// encode makes a signed response (RFC 3161 2.4.2), byte for byte as upstream's server encodes one, but that
// signingTime is genTime: the clock is read once.
func (a *Authority) encode(req Request, serial *big.Int, at time.Time) ([]byte, error) {
	info, err := encoded(320, func(b *cryptobyte.Builder) { a.addInfo(b, req, serial, at) })
	if err != nil {
		return nil, fmt.Errorf("encode TSTInfo: %w", err)
	}
	attributes, err := a.attributes(req, a.sum(info), at)
	if err != nil {
		return nil, fmt.Errorf("encode signed attributes: %w", err)
	}
	sig, err := a.key.Sign(rand.Reader, a.sum(attributes), a.hash)
	if err != nil {
		return nil, err
	}
	attributes[0] = byte(tag0) // [0] IMPLICIT in the token, a SET OF where they are signed (RFC 5652 5.4)
	return a.wrap(req, info, attributes, sig)
}

// wrap puts what was signed into a TimeStampResp.
func (a *Authority) wrap(req Request, info, attributes, sig []byte) ([]byte, error) {
	size := len(a.chain[0].Raw) + len(a.chain[0].RawIssuer) + len(info) + len(attributes) + len(sig) + 256
	return encoded(size, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1Int64(0) }) // PKIStatusInfo: granted
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {                      // ContentInfo
				b.AddASN1ObjectIdentifier(oidSignedData)
				b.AddASN1(tag0, func(b *cryptobyte.Builder) { a.addSignedData(b, req.Certificates, info, attributes, sig) })
			})
		})
	})
}

// encoded returns what add adds, some size bytes.
func encoded(size int, add func(*cryptobyte.Builder)) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, size))
	add(b)
	return b.Bytes()
}

// addInfo adds a TSTInfo (RFC 3161 2.4.2).
func (a *Authority) addInfo(b *cryptobyte.Builder, req Request, serial *big.Int, at time.Time) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1ObjectIdentifier(a.policy)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addDigest(b, req.Hash, true)
			b.AddASN1OctetString(req.Digest)
		})
		b.AddASN1BigInt(serial)
		b.AddASN1GeneralizedTime(at)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1Int64(int64(Accuracy / time.Second)) })
		if req.Nonce != nil {
			b.AddASN1BigInt(req.Nonce)
		}
		b.AddASN1(tag0, func(b *cryptobyte.Builder) {
			b.AddASN1(directory, func(b *cryptobyte.Builder) { b.AddBytes(a.chain[0].RawSubject) })
		})
	})
}

// addDigest adds the AlgorithmIdentifier of a digest, whose parameters are NULL or absent (RFC 5754 2).
func addDigest(b *cryptobyte.Builder, hash crypto.Hash, null bool) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, h := range hashes {
			if h.hash == hash {
				b.AddASN1ObjectIdentifier(h.oid)
			}
		}
		if null {
			b.AddASN1NULL()
		}
	})
}

// attributes returns the SET OF signed attributes (RFC 5652 11, RFC 5035 3): content type, digest of the
// content, time, and which certificate signs, named by the digest that was asked for, as upstream does.
func (a *Authority) attributes(req Request, digest []byte, at time.Time) ([]byte, error) {
	leaf := a.chain[0]
	h := req.Hash.New()
	h.Write(leaf.Raw)
	issuer := func(b *cryptobyte.Builder) { // IssuerSerial
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(directory, func(b *cryptobyte.Builder) { b.AddBytes(leaf.RawIssuer) })
		})
		b.AddASN1BigInt(leaf.SerialNumber)
	}
	certificate := func(b *cryptobyte.Builder) { // ESSCertIDv2
		if req.Hash != crypto.SHA256 { // the default
			addDigest(b, req.Hash, true)
		}
		b.AddASN1OctetString(h.Sum(nil))
		b.AddASN1(cbasn1.SEQUENCE, issuer)
	}
	var list [][]byte
	for _, attribute := range []struct {
		oid   asn1.ObjectIdentifier
		value func(*cryptobyte.Builder)
	}{
		{oidContentType, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidTSTInfo) }},
		{oidSigningTime, func(b *cryptobyte.Builder) { addTime(b, at) }},
		{oidMessageDigest, func(b *cryptobyte.Builder) { b.AddASN1OctetString(digest) }},
		{oidSigningCertificateV2, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1(cbasn1.SEQUENCE, certificate) })
			})
		}},
	} {
		der, err := encoded(192, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(attribute.oid)
				b.AddASN1(cbasn1.SET, attribute.value)
			})
		})
		if err != nil {
			return nil, err
		}
		list = append(list, der)
	}
	slices.SortFunc(list, bytes.Compare) // X.690 11.6
	all := slices.Concat(list...)
	return encoded(len(all)+4, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(all) })
	})
}

// addTime adds UTCTime through 2049 and GeneralizedTime after (RFC 5652 11.3).
func addTime(b *cryptobyte.Builder, t time.Time) {
	if t.Year() < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}

// addSignedData adds a SignedData with one SignerInfo (RFC 5652 5.1, 5.3).
func (a *Authority) addSignedData(b *cryptobyte.Builder, certificate bool, info, attributes, sig []byte) {
	leaf := a.chain[0]
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(3)
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { addDigest(b, a.hash, false) })
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidTSTInfo)
			b.AddASN1(tag0, func(b *cryptobyte.Builder) { b.AddASN1OctetString(info) })
		})
		b.AddASN1(tag0, func(b *cryptobyte.Builder) { // of none, the empty set, as upstream has it
			if certificate {
				b.AddBytes(leaf.Raw)
			}
		})
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddBytes(leaf.RawIssuer)
					b.AddASN1BigInt(leaf.SerialNumber)
				})
				addDigest(b, a.hash, false)
				b.AddBytes(attributes)
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(signatureOID(a.hash)) })
				b.AddASN1OctetString(sig)
			})
		})
	})
}

// signatureOID is ECDSA with a digest (RFC 5758 3.2).
func signatureOID(hash crypto.Hash) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, map[crypto.Hash]int{crypto.SHA256: 2, crypto.SHA384: 3, crypto.SHA512: 4}[hash]}
}
