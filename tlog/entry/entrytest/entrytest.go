// Package entrytest makes keys, certificates, signatures and proposed entries for tests of the
// entry kinds and of the faces that take them. It is not for production.
package entrytest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"
)

// ECDSA makes a key on a curve.
func ECDSA(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// P256 makes a P-256 key.
func P256(t testing.TB) *ecdsa.PrivateKey { t.Helper(); return ECDSA(t, elliptic.P256()) }

// rsaKeys holds one key of each size: they are slow to make.
var rsaKeys sync.Map

// RSA returns a key of that many bits, the same one every time.
func RSA(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	if k, ok := rsaKeys.Load(bits); ok {
		return k.(*rsa.PrivateKey)
	}
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	rsaKeys.Store(bits, k)
	return k
}

// Ed25519 makes an Ed25519 key.
func Ed25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// SPKI returns the DER of a public key.
func SPKI(t testing.TB, pub crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// PEM returns a public key as PEM.
func PEM(t testing.TB, pub crypto.PublicKey) []byte {
	t.Helper()
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: SPKI(t, pub)})
}

// CertPEM returns certificates as PEM.
func CertPEM(ders ...[]byte) []byte {
	var out []byte
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

// SAN is what a test certificate names.
type SAN struct {
	Emails, DNS []string
	URI         string
	IP          string
	OtherName   string // Fulcio's
	OtherOID    asn1.ObjectIdentifier
}

// Cert makes a certificate for pub, self-signed where issuer is nil. It is long expired.
func Cert(t testing.TB, key crypto.Signer, san SAN, issuer *x509.Certificate, issuerKey crypto.Signer) []byte {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"test"}, CommonName: "test"},
		NotBefore: time.Unix(1_700_000_000, 0), NotAfter: time.Unix(1_700_000_600, 0),
		EmailAddresses: san.Emails, DNSNames: san.DNS,
		BasicConstraintsValid: true, IsCA: issuer == nil, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if san.URI != "" {
		u, err := url.Parse(san.URI)
		if err != nil {
			t.Fatal(err)
		}
		tmpl.URIs = []*url.URL{u}
	}
	if san.IP != "" {
		tmpl.IPAddresses = []net.IP{net.ParseIP(san.IP)}
	}
	if san.OtherName != "" {
		tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, otherName(t, san))
	}
	parent, signer := tmpl, key
	if issuer != nil {
		parent, signer = issuer, issuerKey
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func otherName(t testing.TB, san SAN) pkix.Extension {
	t.Helper()
	oid := san.OtherOID
	if oid == nil {
		oid = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 7}
	}
	name, err := asn1.MarshalWithParams(struct {
		ID    asn1.ObjectIdentifier
		Value string `asn1:"utf8,explicit,tag:0"`
	}{oid, san.OtherName}, "tag:0")
	if err != nil {
		t.Fatal(err)
	}
	seq, err := asn1.Marshal([]asn1.RawValue{{FullBytes: name}})
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: seq}
}

// Chain makes a leaf for key under an intermediate under a root, leaf first.
func Chain(t testing.TB, key crypto.Signer, san SAN) [][]byte {
	t.Helper()
	rootKey, midKey := P256(t), P256(t)
	root := Cert(t, rootKey, SAN{}, nil, nil)
	rootCert, err := x509.ParseCertificate(root)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "middle"}, NotBefore: rootCert.NotBefore, NotAfter: rootCert.NotAfter,
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	mid, err := x509.CreateCertificate(rand.Reader, tmpl, rootCert, midKey.Public(), rootKey)
	if err != nil {
		t.Fatal(err)
	}
	midCert, err := x509.ParseCertificate(mid)
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{Cert(t, key, san, midCert, midKey), mid, root}
}

// Digest hashes data.
func Digest(h crypto.Hash, data []byte) []byte {
	w := h.New()
	w.Write(data)
	return w.Sum(nil)
}

// SignDigest signs a digest as hashedrekord wants it: ASN.1 ECDSA, PKCS #1 v1.5, Ed25519ph.
func SignDigest(t testing.TB, key crypto.Signer, h crypto.Hash, digest []byte) []byte {
	t.Helper()
	var opts crypto.SignerOpts = h
	if _, ok := key.(ed25519.PrivateKey); ok {
		opts = &ed25519.Options{Hash: h}
	}
	sig, err := key.Sign(rand.Reader, digest, opts)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// SignMessage signs a message as DSSE wants it: SHA-256 first, but pure Ed25519.
func SignMessage(t testing.TB, key crypto.Signer, message []byte) []byte {
	t.Helper()
	if k, ok := key.(ed25519.PrivateKey); ok {
		return ed25519.Sign(k, message)
	}
	return SignDigest(t, key, crypto.SHA256, Digest(crypto.SHA256, message))
}

// HashName returns "sha256" and so on.
func HashName(h crypto.Hash) string { return "sha" + strconv.Itoa(h.Size()*8) }

// HashedRekord returns the JSON of a proposed hashedrekord 0.0.1.
func HashedRekord(pub []byte, h crypto.Hash, digest, sig []byte) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":%q,"value":%q}},"signature":{"content":%q,"publicKey":{"content":%q}}}}`,
		HashName(h), hex.EncodeToString(digest), base64.StdEncoding.EncodeToString(sig), base64.StdEncoding.EncodeToString(pub))
}

// NewHashedRekord signs data with a new P-256 key and returns the JSON of the proposed entry.
func NewHashedRekord(t testing.TB, data []byte) []byte {
	t.Helper()
	key, digest := P256(t), Digest(crypto.SHA256, data)
	return HashedRekord(PEM(t, key.Public()), crypto.SHA256, digest, SignDigest(t, key, crypto.SHA256, digest))
}

// PAE is DSSE's pre-authentication encoding.
func PAE(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// Envelope signs a payload with each key and returns the JSON of the DSSE envelope.
func Envelope(t testing.TB, payloadType string, payload []byte, keys ...crypto.Signer) []byte {
	t.Helper()
	type sig struct {
		KeyID string `json:"keyid"`
		Sig   []byte `json:"sig"`
	}
	env := struct {
		PayloadType string `json:"payloadType"`
		Payload     []byte `json:"payload"`
		Signatures  []sig  `json:"signatures"`
	}{PayloadType: payloadType, Payload: payload}
	for _, k := range keys {
		env.Signatures = append(env.Signatures, sig{Sig: SignMessage(t, k, PAE(payloadType, payload))})
	}
	return JSON(t, env)
}

// DSSE returns the JSON of a proposed dsse 0.0.1.
func DSSE(t testing.TB, envelope []byte, verifiers ...[]byte) []byte {
	t.Helper()
	return JSON(t, map[string]any{
		"apiVersion": "0.0.1", "kind": "dsse",
		"spec": map[string]any{"proposedContent": map[string]any{"envelope": string(envelope), "verifiers": verifiers}},
	})
}

// JSON encodes v.
func JSON(t testing.TB, v any) []byte {
	t.Helper()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(buf.Bytes())
}

// Spec decodes the spec of a proposed entry as a face does.
func Spec(t testing.TB, proposed []byte) any {
	t.Helper()
	var v struct {
		Spec any `json:"spec"`
	}
	dec := json.NewDecoder(bytes.NewReader(proposed))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v.Spec
}

// Fingerprints returns the hex SHA-256 of the canonical form of keys that upstream's code has read, none with an error.
func Fingerprints[K interface{ CanonicalValue() ([]byte, error) }](keys []K, err error) (out []string) {
	if err != nil {
		return nil
	}
	for _, k := range keys {
		if canonical, err := k.CanonicalValue(); err == nil {
			out = append(out, fmt.Sprintf("%x", sha256.Sum256(canonical)))
		}
	}
	return out
}
