package hashedrekord2_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	upstream "github.com/sigstore/rekor-tiles/v2/pkg/types/hashedrekord"
	"github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord2"
)

// upstreamBody runs rekor-tiles' own code with the algorithms of its server.
func upstreamBody(req *pb.HashedRekordRequestV002) (body []byte, err error) {
	reg, err := signature.NewAlgorithmRegistryConfig([]common.PublicKeyDetails{
		common.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256, common.PublicKeyDetails_PKIX_RSA_PKCS1V15_3072_SHA256,
		common.PublicKeyDetails_PKIX_RSA_PKCS1V15_4096_SHA256, common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
		common.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384, common.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512,
		common.PublicKeyDetails_PKIX_ED25519, common.PublicKeyDetails_PKIX_ED25519_PH,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("upstream panics: %v", v)
		}
	}()
	e, err := upstream.ToLogEntry(req, reg)
	if err != nil {
		return nil, err
	}
	raw, err := protojson.Marshal(e)
	if err != nil {
		return nil, err
	}
	return jsoncanonicalizer.Transform(raw)
}

func request(t testing.TB, key crypto.Signer, h crypto.Hash, label common.PublicKeyDetails, cert bool) *pb.HashedRekordRequestV002 {
	t.Helper()
	digest := entrytest.Digest(h, []byte("artifact"))
	v := &pb.Verifier{KeyDetails: label}
	if cert {
		v.Verifier = &pb.Verifier_X509Certificate{X509Certificate: &common.X509Certificate{RawBytes: entrytest.Cert(t, key, entrytest.SAN{URI: "https://x"}, nil, nil)}}
	} else {
		v.Verifier = &pb.Verifier_PublicKey{PublicKey: &pb.PublicKey{RawBytes: entrytest.SPKI(t, key.Public())}}
	}
	return &pb.HashedRekordRequestV002{
		Digest: digest, Signature: &pb.Signature{Content: entrytest.SignDigest(t, key, h, digest), Verifier: v},
	}
}

//lint:ignore SA1019 a client may still send it
const p384SHA256 = common.PublicKeyDetails_PKIX_ECDSA_P384_SHA_256

const p256Label = common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256

func TestAccepted(t *testing.T) {
	for _, row := range []struct {
		name  string
		key   crypto.Signer
		hash  crypto.Hash
		label common.PublicKeyDetails
	}{
		{"P-256", entrytest.P256(t), crypto.SHA256, p256Label},
		{"P-384", entrytest.ECDSA(t, elliptic.P384()), crypto.SHA384, common.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384},
		{"P-521", entrytest.ECDSA(t, elliptic.P521()), crypto.SHA512, common.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512},
		{"RSA 2048", entrytest.RSA(t, 2048), crypto.SHA256, common.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256},
		{"RSA 3072", entrytest.RSA(t, 3072), crypto.SHA256, common.PublicKeyDetails_PKIX_RSA_PKCS1V15_3072_SHA256},
		{"RSA 4096", entrytest.RSA(t, 4096), crypto.SHA256, common.PublicKeyDetails_PKIX_RSA_PKCS1V15_4096_SHA256},
		{"Ed25519ph", entrytest.Ed25519(t), crypto.SHA512, common.PublicKeyDetails_PKIX_ED25519_PH},
	} {
		for _, cert := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, certificate %v", row.name, cert), func(t *testing.T) {
				req := request(t, row.key, row.hash, row.label, cert)
				want, err := upstreamBody(req)
				if err != nil {
					t.Fatalf("the row is wrong: upstream says %v", err)
				}
				e, err := hashedrekord2.Parse(req)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(e.Body(), want) {
					t.Errorf("body\n%s, upstream\n%s", e.Body(), want)
				}
				hash, err := upstream.ToEntryHash(req.Digest, req.Signature)
				if err != nil {
					t.Fatal(err)
				}
				if id := e.Identity(); !bytes.Equal(id[:], hash) {
					t.Errorf("identity %x, a client computes %x", id, hash)
				}
			})
		}
	}
}

func TestRefused(t *testing.T) {
	key := entrytest.P256(t)
	good := request(t, key, crypto.SHA256, p256Label, false)
	cert := request(t, key, crypto.SHA256, p256Label, true)
	with := func(base *pb.HashedRekordRequestV002, change func(*pb.HashedRekordRequestV002)) *pb.HashedRekordRequestV002 {
		c := proto.CloneOf(base)
		change(c)
		return c
	}
	label := func(l common.PublicKeyDetails) *pb.HashedRekordRequestV002 {
		return with(good, func(r *pb.HashedRekordRequestV002) { r.Signature.Verifier.KeyDetails = l })
	}
	ed := entrytest.Ed25519(t)
	type request2 = *pb.HashedRekordRequestV002
	for name, row := range map[string]struct {
		req      request2
		stricter bool // upstream takes it
		want     string
	}{
		"nothing":               {&pb.HashedRekordRequestV002{}, false, "missing signature"},
		"nil":                   {nil, false, "missing signature"},
		"no signature content":  {with(good, func(r request2) { r.Signature.Content = nil }), false, "missing signature"},
		"no verifier":           {with(good, func(r request2) { r.Signature.Verifier = nil }), false, "missing verifier"},
		"no digest":             {with(good, func(r request2) { r.Digest = nil }), false, "missing digest"},
		"neither key nor cert":  {with(good, func(r request2) { r.Signature.Verifier.Verifier = nil }), false, "missing public key or X.509"},
		"key empty":             {with(good, func(r request2) { r.Signature.Verifier.GetPublicKey().RawBytes = nil }), false, "missing public key or X.509"},
		"cert empty":            {with(cert, func(r request2) { r.Signature.Verifier.GetX509Certificate().RawBytes = nil }), false, "missing public key or X.509"},
		"key garbage":           {with(good, func(r request2) { r.Signature.Verifier.GetPublicKey().RawBytes = []byte("x") }), false, "public key cannot be parsed"},
		"data after the key":    {with(good, func(r request2) { k := r.Signature.Verifier.GetPublicKey(); k.RawBytes = append(k.RawBytes, 0) }), false, "public key cannot be parsed"},
		"cert garbage":          {with(cert, func(r request2) { r.Signature.Verifier.GetX509Certificate().RawBytes = []byte("x") }), false, "certificate cannot be parsed"},
		"digest of 31":          {with(good, func(r request2) { r.Digest = r.Digest[1:] }), false, "digest has 31 bytes"},
		"digest of 33":          {with(good, func(r request2) { r.Digest = append(r.Digest, 0) }), false, "digest has 33 bytes"},
		"digest of 64":          {with(good, func(r request2) { r.Digest = make([]byte, 64) }), false, "digest has 64 bytes"},
		"other digest":          {with(good, func(r request2) { r.Digest[0] ^= 1 }), false, "verifying signature"},
		"signature broken":      {with(good, func(r request2) { r.Signature.Content[10] ^= 1 }), false, "verifying signature"},
		"label missing":         {label(0), false, "unsupported signing algorithm"},
		"label unknown":         {label(9999), false, "unsupported signing algorithm"},
		"label of P-384":        {label(common.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384), false, "does not fit the key"},
		"label of Ed25519ph":    {label(common.PublicKeyDetails_PKIX_ED25519_PH), false, "does not fit the key"},
		"label of RSA":          {label(common.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256), true, "does not fit the key"},
		"label of RSA-PSS":      {label(common.PublicKeyDetails_PKIX_RSA_PSS_2048_SHA256), true, "unsupported signing algorithm"},
		"label of P-384 SHA256": {label(p384SHA256), true, "unsupported signing algorithm"},
		"Ed25519 pure":          {request(t, ed, crypto.SHA512, common.PublicKeyDetails_PKIX_ED25519, false), false, "unsupported signing algorithm"},
		"RSA 1024": {with(good, func(r request2) {
			r.Signature.Verifier = &pb.Verifier{KeyDetails: common.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256, Verifier: &pb.Verifier_PublicKey{PublicKey: &pb.PublicKey{RawBytes: entrytest.SPKI(t, weakRSA())}}}
		}), false, "does not fit the key"},
		"cert of RSA 1024": {request(t, entrytest.RSA(t, 1024), crypto.SHA256, common.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256, true), false, "does not fit the key"},
		"cert of P-224":    {request(t, entrytest.ECDSA(t, elliptic.P224()), crypto.SHA256, p256Label, true), false, "does not fit the key"},
		"body over 65535":  {huge(t), true, "entry too large for tile bundle"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := upstreamBody(row.req); name != "nil" && (err == nil) != row.stricter {
				t.Errorf("the row is wrong: upstream says %v", err)
			}
			_, err := hashedrekord2.Parse(row.req)
			if !errors.Is(err, entry.ErrInvalid) || !strings.Contains(fmt.Sprint(err), row.want) {
				t.Errorf("error = %v, want %q", err, row.want)
			}
		})
	}
}

// huge has a certificate that names more than fits into an entry bundle.
func huge(t testing.TB) *pb.HashedRekordRequestV002 {
	key := entrytest.P256(t)
	san := entrytest.SAN{}
	for i := range 1000 {
		san.DNS = append(san.DNS, fmt.Sprintf("%060d.example.com", i))
	}
	req := request(t, key, crypto.SHA256, p256Label, false)
	req.Signature.Verifier.Verifier = &pb.Verifier_X509Certificate{X509Certificate: &common.X509Certificate{RawBytes: entrytest.Cert(t, key, san, nil, nil)}}
	return req
}

func FuzzParse(f *testing.F) {
	key := entrytest.P256(f)
	for _, cert := range []bool{false, true} {
		raw, err := proto.Marshal(request(f, key, crypto.SHA256, p256Label, cert))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		req := &pb.HashedRekordRequestV002{}
		if proto.Unmarshal(raw, req) != nil {
			return
		}
		e, err := hashedrekord2.Parse(req)
		if err != nil {
			return // we are stricter; the rows of TestRefused say where
		}
		want, err := upstreamBody(req)
		if err != nil || !bytes.Equal(e.Body(), want) {
			t.Fatalf("accepted as\n%s, upstream (%v)\n%s", e.Body(), err, want)
		}
	})
}

func weakRSA() *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), 1023)
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}
}
