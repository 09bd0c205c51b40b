package ca_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"testing"
)

// Keys and requests that crypto/x509 would not write.

var (
	oidEC              = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
)

// spkiWith replaces the algorithm of an SPKI; params nil leaves the parameters out.
func spkiWith(t testing.TB, spki []byte, algorithm asn1.ObjectIdentifier, params any) []byte {
	t.Helper()
	var info struct {
		Alg pkix.AlgorithmIdentifier
		Key asn1.BitString
	}
	if _, err := asn1.Unmarshal(spki, &info); err != nil {
		t.Fatal(err)
	}
	info.Alg = pkix.AlgorithmIdentifier{Algorithm: algorithm}
	if params != nil {
		der, err := asn1.Marshal(params)
		if err != nil {
			t.Fatal(err)
		}
		info.Alg.Parameters = asn1.RawValue{FullBytes: der}
	}
	out, err := asn1.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// explicitP256 are the parameters of P-256 written out (RFC 3279 2.3.5), which say what its name says,
// or with another base point, that every key is anybody's.
func explicitP256() any {
	c := elliptic.P256().Params()
	type field struct {
		Type  asn1.ObjectIdentifier
		Prime *big.Int
	}
	type curve struct{ A, B []byte }
	a := new(big.Int).Sub(c.P, big.NewInt(3))
	return struct {
		Version  int
		Field    field
		Curve    curve
		Base     []byte
		Order    *big.Int
		Cofactor int
	}{
		1, field{asn1.ObjectIdentifier{1, 2, 840, 10045, 1, 1}, c.P}, curve{a.Bytes(), c.B.FillBytes(make([]byte, 32))},
		append([]byte{4}, append(c.Gx.FillBytes(make([]byte, 32)), c.Gy.FillBytes(make([]byte, 32))...)...), c.N, 1,
	}
}

// dsaSPKI is a DSA key of numbers that are small, but in their ranges (CVE-2025-58188 of crypto/x509).
func dsaSPKI(t testing.TB) []byte {
	t.Helper()
	der, err := asn1.Marshal(struct {
		Alg pkix.AlgorithmIdentifier
		Key asn1.BitString
	}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 3}}, asn1.BitString{Bytes: []byte{2, 1, 8}, BitLength: 24}})
	if err != nil {
		t.Fatal(err)
	}
	der = spkiWith(t, der, asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}, struct{ P, Q, G int }{23, 11, 2})
	if _, err := x509.ParsePKIXPublicKey(der); err != nil {
		t.Fatalf("crypto/x509 refuses it by itself: %v", err)
	}
	return der
}

// relabelled is a CSR that says it is signed by another algorithm; sig replaces the signature where it
// is not nil.
func relabelled(t testing.TB, der []byte, algorithm asn1.ObjectIdentifier, sig []byte) []byte {
	t.Helper()
	var csr csrParts
	if _, err := asn1.Unmarshal(der, &csr); err != nil {
		t.Fatal(err)
	}
	csr.Alg.Algorithm = algorithm
	if sig != nil {
		csr.Sig = asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}
	}
	out, err := asn1.Marshal(csr)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: out})
}

// signatureOf takes the signature out of a CSR.
func signatureOf(t testing.TB, request []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(request)
	var csr csrParts
	if _, err := asn1.Unmarshal(block.Bytes, &csr); err != nil {
		t.Fatal(err)
	}
	return csr.Sig.Bytes
}

type csrParts struct {
	TBS asn1.RawValue
	Alg pkix.AlgorithmIdentifier
	Sig asn1.BitString
}
