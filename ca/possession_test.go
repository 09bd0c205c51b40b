package ca_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/keys"
)

const challenge = "dev@example.com"

func spkiPEM(t testing.TB, pub crypto.PublicKey) []byte {
	t.Helper()
	b, err := keys.PublicPEM(pub)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func signChallenge(t testing.TB, k crypto.Signer, h crypto.Hash, message string) []byte {
	t.Helper()
	digest := []byte(message)
	if h != 0 {
		hh := h.New()
		hh.Write(digest)
		digest = hh.Sum(nil)
	}
	sig, err := k.Sign(rand.Reader, digest, h)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func ecKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var rsa2048 = sync.OnceValue(func() *rsa.PrivateKey { return mustRSA(2048) })

func mustRSA(bits int) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return k
}

// TestKeysOfClients: every kind of key that clients use, with the hash that they use.
func TestKeysOfClients(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]struct {
		key  crypto.Signer
		hash crypto.Hash
		csr  x509.SignatureAlgorithm
	}{
		"P-256": {ecKey(t, elliptic.P256()), crypto.SHA256, x509.ECDSAWithSHA256}, "P-384": {ecKey(t, elliptic.P384()), crypto.SHA384, x509.ECDSAWithSHA384},
		"P-521": {ecKey(t, elliptic.P521()), crypto.SHA512, x509.ECDSAWithSHA512}, "RSA 2048": {rsa2048(), crypto.SHA256, x509.SHA256WithRSA},
		"RSA 3072": {mustRSA(3072), crypto.SHA256, x509.SHA256WithRSA}, "Ed25519": {ed, 0, x509.PureEd25519},
	} {
		sig := signChallenge(t, k.key, k.hash, challenge)
		der, err := keys.SPKI(k.key.Public())
		if err != nil {
			t.Fatal(err)
		}
		oneLine := []byte("-----BEGIN PUBLIC KEY-----\n" + base64Line(der) + "\n-----END PUBLIC KEY-----") // sigstore-java
		for form, content := range map[string][]byte{"PEM": spkiPEM(t, k.key.Public()), "DER": der, "one line": oneLine} {
			if _, err := ca.KeyFromProof(content, sig, challenge); err != nil {
				t.Errorf("%s as %s: %v", name, form, err)
			}
		}
		if _, err := ca.KeyFromCSR(csrPEM(t, k.key, &x509.CertificateRequest{SignatureAlgorithm: k.csr})); err != nil {
			t.Errorf("%s as CSR: %v", name, err)
		}
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsa2048().PublicKey)})
	if _, err := ca.KeyFromProof(pkcs1, signChallenge(t, rsa2048(), crypto.SHA256, challenge), challenge); err != nil {
		t.Errorf("PKCS #1: %v", err)
	}
}

func base64Line(der []byte) string {
	b := pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: der})
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[1:len(lines)-1], "")
}

// TestUnreadableKeys: B-070, B-072 to B-074.
func TestUnreadableKeys(t *testing.T) {
	k := ecKey(t, elliptic.P256())
	good := spkiPEM(t, k.Public())
	der, err := keys.SPKI(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	block := func(label string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}) }
	point := der[len(der)-65:]
	swapPoint := func(p []byte) []byte { return bitString(t, der, p) }
	offCurve := bytes.Clone(point)
	offCurve[64] ^= 1
	compressed := elliptic.MarshalCompressed(elliptic.P256(), k.X, k.Y)
	hybrid := append([]byte{6 + byte(k.Y.Bit(0))}, point[1:]...)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edDER, err := keys.SPKI(ed.Public())
	if err != nil {
		t.Fatal(err)
	}
	rsaDER, err := keys.SPKI(rsa2048().Public())
	if err != nil {
		t.Fatal(err)
	}
	replace := func(b []byte, old, repl string) []byte {
		o, err := hex.DecodeString(old)
		if err != nil || bytes.Count(b, o) != 1 {
			t.Fatalf("%s is not there once", old)
		}
		r, err := hex.DecodeString(repl)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Replace(b, o, r, 1)
	}
	for _, tc := range []struct {
		name, row string
		content   []byte
	}{
		{"nothing", "B-068", nil},
		{"two keys", "B-070", append(bytes.Clone(good), good...)},
		{"private key", "B-070", block("PRIVATE KEY", private)},
		{"certificate label", "B-070", block("CERTIFICATE", der)},
		{"wrong label", "B-070", block("EC PUBLIC KEY", der)},
		{"CRLF", "B-070", bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n"))},
		{"text before", "B-070", append([]byte("key:\n"), good...)},
		{"text after", "B-070", append(bytes.Clone(good), "x"...)},
		{"PEM headers", "B-070", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Headers: map[string]string{"a": "b"}, Bytes: der})},
		{"1 MiB of dashes", "B-070", bytes.Repeat([]byte("-"), 1<<20)},
		{"dashes within the limit", "B-070", bytes.Repeat([]byte("-----BEGIN "), 1400)},
		{"point at infinity", "B-072", swapPoint([]byte{0})},
		{"off the curve", "B-072", swapPoint(offCurve)},
		{"compressed", "B-072", swapPoint(compressed)},
		{"hybrid", "B-072", swapPoint(hybrid)},
		{"secp256k1", "B-072", replace(der, "06082a8648ce3d030107", "06082b8104000a000000")},
		{"Ed25519 of 31 bytes", "B-073", bitString(t, edDER, make([]byte, 31))},
		{"Ed25519 of 33 bytes", "B-073", bitString(t, edDER, make([]byte, 33))},
		{"Ed448", "B-073", replace(edDER, "06032b6570", "06032b6571")},
		{"Ed25519 with parameters", "B-074", replace(edDER, "302a300506032b6570", "302c300706032b65700500")},
		{"bits left over", "B-074", unusedBit(t, edDER)},
		{"RSA without parameters", "B-074", paramless(t, rsaDER)},
		{"trailing byte", "B-074", append(bytes.Clone(der), 0)},
		{"BER length", "B-074", append([]byte{0x30, 0x81, der[1]}, der[2:]...)},
		{"P-192", "B-072", replace(der, "06082a8648ce3d030107", "06082a8648ce3d030101")},
		{"brainpoolP256r1", "B-072", spkiWith(t, der, oidEC, asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1, 7})},
		{"explicit parameters", "B-072", spkiWith(t, der, oidEC, explicitP256())},
		{"DSA", "B-073", dsaSPKI(t)},
		{"ML-DSA-65", "B-073", spkiWith(t, bitString(t, edDER, make([]byte, 1952)), asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 18}, nil)},
		{"length of 2 GiB", "B-074", append([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, der...)},
		{"100,000 nested sequences", "B-074", bytes.Repeat([]byte{0x30, 0x80}, 8000)},
		{"unknown algorithm", "B-074", replace(der, "06072a8648ce3d0201", "06072a8648ce3d0209")},
	} {
		for _, content := range [][]byte{tc.content, block("PUBLIC KEY", tc.content)} {
			if len(tc.content) == 0 || tc.content[0] != 0x30 {
				content = tc.content
			}
			if _, err := ca.KeyFromProof(content, []byte{1}, challenge); !errors.Is(err, ca.ErrPublicKey) {
				t.Errorf("%s (%s): %v", tc.name, tc.row, err)
			}
		}
	}
	if _, err := ca.KeyFromProof(good, signChallenge(t, k, crypto.SHA256, challenge), challenge); err != nil {
		t.Fatal(err)
	}
}

// bitString replaces the subjectPublicKey of an SPKI.
func bitString(t testing.TB, spki, key []byte) []byte {
	t.Helper()
	var info struct {
		Alg asn1.RawValue
		Key asn1.BitString
	}
	if _, err := asn1.Unmarshal(spki, &info); err != nil {
		t.Fatal(err)
	}
	info.Key = asn1.BitString{Bytes: key, BitLength: len(key) * 8}
	out, err := asn1.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// unusedBit writes an Ed25519 key as a BIT STRING of 255 bits, which crypto/x509 shifts into place.
func unusedBit(t testing.TB, spki []byte) []byte {
	t.Helper()
	out := bitString(t, spki, append(bytes.Repeat([]byte{0x5a}, 31), 0x54))
	out[len(out)-33] = 1
	if _, err := x509.ParsePKIXPublicKey(out); err != nil {
		t.Fatalf("crypto/x509 refuses it by itself: %v", err)
	}
	return out
}

// paramless leaves the NULL parameters of an RSA key out.
func paramless(t testing.TB, spki []byte) []byte {
	t.Helper()
	var info struct {
		Alg asn1.RawValue
		Key asn1.BitString
	}
	if _, err := asn1.Unmarshal(spki, &info); err != nil {
		t.Fatal(err)
	}
	inner, err := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1})
	if err != nil {
		t.Fatal(err)
	}
	info.Alg = asn1.RawValue{Tag: 16, IsCompound: true, Bytes: inner}
	out, err := asn1.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestProofs: B-075, B-076.
func TestProofs(t *testing.T) {
	k, other := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	k384 := ecKey(t, elliptic.P384())
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := signChallenge(t, k, crypto.SHA256, challenge)
	ph := sha512.Sum512([]byte(challenge))
	edPH, err := ed.Sign(rand.Reader, ph[:], crypto.SHA512)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(challenge))
	pss, err := rsa.SignPSS(rand.Reader, rsa2048(), crypto.SHA256, digest[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, row string
		key       crypto.Signer
		proof     []byte
	}{
		{"empty", "B-075", k, nil},
		{"over another challenge", "B-075", k, signChallenge(t, k, crypto.SHA256, "subject-1")},
		{"by another key", "B-075", k, signChallenge(t, other, crypto.SHA256, challenge)},
		{"BER", "B-075", k, append([]byte{0x30, 0x81, good[1]}, good[2:]...)},
		{"trailing byte", "B-075", k, append(bytes.Clone(good), 0)},
		{"zero r and s", "B-075", k, []byte{0x30, 6, 2, 1, 0, 2, 1, 0}},
		{"1 MiB", "B-075", k, make([]byte, 1<<20)},
		{"P-384 with SHA-256", "B-076", k384, signChallenge(t, k384, crypto.SHA256, challenge)},
		{"Ed25519ph", "B-076", ed, edPH},
		{"RSA-PSS", "B-076", rsa2048(), pss},
		{"RSA with SHA-512", "B-076", rsa2048(), signChallenge(t, rsa2048(), crypto.SHA512, challenge)},
	} {
		if _, err := ca.KeyFromProof(spkiPEM(t, tc.key.Public()), tc.proof, challenge); !errors.Is(err, ca.ErrPossession) {
			t.Errorf("%s (%s): %v", tc.name, tc.row, err)
		}
	}
	if _, err := ca.KeyFromProof(spkiPEM(t, k.Public()), signChallenge(t, k, crypto.SHA256, ""), ""); !errors.Is(err, ca.ErrPossession) {
		t.Errorf("empty challenge: %v", err)
	}
}

func csrPEM(t testing.TB, k crypto.Signer, tmpl *x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// TestBadCSRs: B-077, B-078.
func TestBadCSRs(t *testing.T) {
	k, k384 := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384())
	good := csrPEM(t, k, &x509.CertificateRequest{})
	block, _ := pem.Decode(good)
	wrap := func(label string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}) }
	broken := bytes.Clone(block.Bytes)
	broken[len(broken)-1] ^= 1
	version2 := bytes.Replace(block.Bytes, []byte{2, 1, 0}, []byte{2, 1, 1}, 1)
	for _, tc := range []struct {
		name string
		csr  []byte
		want error
		text string
	}{
		{"nothing", nil, ca.ErrCSR, ""},
		{"no PEM", block.Bytes, ca.ErrCSR, ""},
		{"wrong label", wrap("PUBLIC KEY", block.Bytes), ca.ErrCSR, ""},
		{"two", append(bytes.Clone(good), good...), ca.ErrCSR, ""},
		{"trailing byte", wrap("CERTIFICATE REQUEST", append(bytes.Clone(block.Bytes), 0)), ca.ErrCSR, ""},
		{"base64 twice", []byte(base64Line(good)), ca.ErrCSR, ""},
		{"version 2", wrap("CERTIFICATE REQUEST", version2), ca.ErrCSR, ""},
		{"broken self-signature", wrap("CERTIFICATE REQUEST", broken), ca.ErrPossession, ""},
		{"RSA 1024", csrPEM(t, weakRSA(t), &x509.CertificateRequest{}), ca.ErrInsecureKey, ""},
		{"SHA-1", relabelled(t, block.Bytes, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}, nil), ca.ErrPossession, ""},
		{"MD5", relabelled(t, block.Bytes, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 4}, nil), ca.ErrPossession, ""},
		{"empty signature", relabelled(t, block.Bytes, oidECDSAWithSHA256, []byte{}), ca.ErrPossession, ""},
		{"signature of another key", relabelled(t, block.Bytes, oidECDSAWithSHA256, signatureOf(t, csrPEM(t, ecKey(t, elliptic.P256()), &x509.CertificateRequest{}))), ca.ErrPossession, ""},
		{"P-384 with SHA-256", csrPEM(t, k384, &x509.CertificateRequest{SignatureAlgorithm: x509.ECDSAWithSHA256}), ca.ErrAlgorithm, "signing algorithm not permitted: *ecdsa.PublicKey, SHA-256"},
		{"RSA with SHA-512", csrPEM(t, rsa2048(), &x509.CertificateRequest{SignatureAlgorithm: x509.SHA512WithRSA}), ca.ErrAlgorithm, "signing algorithm not permitted: *rsa.PublicKey, SHA-512"},
		{"RSA-PSS", csrPEM(t, rsa2048(), &x509.CertificateRequest{SignatureAlgorithm: x509.SHA256WithRSAPSS}), ca.ErrAlgorithm, "unrecognized signature algorithm: SHA256-RSAPSS"},
	} {
		_, err := ca.KeyFromCSR(tc.csr)
		if !errors.Is(err, tc.want) || (tc.text != "" && err.Error() != tc.text) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	if _, err := ca.KeyFromCSR(good); err != nil {
		t.Fatal(err)
	}
}

// weakRSA is too short for anything but tests.
func weakRSA(t testing.TB) crypto.Signer {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	return mustRSA(1024)
}

// TestCSRWishesAreIgnored: a certificate says what the token says, whatever the CSR asks for.
func TestCSRWishesAreIgnored(t *testing.T) {
	s := newStack(t)
	names := make([]string, 10000)
	for i := range names {
		names[i] = fmt.Sprintf("evil%d@example.com", i)
	}
	basic, err := asn1.Marshal(struct{ CA bool }{true})
	if err != nil {
		t.Fatal(err)
	}
	k := ecKey(t, elliptic.P256())
	key, err := ca.KeyFromCSR(csrPEM(t, k, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "ünïcode evil"}, EmailAddresses: names,
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: basic},
			{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: make([]byte, 1<<20)},
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	id := identity(t, emailToken(challenge))
	chain, err := s.authority.Issue(t.Context(), id, key, ca.Grant{})
	if err != nil {
		t.Fatal(err)
	}
	checkShape(t, chain[0], s.hierarchy.Intermediate)
	if !k.PublicKey.Equal(chain[0].PublicKey) || chain[0].EmailAddresses[0] != challenge || len(chain[0].Raw) > 2000 {
		t.Errorf("certificate of %d bytes for %v", len(chain[0].Raw), chain[0].EmailAddresses)
	}
}

func FuzzKeyFromProof(f *testing.F) {
	k := ecKey(f, elliptic.P256())
	f.Add(spkiPEM(f, k.Public()), signChallenge(f, k, crypto.SHA256, challenge))
	f.Add(rsaPEM(f, big.NewInt(35), big.NewInt(3)), []byte{})
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"), []byte{0x30})
	f.Fuzz(func(t *testing.T, content, proof []byte) {
		key, err := ca.KeyFromProof(content, proof, challenge)
		if (err == nil) != (key.Public() != nil) {
			t.Fatalf("key %v, error %v", key.Public(), err)
		}
	})
}

func FuzzKeyFromCSR(f *testing.F) {
	f.Add(csrPEM(f, ecKey(f, elliptic.P256()), &x509.CertificateRequest{}))
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, csr []byte) {
		key, err := ca.KeyFromCSR(csr)
		if (err == nil) != (key.Public() != nil) {
			t.Fatalf("key %v, error %v", key.Public(), err)
		}
	})
}
