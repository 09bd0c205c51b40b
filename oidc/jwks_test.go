package oidc

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func jwk(t *testing.T, k jose.JSONWebKey, over map[string]any) map[string]any {
	t.Helper()
	raw, err := k.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	for name, v := range over {
		out[name] = v
	}
	return out
}

func TestParseJWKS(t *testing.T) {
	k := testKeys()
	good := jwk(t, jose.JSONWebKey{Key: k.rsa.Public(), KeyID: "a"}, nil)
	raised := func(f func(*rsa.PublicKey)) crypto.PublicKey {
		pub := &rsa.PublicKey{N: new(big.Int).Set(k.rsa.N), E: k.rsa.E}
		f(pub)
		return pub
	}
	many := make([]any, 101)
	for n := range many {
		many[n] = jwk(t, jose.JSONWebKey{Key: k.p256.Public(), KeyID: fmt.Sprint(n)}, nil)
	}
	for _, tc := range []struct {
		name string
		keys []any
		kept int // -1: the set is refused
	}{
		{"one good key", []any{good}, 1},
		{"the same key twice under one kid", []any{good, good}, 2},
		{"two keys that claim one kid: neither", []any{good, jwk(t, jose.JSONWebKey{Key: k.other.Public(), KeyID: "a"}, nil), jwk(t, jose.JSONWebKey{Key: k.p256.Public(), KeyID: "b"}, nil)}, 1},
		{"use enc", []any{jwk(t, jose.JSONWebKey{Key: k.rsa.Public(), Use: "enc"}, nil), good}, 1},
		{"RSA of 1024 bits", []any{jwk(t, jose.JSONWebKey{Key: k.small.Public()}, nil), good}, 1},
		{"RSA exponent 1", []any{jwk(t, jose.JSONWebKey{Key: raised(func(p *rsa.PublicKey) { p.E = 1 })}, nil), good}, 1},
		{"RSA exponent even", []any{jwk(t, jose.JSONWebKey{Key: raised(func(p *rsa.PublicKey) { p.E = 65536 })}, nil), good}, 1},
		{"RSA modulus even", []any{jwk(t, jose.JSONWebKey{Key: raised(func(p *rsa.PublicKey) { p.N.SetBit(p.N, 0, 0) })}, nil), good}, 1},
		{"RSA of 16384 bits", []any{jwk(t, jose.JSONWebKey{Key: raised(func(p *rsa.PublicKey) { p.N.SetBit(p.N, 16383, 1) })}, nil), good}, 1},
		{"EC point off the curve", []any{jwk(t, jose.JSONWebKey{Key: k.p256.Public()}, map[string]any{"x": b64(make([]byte, 32))}), good}, 1},
		{"symmetric key", []any{map[string]any{"kty": "oct", "k": b64([]byte("secret"))}, good}, 1},
		{"symmetric key of no bytes", []any{map[string]any{"kty": "oct", "k": ""}, good}, 1},
		{"a kind of key from the future", []any{map[string]any{"kty": "AKP", "alg": "ML-DSA-65"}, good}, 1},
		{"not an object", []any{7, good}, 1},
		{"nothing usable", []any{7}, -1},
		{"empty", []any{}, -1},
		{"private key published", []any{good, jwk(t, jose.JSONWebKey{Key: k.other, KeyID: "b"}, nil)}, -1},
		{"101 keys", many, -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			raw, err := json.Marshal(map[string]any{"keys": tc.keys})
			if err != nil {
				t.Fatal(err)
			}
			set, err := ParseJWKS(raw)
			switch {
			case tc.kept < 0 && err == nil:
				t.Fatal("accepted")
			case tc.kept >= 0 && err != nil:
				t.Fatal(err)
			case tc.kept >= 0 && len(set.keys) != tc.kept:
				t.Fatalf("kept %d keys, want %d", len(set.keys), tc.kept)
			}
		})
	}
	for _, raw := range []string{"", "null", "[]", "{", "<html>", strings.Repeat(" ", maxDocument+1) + `{"keys":[]}`} {
		if _, err := ParseJWKS([]byte(raw)); err == nil {
			t.Errorf("%.20q accepted", raw)
		}
	}
}

// A token without kid leaves a choice only where there are several keys.
func TestNoKidNeedsOneKey(t *testing.T) {
	k := testKeys()
	raw := sign(t, k.rsa, "RS256", nil, map[string]any{})
	one, err := StaticKeys(k.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	two, err := StaticKeys(k.other.Public(), k.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.VerifySignature(t.Context(), raw); err != nil {
		t.Error(err)
	}
	if _, err := two.VerifySignature(t.Context(), raw); err == nil {
		t.Error("two keys, no kid: accepted")
	}
	if _, err := StaticKeys(k.small.Public()); err == nil {
		t.Error("a static RSA key of 1024 bits was taken")
	}
}

// TestEnds: a set ends with the last of its keys that has a certificate, if all of them have one.
func TestEnds(t *testing.T) {
	k := testKeys()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name string
		days []int // of each key's certificate; 0 is none
		want int   // days; 0 is no end
	}{
		{"one key", []int{40}, 40},
		{"the last one counts, first", []int{40, 30}, 40},
		{"the last one counts, second", []int{30, 40}, 40},
		{"no certificate", []int{0}, 0},
		{"a key without one, first", []int{0, 40}, 0},
		{"a key without one, second", []int{40, 0}, 0},
	} {
		var list []any
		for n, days := range tc.days {
			public := []crypto.Signer{k.rsa, k.p256}[n].Public()
			own := jose.JSONWebKey{Key: public, KeyID: fmt.Sprint(n)}
			if days > 0 {
				tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now, NotAfter: now.AddDate(0, 0, days)}
				der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, public, k.rsa)
				if err != nil {
					t.Fatal(err)
				}
				cert, err := x509.ParseCertificate(der)
				if err != nil {
					t.Fatal(err)
				}
				own.Certificates = []*x509.Certificate{cert}
			}
			list = append(list, jwk(t, own, nil))
		}
		raw, err := json.Marshal(map[string]any{"keys": list})
		if err != nil {
			t.Fatal(err)
		}
		set, err := ParseJWKS(raw)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		if last := set.Ends(); last != nil {
			got = int(last.NotAfter.Sub(now).Hours() / 24)
		}
		if got != tc.want {
			t.Errorf("%s: ends after %d days, want %d", tc.name, got, tc.want)
		}
	}
}

func FuzzParseJWKS(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if set, err := ParseJWKS(raw); err == nil {
			for _, k := range set.keys {
				if checkKey(k.public) != nil {
					t.Fatalf("kept %+v", k)
				}
			}
		}
	})
}
