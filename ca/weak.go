package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
)

// checkKey says whether a key may be certified: ECDSA on P-256, P-384 or P-521, RSA of 2048, 3072
// or 4096 bits without a known weakness, Ed25519. Errors wrap ErrInsecureKey. A key's size is looked
// at before anything is calculated with it.
func checkKey(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if !slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, k.Curve) {
			return fmt.Errorf("curve is none of P-256, P-384, P-521: %w", ErrInsecureKey)
		}
		return nil
	case *rsa.PublicKey:
		return checkRSA(k)
	case ed25519.PublicKey:
		return checkEd25519(k)
	}
	return fmt.Errorf("key of type %T: %w", pub, ErrInsecureKey)
}

func checkRSA(k *rsa.PublicKey) error {
	n := k.N
	switch {
	case !slices.Contains([]int{2048, 3072, 4096}, n.BitLen()):
		return fmt.Errorf("RSA of %d bits, want 2048, 3072 or 4096: %w", n.BitLen(), ErrInsecureKey)
	case k.E < 65537 || k.E > 1<<31-1 || k.E%2 == 0:
		return fmt.Errorf("RSA exponent %d, want an odd one from 65537 to 2^31-1: %w", k.E, ErrInsecureKey)
	case n.Bit(0) == 0 || hasSmallFactor(n):
		return fmt.Errorf("RSA modulus with a small factor: %w", ErrInsecureKey)
	case isROCA(n):
		return fmt.Errorf("RSA modulus of a generator with the ROCA weakness (CVE-2017-15361): %w", ErrInsecureKey)
	case hasCloseFactors(n):
		return fmt.Errorf("RSA modulus of two close primes: %w", ErrInsecureKey)
	case n.ProbablyPrime(1):
		return fmt.Errorf("RSA modulus is itself prime: %w", ErrInsecureKey)
	}
	return nil
}

// smallPrimes are the odd primes below 1000.
var smallPrimes = primesBelow(1000)

func primesBelow(limit int64) []int64 {
	var primes []int64
	for n := int64(3); n < limit; n += 2 {
		if !slices.ContainsFunc(primes, func(p int64) bool { return n%p == 0 }) {
			primes = append(primes, n)
		}
	}
	return primes
}

func hasSmallFactor(n *big.Int) bool {
	var r big.Int
	for _, p := range smallPrimes {
		if r.Mod(n, big.NewInt(p)).Sign() == 0 {
			return true
		}
	}
	return false
}

// isROCA finds moduli made by the flawed generator of Infineon's RSALib: both primes, and so the
// modulus, are powers of 65537 modulo each small prime (Nemec et al., CCS 2017). A sound modulus
// passes for all of the primes below 168 with a chance of about 2^-28.
func isROCA(n *big.Int) bool {
	var r big.Int
	for _, p := range smallPrimes {
		if p > 167 {
			break
		}
		want := r.Mod(n, big.NewInt(p)).Int64()
		power := int64(1)
		found := false
		for range p {
			if power == want {
				found = true
				break
			}
			power = power * 65537 % p
		}
		if !found {
			return false
		}
	}
	return true
}

// fermatRounds is how far apart in steps of Fermat's method factors may be and still be found;
// vulnerable generators in the field fell within a hundred (CVE-2022-26320).
const fermatRounds = 100

// hasCloseFactors looks for a square a*a - n = b*b near the root of n.
func hasCloseFactors(n *big.Int) bool {
	a := new(big.Int).Sqrt(n)
	one := big.NewInt(1)
	b2, b := new(big.Int), new(big.Int)
	if b2.Mul(a, a).Cmp(n) == 0 {
		return true
	}
	for range fermatRounds {
		a.Add(a, one)
		b2.Sub(b2.Mul(a, a), n)
		if b.Sqrt(b2); b.Mul(b, b).Cmp(b2) == 0 {
			return true
		}
	}
	return false
}

// smallOrder are the encodings, without the sign bit, of the points of Ed25519 whose order divides
// 8, canonical and not: for such a key a signature over any message can be made up.
var smallOrder = [...]string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

func checkEd25519(k ed25519.PublicKey) error {
	if len(k) != ed25519.PublicKeySize {
		return fmt.Errorf("Ed25519 key of %d bytes: %w", len(k), ErrInsecureKey)
	}
	y := bytes.Clone(k)
	y[31] &= 0x7f
	if slices.Contains(smallOrder[:], hex.EncodeToString(y)) {
		return fmt.Errorf("Ed25519 point of small order: %w", ErrInsecureKey)
	}
	return nil
}
