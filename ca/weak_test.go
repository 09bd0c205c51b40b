package ca_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/keys"
)

// rsaPEM is a public key of any numbers.
func rsaPEM(t testing.TB, n, e *big.Int) []byte {
	t.Helper()
	inner, err := asn1.Marshal(struct{ N, E *big.Int }{n, e})
	if err != nil {
		t.Fatal(err)
	}
	spki, err := keys.SPKI(rsa2048().Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: bitString(t, spki, inner)})
}

func prime(t testing.TB, bits int) *big.Int {
	t.Helper()
	p, err := rand.Prime(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestInsecureKeys: B-071 to B-073.
func TestInsecureKeys(t *testing.T) {
	f4 := big.NewInt(65537)
	n := rsa2048().N
	mul := func(a, b *big.Int) *big.Int { return new(big.Int).Mul(a, b) }
	p := prime(t, 1024)
	near := new(big.Int).Add(p, big.NewInt(2))
	for !near.ProbablyPrime(20) {
		near.Add(near, big.NewInt(2))
	}
	roca := rocaModulus(t)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		name    string
		content []byte
	}
	rows := []row{
		{"P-224", spkiPEM(t, p224.Public())},
		{"X25519", spkiPEM(t, x25519.PublicKey())},
		{"2047 bits", rsaPEM(t, new(big.Int).Rsh(n, 1), f4)},
		{"2049 bits", rsaPEM(t, new(big.Int).SetBit(n, 2048, 1), f4)},
		{"even modulus", rsaPEM(t, new(big.Int).SetBit(n, 0, 0), f4)},
		{"modulus with a factor 997", rsaPEM(t, withFactor(n, 997), f4)},
		{"prime modulus", rsaPEM(t, prime(t, 2048), f4)},
		{"square of a prime", rsaPEM(t, mul(p, p), f4)},
		{"close primes", rsaPEM(t, mul(p, near), f4)},
		{"ROCA", rsaPEM(t, roca, f4)},
	}
	for _, bits := range []int{512, 1024, 5120, 16384, 65536} {
		odd := new(big.Int).SetBit(new(big.Int).Lsh(big.NewInt(1), uint(bits-1)), 0, 1)
		rows = append(rows, row{fmt.Sprintf("%d bits", bits), rsaPEM(t, odd, f4)})
	}
	for _, e := range []int64{1, 2, 3, 17, 65535, 65536, 65538, 1<<31 - 2} {
		rows = append(rows, row{fmt.Sprintf("e = %d", e), rsaPEM(t, n, big.NewInt(e))})
	}
	for _, tc := range rows {
		if _, err := ca.KeyFromProof(tc.content, []byte{1}, challenge); !errors.Is(err, ca.ErrInsecureKey) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	for name, e := range map[string]*big.Int{"2^31+1": big.NewInt(1<<31 + 1), "2^64": new(big.Int).Lsh(big.NewInt(1), 64), "negative": big.NewInt(-3)} {
		if _, err := ca.KeyFromProof(rsaPEM(t, n, e), []byte{1}, challenge); err == nil || errors.Is(err, ca.ErrPossession) {
			t.Errorf("e = %s: %v", name, err)
		}
	}
}

// withFactor is the largest odd multiple of f that is not above n and not below its top bit.
func withFactor(n *big.Int, f int64) *big.Int {
	m := new(big.Int).Sub(n, new(big.Int).Mod(n, big.NewInt(f)))
	if m.Bit(0) == 0 {
		m.Sub(m, big.NewInt(f))
	}
	return m
}

// rocaModulus makes a modulus as the flawed generator did: primes k*M + 65537^a mod M, with M the
// product of small primes.
func rocaModulus(t testing.TB) *big.Int {
	t.Helper()
	m := big.NewInt(2)
	for p := int64(3); p <= 701; p += 2 {
		if big.NewInt(p).ProbablyPrime(20) {
			m.Mul(m, big.NewInt(p))
		}
	}
	if m.BitLen() > 980 {
		t.Fatalf("M has %d bits", m.BitLen())
	}
	low := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(3), 1022), m) // both top bits set
	span := new(big.Int).Sub(new(big.Int).Div(new(big.Int).Lsh(big.NewInt(1), 1024), m), low)
	random := func(below *big.Int) *big.Int {
		n, err := rand.Int(rand.Reader, below)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	primeOf := func() *big.Int {
		for {
			k := random(span)
			c := new(big.Int).Exp(big.NewInt(65537), random(m), m)
			if c.Add(c, k.Mul(k.Add(k, low), m)); c.BitLen() == 1024 && c.ProbablyPrime(10) {
				return c
			}
		}
	}
	for {
		if n := new(big.Int).Mul(primeOf(), primeOf()); n.BitLen() == 2048 {
			return n
		}
	}
}

// TestSoundRSA: no sound key is taken for a weak one.
func TestSoundRSA(t *testing.T) {
	for range 4 {
		k := mustRSA(2048)
		if _, err := ca.KeyFromProof(spkiPEM(t, k.Public()), signChallenge(t, k, crypto.SHA256, challenge), challenge); err != nil {
			t.Error(err)
		}
	}
}

// TestSmallOrderPoints shows for every refused point why: a signature made without any key, R the
// identity and S zero, verifies under it for some message.
func TestSmallOrderPoints(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := keys.SPKI(ed.Public())
	if err != nil {
		t.Fatal(err)
	}
	forged := make([]byte, 64)
	forged[0] = 1
	points := ca.SmallOrder()
	if len(points) != 7 {
		t.Fatalf("%d points", len(points))
	}
	for _, y := range points {
		for _, sign := range []byte{0, 0x80} {
			p, err := hex.DecodeString(y)
			if err != nil {
				t.Fatal(err)
			}
			p[31] |= sign
			verified := false
			for i := range 200 {
				verified = verified || ed25519.Verify(p, fmt.Appendf(nil, "message %d", i), forged)
			}
			// x = 0 with the sign bit set encodes no point at all; nothing verifies, and it is refused too.
			if !verified && sign == 0 {
				t.Errorf("%x: nothing can be forged, it is not of small order", p)
			}
			if _, err := ca.KeyFromProof(bitString(t, spki, p), forged, challenge); !errors.Is(err, ca.ErrInsecureKey) {
				t.Errorf("%x: %v", p, err)
			}
		}
	}
}
