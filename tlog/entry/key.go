package entry

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"unicode"
)

const (
	pemKey   = "PUBLIC KEY"
	pemCert  = "CERTIFICATE"
	maxChain = 10      // certificates in one PEM bundle
	maxRSA   = 8192    // bits; a larger key only costs time
	maxText  = 1 << 20 // bytes of PEM; decoding a larger one only costs memory
)

// Key is a public key, a certificate, or a certificate chain with the leaf first.
type Key struct {
	pub   crypto.PublicKey
	certs []*x509.Certificate // nil for a bare key
	pem   []byte
}

// ParseKey reads PEM: one "PUBLIC KEY" (SPKI), one "CERTIFICATE", or up to ten certificates.
// Text before the first block is skipped, as upstream does. The key may keep data, which nobody writes to from then
// on. Errors wrap ErrInvalid.
func ParseKey(data []byte) (*Key, error) {
	if len(data) > maxText {
		return nil, Invalidf("public key of %d bytes: at most %d are taken", len(data), maxText)
	}
	data = bytes.TrimLeftFunc(data, unicode.IsSpace)
	plain := bytes.TrimRightFunc(data, unicode.IsSpace)
	data, plain = plain, data[:min(len(plain)+1, len(data))]
	k, err := parsePlain(plain)
	if k != nil || err != nil {
		return k, err
	}
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, Invalidf("public key is not PEM")
	}
	switch {
	case len(rest) > 0:
		k, err = parseChain(data)
	case block.Type == pemKey:
		k, err = parsePublic(block.Bytes)
	case block.Type == pemCert:
		k, err = parseCerts([][]byte{block.Bytes})
	default:
		return nil, Invalidf("public key has PEM type %.32q: want PUBLIC KEY or CERTIFICATE", block.Type)
	}
	if err != nil {
		return nil, err
	}
	if err := checkSize(k.pub); err != nil {
		return nil, err
	}
	return k, nil
}

// parsePlain is ParseKey for the one key or certificate that comes in its canonical form; it returns neither a key
// nor an error for all else.
func parsePlain(data []byte) (*Key, error) {
	if der, canonical, ok := plainPEM(pemKey, data); ok {
		if pub, err := parseP256(der); err == nil {
			return &Key{pub: pub, pem: canonical}, nil
		}
		return nil, nil
	}
	der, canonical, ok := plainPEM(pemCert, data)
	if !ok {
		return nil, nil
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, Invalid("certificate cannot be parsed", err)
	}
	return &Key{pub: c.PublicKey, certs: []*x509.Certificate{c}, pem: canonical}, checkSize(c.PublicKey)
}

// ReadKey reads what [Key.PEM] gave, for its fingerprint and subjects: what was checked then is not
// checked again, and there is no Public. Errors wrap ErrInvalid.
func ReadKey(canonical []byte) (*Key, error) {
	block, _ := pem.Decode(canonical)
	switch {
	case block == nil:
		return nil, Invalidf("public key is not PEM")
	case block.Type == pemKey:
		return &Key{pem: canonical}, nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, Invalid("certificate cannot be parsed", err)
	}
	return &Key{pem: canonical, certs: []*x509.Certificate{cert}}, nil
}

// p256 is all of the SPKI of a P-256 key but its two coordinates of 32 bytes (RFC 5480 2).
var p256 = []byte("\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04")

func parsePublic(der []byte) (*Key, error) {
	if pub, err := parseP256(der); err == nil {
		return &Key{pub: pub, pem: encodePEM(pemKey, der)}, nil
	}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, Invalid("public key cannot be parsed", err)
	}
	// Encoded anew, not copied: SPKI has optional parts and the body must not depend on them.
	out, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, Invalid("public key is of an unsupported type", err)
	}
	return &Key{pub: pub, pem: encodePEM(pemKey, out)}, nil
}

var errNotP256 = errors.New("not the usual SPKI of a P-256 key")

// parseP256 reads the usual SPKI of a P-256 key, which has no optional parts: a prefix and a point, which
// must be on the curve.
func parseP256(der []byte) (*ecdsa.PublicKey, error) {
	if len(der) != len(p256)+64 || !bytes.HasPrefix(der, p256) {
		return nil, errNotP256
	}
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), der[len(p256)-1:])
}

func parseChain(data []byte) (*Key, error) {
	var ders [][]byte
	for len(data) > 0 {
		if len(ders) == maxChain {
			return nil, Invalidf("more than %d certificates in one PEM bundle", maxChain)
		}
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, Invalidf("data after a PEM block is not PEM")
		}
		ders = append(ders, block.Bytes)
	}
	return parseCerts(ders)
}

func parseCerts(ders [][]byte) (*Key, error) {
	k := &Key{}
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, Invalid("certificate cannot be parsed", err)
		}
		k.certs = append(k.certs, c)
		k.pem = append(k.pem, encodePEM(pemCert, c.Raw)...)
	}
	k.pub = k.certs[0].PublicKey
	return k, nil
}

// ParseKeyDER reads a DER SubjectPublicKeyInfo. Errors wrap ErrInvalid.
func ParseKeyDER(der []byte) (*Key, error) {
	k, err := parsePublic(der)
	if err != nil {
		return nil, err
	}
	return k, checkSize(k.pub)
}

// ParseCertDER reads a DER certificate. Errors wrap ErrInvalid.
func ParseCertDER(der []byte) (*Key, error) {
	k, err := parseCerts([][]byte{der})
	if err != nil {
		return nil, err
	}
	return k, checkSize(k.pub)
}

func checkSize(pub crypto.PublicKey) error {
	if k, ok := pub.(*rsa.PublicKey); ok && k.N.BitLen() > maxRSA {
		return Invalidf("RSA key of %d bits: at most %d are taken", k.N.BitLen(), maxRSA)
	}
	return nil
}

// Public returns the key, or that of the first certificate.
func (k *Key) Public() crypto.PublicKey { return k.pub }

// PEM returns the canonical form: every block encoded anew, 64 columns, a final newline. This is
// what a body holds and what search keys hash.
func (k *Key) PEM() []byte { return k.pem }

// Fingerprint returns the hex SHA-256 of the canonical PEM, the search key of a key.
func (k *Key) Fingerprint() string {
	return HexSum(k.pem)
}

// AppendSigner appends the search keys of who has signed an envelope: the fingerprint of the key, and the names in its
// certificate. Upstream indexes the fingerprint as if it were a digest, "sha256:" before it, where its own search for
// a public key does not look; so it is there without that too.
func (k *Key) AppendSigner(keys []string) []string {
	sum := SumKey(k.pem)
	return append(append(keys, sum, sum[len(sha256Key):]), k.Subjects()...)
}

// HexSum returns the SHA-256 of b in hexadecimal.
func HexSum(b []byte) string { return SumKey(b)[len(sha256Key):] }

const sha256Key = "sha256:"

// SumKey returns "sha256:" and the SHA-256 of b in hexadecimal, which is how search keys name a digest.
func SumKey(b []byte) string {
	var text [len(sha256Key) + 2*sha256.Size]byte
	sum := sha256.Sum256(b)
	hex.Encode(text[copy(text[:], sha256Key):], sum[:])
	return string(text[:])
}

// Subjects returns the alternative names of the first certificate as search keys: DNS names,
// email addresses, IP addresses, URIs and Fulcio's otherName; none for a bare key.
func (k *Key) Subjects() []string {
	if len(k.certs) == 0 {
		return nil
	}
	return subjects(k.certs[0])
}

// CheckChain says whether each certificate of a chain leads to the last one. Expiry does not
// matter: the log is no judge of time.
func (k *Key) CheckChain() error {
	if len(k.certs) < 2 {
		return nil
	}
	roots, middle := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(k.certs[len(k.certs)-1])
	for _, c := range k.certs[1 : len(k.certs)-1] {
		middle.AddCert(c)
	}
	_, err := k.certs[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: middle, CurrentTime: k.certs[0].NotBefore,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return Invalid("certificates do not form a chain", err)
	}
	return nil
}
