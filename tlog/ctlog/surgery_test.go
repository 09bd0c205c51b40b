package ctlog_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
)

// Certificates that crypto/x509 would not write: a field of the TBSCertificate is replaced and the
// whole signed again by the intermediate, so that nothing but that field is wrong.

// serialOf, validityOf and edOID find the element to replace.
func serialOf(c *x509.Certificate) []byte {
	der, err := asn1.Marshal(c.SerialNumber)
	if err != nil {
		panic(err)
	}
	return der
}

func validityOf(c *x509.Certificate) []byte {
	return validity(c.NotBefore.UTC().Format("060102150405Z"), c.NotAfter.UTC().Format("060102150405Z"))
}

func edOID(*x509.Certificate) []byte { return []byte{6, 3, 0x2b, 0x65, 0x70} }

func spkiOf(c *x509.Certificate) []byte { return c.RawSubjectPublicKeyInfo }

// dsaSPKI is a DSA key of numbers that are small, but in their ranges.
func dsaSPKI(t *testing.T) []byte {
	t.Helper()
	params, err := asn1.Marshal(struct{ P, Q, G int }{23, 11, 2})
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct {
		Alg pkix.AlgorithmIdentifier
		Key asn1.BitString
	}{
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}, Parameters: asn1.RawValue{FullBytes: params}},
		asn1.BitString{Bytes: []byte{2, 1, 8}, BitLength: 24},
	})
	if err != nil {
		t.Fatal(err)
	}
	if key, err := x509.ParsePKIXPublicKey(der); err != nil {
		t.Fatalf("crypto/x509 refuses it by itself: %T, %v", key, err)
	}
	return der
}

// ber writes the length of the validity with a byte more than DER allows.
func ber(t *testing.T, s *stack, der []byte) []byte {
	t.Helper()
	return surgery(t, s, der, validityOf, func() []byte {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		old := validityOf(c)
		return append([]byte{0x30, 0x81, old[1]}, old[2:]...)
	}())
}

func validity(from, to string) []byte {
	body := append([]byte{0x17, byte(len(from))}, from...)
	body = append(append(body, 0x17, byte(len(to))), to...)
	return append([]byte{0x30, byte(len(body))}, body...)
}

func surgery(t *testing.T, s *stack, der []byte, find func(*x509.Certificate) []byte, replacement []byte) []byte {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	old := find(c)
	if bytes.Count(c.RawTBSCertificate, old) != 1 {
		t.Fatalf("%x is not there once", old)
	}
	var tbs asn1.RawValue
	if _, err := asn1.Unmarshal(c.RawTBSCertificate, &tbs); err != nil {
		t.Fatal(err)
	}
	return resign(t, s, bytes.Replace(tbs.Bytes, old, replacement, 1))
}

// duplicated holds one extension twice.
func duplicated(t *testing.T, s *stack) []byte {
	t.Helper()
	a, b := asn1.ObjectIdentifier{1, 2, 3, 4}, asn1.ObjectIdentifier{1, 2, 3, 5}
	c := s.leaf(t, with(pkix.Extension{Id: a, Value: []byte{5, 0}}, pkix.Extension{Id: b, Value: []byte{5, 0}}, poison))
	return surgery(t, s, c.Raw, func(*x509.Certificate) []byte { return []byte{6, 3, 0x2a, 3, 5} }, []byte{6, 3, 0x2a, 3, 4})
}

// resign wraps the content of a TBSCertificate and signs it.
func resign(t *testing.T, s *stack, content []byte) []byte {
	t.Helper()
	tbs, err := asn1.Marshal(asn1.RawValue{Tag: 16, IsCompound: true, Bytes: content})
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(tbs)
	sig, err := s.ca.IntermediateKey.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct {
		TBS asn1.RawValue
		Alg pkix.AlgorithmIdentifier
		Sig asn1.BitString
	}{
		asn1.RawValue{FullBytes: tbs},
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}},
		asn1.BitString{Bytes: sig, BitLength: len(sig) * 8},
	})
	if err != nil {
		t.Fatal(err)
	}
	return der
}
