package differential_test

import (
	"crypto"
	"crypto/elliptic"
	"encoding/base64"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

// remake makes the corpus anew, with new keys. What the servers answered to it has to be recorded
// again afterwards.
var remake = flag.Bool("corpus", false, "make testdata/corpus anew")

const (
	p384SHA256 = common.PublicKeyDetails(19) // deprecated by protobuf-specs
	inToto     = "application/vnd.in-toto+json"
	statement  = `{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://slsa.dev/provenance/v0.2",` +
		`"subject":[{"name":"artifact","digest":{"sha256":"c7ead87fa5c82d2b17feece1c2ee1bda8e94788f4b208de5057b3617a42b7413"}}],` +
		`"predicate":{"builder":{"id":"b"},"buildType":"t","materials":[{"uri":"git+https://x","digest":{"sha1":"ABCDEF0123"}}]}}`
)

// TestMakeCorpus writes the entries that the hot kinds are tried with, which nobody else's tool makes
// for us. Those of the other kinds are beside package upstream.
func TestMakeCorpus(t *testing.T) {
	if !*remake {
		return
	}
	for name, entry := range map[string][]byte{
		"hashedrekord-p256":             hashed(t, entrytest.P256(t), crypto.SHA256),
		"hashedrekord-p384":             hashed(t, entrytest.ECDSA(t, elliptic.P384()), crypto.SHA384),
		"hashedrekord-p521":             hashed(t, entrytest.ECDSA(t, elliptic.P521()), crypto.SHA512),
		"hashedrekord-rsa2048":          hashed(t, entrytest.RSA(t, 2048), crypto.SHA256),
		"hashedrekord-rsa3072":          hashed(t, entrytest.RSA(t, 3072), crypto.SHA256),
		"hashedrekord-rsa4096":          hashed(t, entrytest.RSA(t, 4096), crypto.SHA256),
		"hashedrekord-ed25519ph":        hashed(t, entrytest.Ed25519(t), crypto.SHA512),
		"hashedrekord-p256-sha384":      hashed(t, entrytest.P256(t), crypto.SHA384),
		"hashedrekord-p256-sha512":      hashed(t, entrytest.P256(t), crypto.SHA512),
		"hashedrekord-p384-sha256":      hashed(t, entrytest.ECDSA(t, elliptic.P384()), crypto.SHA256),
		"hashedrekord-p384-sha512":      hashed(t, entrytest.ECDSA(t, elliptic.P384()), crypto.SHA512),
		"hashedrekord-p521-sha256":      hashed(t, entrytest.ECDSA(t, elliptic.P521()), crypto.SHA256),
		"hashedrekord-p521-sha384":      hashed(t, entrytest.ECDSA(t, elliptic.P521()), crypto.SHA384),
		"hashedrekord-p224":             hashed(t, entrytest.ECDSA(t, elliptic.P224()), crypto.SHA256),
		"hashedrekord-rsa2048-sha384":   hashed(t, entrytest.RSA(t, 2048), crypto.SHA384),
		"hashedrekord-rsa2048-sha512":   hashed(t, entrytest.RSA(t, 2048), crypto.SHA512),
		"hashedrekord-rsa1024":          hashed(t, entrytest.RSA(t, 1024), crypto.SHA256),
		"hashedrekord-rsa2560":          hashed(t, entrytest.RSA(t, 2560), crypto.SHA256),
		"hashedrekord-certificate":      certified(t, entrytest.SAN{Emails: []string{"Dev@Example.com"}, URI: "https://example.com/Builder"}, false),
		"hashedrekord-certificate-many": certified(t, entrytest.SAN{DNS: []string{"a.example"}, IP: "192.0.2.1", OtherName: "user!domain"}, false),
		"hashedrekord-chain":            certified(t, entrytest.SAN{Emails: []string{"chain@example.com"}}, true),
		"dsse-p256":                     dsse(t, inToto, statement, entrytest.P256(t)),
		"dsse-ed25519":                  dsse(t, inToto, statement, entrytest.Ed25519(t)),
		"dsse-rsa2048":                  dsse(t, inToto, statement, entrytest.RSA(t, 2048)),
		"dsse-text":                     dsse(t, "text/plain", "hello", entrytest.P256(t)),
		"dsse-two":                      dsse(t, inToto, statement, entrytest.P256(t), entrytest.ECDSA(t, elliptic.P384())),
		"intoto-001":                    intoto1(t, entrytest.P256(t)),
		"intoto-001-ed25519":            intoto1(t, entrytest.Ed25519(t)),
		"intoto-002":                    intoto2(t, entrytest.P256(t)),
		"intoto-002-two":                intoto2(t, entrytest.P256(t), entrytest.Ed25519(t)),

		"v2-p256":        v2(t, entrytest.P256(t), crypto.SHA256, common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, nil),
		"v2-certificate": v2(t, entrytest.P256(t), crypto.SHA256, common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, &entrytest.SAN{Emails: []string{"dev@example.com"}}),
		"v2-p384":        v2(t, entrytest.ECDSA(t, elliptic.P384()), crypto.SHA384, common.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384, nil),
		"v2-p521":        v2(t, entrytest.ECDSA(t, elliptic.P521()), crypto.SHA512, common.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512, nil),
		"v2-rsa2048":     v2(t, entrytest.RSA(t, 2048), crypto.SHA256, common.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256, nil),
		"v2-rsa3072":     v2(t, entrytest.RSA(t, 3072), crypto.SHA256, common.PublicKeyDetails_PKIX_RSA_PKCS1V15_3072_SHA256, nil),
		"v2-rsa4096":     v2(t, entrytest.RSA(t, 4096), crypto.SHA256, common.PublicKeyDetails_PKIX_RSA_PKCS1V15_4096_SHA256, nil),
		"v2-ed25519ph":   v2(t, entrytest.Ed25519(t), crypto.SHA512, common.PublicKeyDetails_PKIX_ED25519_PH, nil),
		"v2-p384-sha256": v2(t, entrytest.ECDSA(t, elliptic.P384()), crypto.SHA256, p384SHA256, nil),
	} {
		if err := os.WriteFile(filepath.Join("testdata", "corpus", name+".json"), append(entry, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var artifact = []byte("what is signed\n")

func hashed(t *testing.T, key crypto.Signer, h crypto.Hash) []byte {
	digest := entrytest.Digest(h, artifact)
	return entrytest.HashedRekord(entrytest.PEM(t, key.Public()), h, digest, entrytest.SignDigest(t, key, h, digest))
}

func certified(t *testing.T, san entrytest.SAN, chain bool) []byte {
	key, digest := entrytest.P256(t), entrytest.Digest(crypto.SHA256, artifact)
	certs := [][]byte{}
	if chain {
		certs = entrytest.Chain(t, key, san)
	} else {
		certs = append(certs, entrytest.Cert(t, key, san, nil, nil))
	}
	return entrytest.HashedRekord(entrytest.CertPEM(certs...), crypto.SHA256, digest, entrytest.SignDigest(t, key, crypto.SHA256, digest))
}

func dsse(t *testing.T, payloadType, payload string, keys ...crypto.Signer) []byte {
	var verifiers [][]byte
	for _, k := range keys {
		verifiers = append(verifiers, entrytest.PEM(t, k.Public()))
	}
	return entrytest.DSSE(t, entrytest.Envelope(t, payloadType, []byte(payload), keys...), verifiers...)
}

func intoto1(t *testing.T, key crypto.Signer) []byte {
	return entrytest.JSON(t, map[string]any{"apiVersion": "0.0.1", "kind": "intoto", "spec": map[string]any{
		"content": map[string]any{"envelope": string(entrytest.Envelope(t, inToto, []byte(statement), key))}, "publicKey": entrytest.PEM(t, key.Public()),
	}})
}

func intoto2(t *testing.T, keys ...crypto.Signer) []byte {
	twice := func(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(b)) } // as the kind has it
	var list []map[string]any
	for _, k := range keys {
		sig := entrytest.SignMessage(t, k, entrytest.PAE(inToto, []byte(statement)))
		list = append(list, map[string]any{"publicKey": entrytest.PEM(t, k.Public()), "sig": twice(sig)})
	}
	return entrytest.JSON(t, map[string]any{"apiVersion": "0.0.2", "kind": "intoto", "spec": map[string]any{"content": map[string]any{
		"envelope": map[string]any{"payloadType": inToto, "payload": twice([]byte(statement)), "signatures": list},
		"hash":     map[string]any{"algorithm": "sha256", "value": strings.Repeat("ab", 32)},
	}}})
}

func v2(t *testing.T, key crypto.Signer, h crypto.Hash, label common.PublicKeyDetails, san *entrytest.SAN) []byte {
	digest := entrytest.Digest(h, artifact)
	v := &pb.Verifier{KeyDetails: label, Verifier: &pb.Verifier_PublicKey{PublicKey: &pb.PublicKey{RawBytes: entrytest.SPKI(t, key.Public())}}}
	if san != nil {
		v.Verifier = &pb.Verifier_X509Certificate{X509Certificate: &common.X509Certificate{RawBytes: entrytest.Cert(t, key, *san, nil, nil)}}
	}
	req := &pb.CreateEntryRequest{Spec: &pb.CreateEntryRequest_HashedRekordRequestV002{HashedRekordRequestV002: &pb.HashedRekordRequestV002{
		Digest: digest, Signature: &pb.Signature{Content: entrytest.SignDigest(t, key, h, digest), Verifier: v},
	}}}
	b, err := protojson.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(strings.ReplaceAll(string(b), `", "`, `","`)) // protojson strews blanks in
}
