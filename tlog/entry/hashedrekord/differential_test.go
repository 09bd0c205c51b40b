package hashedrekord_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
)

// result is what either implementation makes of a proposed entry.
type result struct {
	body       []byte
	keys       []string
	insertable bool
}

// upstream runs Rekor's own code.
func upstream(proposed []byte) (result, error) {
	var r result
	pe, err := models.UnmarshalProposedEntry(bytes.NewReader(proposed), nil)
	if err != nil {
		return r, err
	}
	impl, err := types.UnmarshalEntry(pe)
	if err != nil {
		return r, err
	}
	if r.body, err = types.CanonicalizeEntry(context.Background(), impl); err != nil {
		return r, err
	}
	keys, err := impl.IndexKeys()
	if err != nil {
		return r, err
	}
	for _, k := range keys {
		r.keys = append(r.keys, strings.ToLower(k)) // as Rekor's index storage does
	}
	r.insertable = permitted(impl)
	return r, nil
}

// permitted is the policy of Rekor's server, whose code is not exported.
func permitted(impl types.EntryImpl) bool {
	if ok, err := impl.Insertable(); !ok || err != nil {
		return false
	}
	reg, err := signature.NewAlgorithmRegistryConfig([]common.PublicKeyDetails{
		common.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256, common.PublicKeyDetails_PKIX_RSA_PKCS1V15_3072_SHA256,
		common.PublicKeyDetails_PKIX_RSA_PKCS1V15_4096_SHA256, common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
		common.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384, common.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512,
		common.PublicKeyDetails_PKIX_ED25519, common.PublicKeyDetails_PKIX_ED25519_PH,
	})
	if err != nil {
		panic(err)
	}
	artifact, err := impl.ArtifactHash()
	if err != nil {
		return false
	}
	name, _, _ := strings.Cut(artifact, ":")
	hash := map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}[name]
	verifiers, err := impl.Verifiers()
	if err != nil {
		return false
	}
	for _, v := range verifiers {
		key, ok := v.(interface{ CryptoPubKey() crypto.PublicKey })
		if !ok {
			return false
		}
		if ok, err := reg.IsAlgorithmPermitted(key.CryptoPubKey(), hash); !ok || err != nil {
			return false
		}
	}
	return true
}

func ours(spec any) (result, error) {
	e, err := hashedrekord.Parse(spec)
	if err != nil {
		return result{}, err
	}
	r := result{body: e.Body(), insertable: e.Insertable() == nil}
	for _, k := range e.Keys() {
		r.keys = append(r.keys, string(k))
	}
	if e.Identity() != [32]byte(rfc6962.DefaultHasher.HashLeaf(r.body)) {
		return r, errors.New("identity is not the leaf hash of the body")
	}
	keys, err := hashedrekord.Keys(e.Body())
	if err != nil || !reflect.DeepEqual(keys, e.Keys()) {
		return r, fmt.Errorf("the body's keys are %q, %v; the entry's %q", keys, err, e.Keys())
	}
	return r, nil
}

func sorted(keys []string) []string {
	keys = slices.Clone(keys)
	slices.Sort(keys)
	return slices.Compact(keys)
}

// same compares both results for an entry that both must take or both must refuse.
func same(t *testing.T, proposed []byte, accept bool) {
	t.Helper()
	want, wantErr := upstream(proposed)
	got, err := ours(entrytest.Spec(t, proposed))
	if (wantErr == nil) != accept {
		t.Fatalf("the row is wrong: upstream says %v", wantErr)
	}
	if (err == nil) != accept {
		t.Fatalf("error = %v, upstream says %v", err, wantErr)
	}
	if err != nil {
		if !errors.Is(err, entry.ErrInvalid) {
			t.Errorf("%v does not wrap ErrInvalid: the client would get a 500", err)
		}
		return
	}
	compare(t, got, want)
}

func compare(t *testing.T, got, want result) {
	t.Helper()
	if !bytes.Equal(got.body, want.body) {
		t.Errorf("body\n%s, upstream\n%s", got.body, want.body)
	}
	if !slices.Equal(sorted(got.keys), sorted(want.keys)) {
		t.Errorf("keys %q, upstream %q", got.keys, want.keys)
	}
	if got.insertable != want.insertable {
		t.Errorf("insertable %v, upstream %v", got.insertable, want.insertable)
	}
}

// sign returns a proposed entry for a key in a given form of PEM.
func sign(t testing.TB, key crypto.Signer, pub []byte, h crypto.Hash) []byte {
	t.Helper()
	digest := entrytest.Digest(h, []byte("artifact"))
	return entrytest.HashedRekord(pub, h, digest, entrytest.SignDigest(t, key, h, digest))
}

func TestAccepted(t *testing.T) {
	p256, p384, p521 := entrytest.P256(t), entrytest.ECDSA(t, elliptic.P384()), entrytest.ECDSA(t, elliptic.P521())
	ed, rsa2048, rsa3072 := entrytest.Ed25519(t), entrytest.RSA(t, 2048), entrytest.RSA(t, 3072)
	cert := func(key crypto.Signer, san entrytest.SAN) []byte {
		return entrytest.CertPEM(entrytest.Cert(t, key, san, nil, nil))
	}
	key := func(k crypto.Signer) []byte { return entrytest.PEM(t, k.Public()) }
	all := entrytest.SAN{
		Emails: []string{"Dev@Example.com", "two@example.com"}, DNS: []string{"Example.com"}, IP: "2001:db8::1",
		URI: "https://GitHub.com/o/r/.github/workflows/w.yml@refs/heads/main",
	}
	for name, proposed := range map[string][]byte{
		"P-256 key":                    sign(t, p256, key(p256), crypto.SHA256),
		"P-384 key":                    sign(t, p384, key(p384), crypto.SHA384),
		"P-521 key":                    sign(t, p521, key(p521), crypto.SHA512),
		"RSA 2048 key":                 sign(t, rsa2048, key(rsa2048), crypto.SHA256),
		"RSA 3072 key":                 sign(t, rsa3072, key(rsa3072), crypto.SHA256),
		"Ed25519ph key":                sign(t, ed, key(ed), crypto.SHA512),
		"P-384 with SHA-256":           sign(t, p384, key(p384), crypto.SHA256), // verifies, but the policy refuses it
		"P-256 with SHA-512":           sign(t, p256, key(p256), crypto.SHA512),
		"RSA with SHA-512":             sign(t, rsa2048, key(rsa2048), crypto.SHA512),
		"P-224 key":                    sign224(t),
		"certificate, all names":       sign(t, p256, cert(p256, all), crypto.SHA256),
		"certificate, otherName":       sign(t, p256, cert(p256, entrytest.SAN{OtherName: "User!Domain"}), crypto.SHA256),
		"certificate, other otherName": sign(t, p256, cert(p256, entrytest.SAN{OtherName: "x", OtherOID: []int{1, 2, 3}}), crypto.SHA256),
		"certificate without names":    sign(t, p384, cert(p384, entrytest.SAN{}), crypto.SHA384),
		"chain of three":               sign(t, p256, entrytest.CertPEM(entrytest.Chain(t, p256, all)...), crypto.SHA256),
		"PEM in blanks":                sign(t, p256, []byte("\n\n \t"+string(key(p256))+"\n\n"), crypto.SHA256),
		"PEM without final newline":    sign(t, p256, bytes.TrimSpace(key(p256)), crypto.SHA256),
		"PEM with CRLF":                sign(t, p256, bytes.ReplaceAll(key(p256), []byte("\n"), []byte("\r\n")), crypto.SHA256),
		"text before the PEM":          sign(t, p256, append([]byte("Subject: x\n"), key(p256)...), crypto.SHA256),
		"PEM headers":                  sign(t, p256, withHeaders(t, p256), crypto.SHA256),
		"IEEE P1363 signature":         p1363(t),
		"upper-case digest":            upperDigest(t),
		"certificate, expired":         sign(t, p256, cert(p256, entrytest.SAN{}), crypto.SHA256),                   // as all that entrytest makes
		"RSA 1024 key":                 sign(t, entrytest.RSA(t, 1024), key(entrytest.RSA(t, 1024)), crypto.SHA256), // not insertable
		"unknown fields":               replace(t, sign(t, p256, key(p256), crypto.SHA256), `"spec":{`, `"logIndex":7,"spec":{"extra":[1],`),
		"base64 with line breaks":      replace(t, sign(t, p256, key(p256), crypto.SHA256), `"publicKey":{"content":"LS0t`, `"publicKey":{"content":"LS\r\n0t`),
	} {
		t.Run(name, func(t *testing.T) { same(t, proposed, true) })
	}
}

func TestRefused(t *testing.T) {
	key := entrytest.P256(t)
	pub := entrytest.PEM(t, key.Public())
	good := sign(t, key, pub, crypto.SHA256)
	ed := entrytest.Ed25519(t)
	digest := entrytest.Digest(crypto.SHA256, []byte("artifact"))
	sig := entrytest.SignDigest(t, key, crypto.SHA256, digest)
	other := entrytest.Digest(crypto.SHA256, []byte("another artifact"))
	make1 := func(pub []byte, h crypto.Hash, digest, sig []byte) []byte {
		return entrytest.HashedRekord(pub, h, digest, sig)
	}
	cert := entrytest.Cert(t, key, entrytest.SAN{}, nil, nil)
	foreign := entrytest.Cert(t, entrytest.P256(t), entrytest.SAN{}, nil, nil)
	hexOf := func(b []byte) string {
		return strings.Split(string(make1(pub, crypto.SHA256, b, sig)), `"value":"`)[1][:len(b)*2]
	}
	for name, proposed := range map[string][]byte{
		"no signature":              remove(t, good, "signature"),
		"no data":                   remove(t, good, "data"),
		"no signature content":      remove(t, good, "signature", "content"),
		"no public key":             remove(t, good, "signature", "publicKey"),
		"no public key content":     remove(t, good, "signature", "publicKey", "content"),
		"no hash":                   remove(t, good, "data", "hash"),
		"no algorithm":              remove(t, good, "data", "hash", "algorithm"),
		"no value":                  remove(t, good, "data", "hash", "value"),
		"spec is a list":            []byte(`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":[1]}`),
		"spec is a string":          []byte(`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":"x"}`),
		"members in wrong case":     replace(t, good, `"signature"`, `"Signature"`),
		"md5":                       replace(t, good, `"sha256"`, `"md5"`),
		"SHA256 in upper case":      replace(t, good, `"sha256"`, `"SHA256"`),
		"sha1":                      make1(pub, crypto.SHA1, make([]byte, 20), sig),
		"sha512 labelled sha256":    replace(t, make1(pub, crypto.SHA512, make([]byte, 64), sig), `"sha512"`, `"sha256"`),
		"odd hex":                   replace(t, good, hexOf(digest), hexOf(digest)[1:]),
		"hex with 0x":               replace(t, good, hexOf(digest), "0x"+hexOf(digest)[2:]),
		"value empty":               replace(t, good, hexOf(digest), ""),
		"signature over other data": make1(pub, crypto.SHA256, other, sig),
		"signature by another key":  make1(entrytest.PEM(t, entrytest.P256(t).Public()), crypto.SHA256, digest, sig),
		"signature is no DER":       make1(pub, crypto.SHA256, digest, []byte("garbage")),
		"signature of 0 and 0":      make1(pub, crypto.SHA256, digest, make([]byte, 64)),
		"signature not base64":      replace(t, good, `"content":"`, `"content":"!`),
		"URL-safe base64":           make1URL(t),
		"Ed25519 pure":              make1(entrytest.PEM(t, ed.Public()), crypto.SHA512, entrytest.Digest(crypto.SHA512, []byte("artifact")), entrytest.SignMessage(t, ed, []byte("artifact"))),
		"Ed25519ph with SHA-256":    make1(entrytest.PEM(t, ed.Public()), crypto.SHA256, digest, entrytest.SignMessage(t, ed, digest)),
		"key is not PEM":            make1([]byte("ssh-ed25519 AAAA"), crypto.SHA256, digest, sig),
		"key is a private key":      make1(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}), crypto.SHA256, digest, sig),
		"key is not DER":            make1(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}}), crypto.SHA256, digest, sig),
		"certificate is not DER":    make1(entrytest.CertPEM([]byte{1}), crypto.SHA256, digest, sig),
		"two public keys":           make1(append(slices.Clone(pub), pub...), crypto.SHA256, digest, sig),
		"text after the PEM":        make1(append(slices.Clone(pub), "x"...), crypto.SHA256, digest, sig),
		"1000 certificates":         make1(entrytest.CertPEM(slices.Repeat([][]byte{cert}, 1000)...), crypto.SHA256, digest, sig),
		"11 certificates":           make1(entrytest.CertPEM(slices.Repeat([][]byte{cert}, 11)...), crypto.SHA256, digest, sig),
		"chain to a foreign root":   make1(entrytest.CertPEM(cert, foreign), crypto.SHA256, digest, sig),
	} {
		t.Run(name, func(t *testing.T) { same(t, proposed, false) })
	}
}

// TestStricter lists where we refuse what upstream takes, and why.
func TestStricter(t *testing.T) {
	key := entrytest.P256(t)
	good := sign(t, key, entrytest.PEM(t, key.Public()), crypto.SHA256)
	for name, proposed := range map[string][]byte{
		// Upstream ignores it since it stopped fetching; a client that sends it wants it fetched.
		"data.url":                replace(t, good, `"data":{`, `"data":{"url":"http://169.254.169.254/",`),
		"signature.url":           replace(t, good, `"signature":{`, `"signature":{"url":"file:///etc/passwd",`),
		"url":                     replace(t, good, `"spec":{`, `"spec":{"url":"ftp://localhost/",`),
		"data.hash.url":           replace(t, good, `"hash":{`, `"hash":{"url":"gopher://localhost/",`),
		"signature.publicKey.url": replace(t, good, `"publicKey":{`, `"publicKey":{"url":"http://localhost/",`),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := upstream(proposed); err != nil {
				t.Fatalf("no longer stricter than upstream: %v", err)
			}
			if _, err := ours(entrytest.Spec(t, proposed)); !errors.Is(err, entry.ErrInvalid) || !strings.Contains(err.Error(), "fetching by URL is not supported") {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func FuzzAgainstUpstream(f *testing.F) {
	key := entrytest.P256(f)
	good := sign(f, key, entrytest.PEM(f, key.Public()), crypto.SHA256)
	f.Add(good)
	f.Add(sign(f, key, entrytest.CertPEM(entrytest.Chain(f, key, entrytest.SAN{URI: "https://a/b", DNS: []string{"A"}})...), crypto.SHA256))
	f.Add(replace(f, good, `"kind"`, `"Kind"`))
	f.Fuzz(func(t *testing.T, proposed []byte) {
		var v struct {
			Kind       string `json:"kind"`
			APIVersion string `json:"apiVersion"`
			Spec       any    `json:"spec"`
		}
		dec := json.NewDecoder(bytes.NewReader(proposed))
		dec.UseNumber()
		if dec.Decode(&v) != nil || v.Kind != "hashedrekord" || v.APIVersion != "0.0.1" {
			return
		}
		got, err := ours(v.Spec)
		want, wantErr := upstream(proposed)
		switch {
		case err == nil && wantErr != nil:
			t.Fatalf("accepted, upstream says %v", wantErr)
		case err != nil && wantErr == nil && !strings.Contains(err.Error(), "url"):
			t.Fatalf("refused with %v, upstream accepts", err)
		case err == nil:
			compare(t, got, want)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	key := entrytest.P256(b)
	for name, pub := range map[string][]byte{
		"key": entrytest.PEM(b, key.Public()), "certificate": entrytest.CertPEM(entrytest.Cert(b, key, entrytest.SAN{URI: "https://a/b"}, nil, nil)),
	} {
		b.Run(name, func(b *testing.B) {
			spec := entrytest.Spec(b, sign(b, key, pub, crypto.SHA256))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := hashedrekord.Parse(spec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkKeys makes the search keys of a canonical body, as fsck does.
func BenchmarkKeys(b *testing.B) {
	key := entrytest.P256(b)
	for name, pub := range map[string][]byte{
		"key": entrytest.PEM(b, key.Public()), "certificate": entrytest.CertPEM(entrytest.Cert(b, key, entrytest.SAN{URI: "https://a/b"}, nil, nil)),
	} {
		b.Run(name, func(b *testing.B) {
			e, err := hashedrekord.Parse(entrytest.Spec(b, sign(b, key, pub, crypto.SHA256)))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := hashedrekord.Keys(e.Body()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkUpstream is BenchmarkParse with Rekor's own code, for comparison.
func BenchmarkUpstream(b *testing.B) {
	key := entrytest.P256(b)
	proposed := sign(b, key, entrytest.CertPEM(entrytest.Cert(b, key, entrytest.SAN{URI: "https://a/b"}, nil, nil)), crypto.SHA256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := upstream(proposed); err != nil {
			b.Fatal(err)
		}
	}
}

func replace(t testing.TB, s []byte, old, with string) []byte {
	t.Helper()
	if !bytes.Contains(s, []byte(old)) {
		t.Fatalf("%s holds no %s", s, old)
	}
	return bytes.Replace(s, []byte(old), []byte(with), 1)
}

// remove takes one member out of the spec.
func remove(t testing.TB, proposed []byte, path ...string) []byte {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(proposed, &v); err != nil {
		t.Fatal(err)
	}
	m := v["spec"].(map[string]any)
	for _, p := range path[:len(path)-1] {
		m = m[p].(map[string]any)
	}
	delete(m, path[len(path)-1])
	return entrytest.JSON(t, v)
}

func sign224(t testing.TB) []byte {
	k := entrytest.ECDSA(t, elliptic.P224())
	return sign(t, k, entrytest.PEM(t, k.Public()), crypto.SHA256)
}

func withHeaders(t testing.TB, key crypto.Signer) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Headers: map[string]string{"Comment": "x"}, Bytes: entrytest.SPKI(t, key.Public())})
}

func p1363(t testing.TB) []byte {
	key := entrytest.P256(t)
	digest := entrytest.Digest(crypto.SHA256, []byte("artifact"))
	for {
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			t.Fatal(err)
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		if sig[0] != 0x30 { // else it might be read as ASN.1
			return entrytest.HashedRekord(entrytest.PEM(t, key.Public()), crypto.SHA256, digest, sig)
		}
	}
}

func upperDigest(t testing.TB) []byte {
	key := entrytest.P256(t)
	good := string(sign(t, key, entrytest.PEM(t, key.Public()), crypto.SHA256))
	value := strings.Split(good, `"value":"`)[1][:64]
	return []byte(strings.Replace(good, value, strings.ToUpper(value), 1))
}

// make1URL returns an entry whose signature has a character that the two alphabets of base64
// write differently.
func make1URL(t testing.TB) []byte {
	key := entrytest.P256(t)
	pub := entrytest.PEM(t, key.Public())
	digest := entrytest.Digest(crypto.SHA256, []byte("artifact"))
	for {
		sig, err := key.Sign(rand.Reader, digest, crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		std, safe := base64.StdEncoding.EncodeToString(sig), base64.URLEncoding.EncodeToString(sig)
		if std != safe {
			return replace(t, entrytest.HashedRekord(pub, crypto.SHA256, digest, sig), std, safe)
		}
	}
}
