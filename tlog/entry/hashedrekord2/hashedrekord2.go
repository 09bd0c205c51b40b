package hashedrekord2

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"

	"github.com/sigbox/sigbox/tlog/entry"
	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
)

// Kind is "kind" and "apiVersion" of such an entry.
var Kind = entry.Kind{Name: "hashedrekord", Version: "0.0.2"}

// MaxBody is the longest body that fits into an entry bundle (C2SP tlog-tiles), in bytes.
const MaxBody = 65535

// Entry is a hashedrekord whose signature holds. It has no search keys: a v2 log is read as tiles.
type Entry struct {
	entry.Base
	key *entry.Key
}

// Verifiers returns the key or certificate.
func (e *Entry) Verifiers() ([]entry.Verifier, error) { return entry.Verifiers([]*entry.Key{e.key}) }

// Parse checks a request and verifies its signature. Errors wrap [entry.ErrInvalid].
func Parse(req *pb.HashedRekordRequestV002) (*Entry, error) {
	sig := req.GetSignature()
	v := sig.GetVerifier()
	switch {
	case len(sig.GetContent()) == 0:
		return nil, entry.Invalidf("missing signature")
	case v == nil:
		return nil, entry.Invalidf("missing verifier")
	case len(req.GetDigest()) == 0:
		return nil, entry.Invalidf("missing digest")
	}
	key, err := publicKey(v)
	if err != nil {
		return nil, err
	}
	pub := key.Public()
	hash, name, err := algorithm(v.GetKeyDetails(), pub)
	if err != nil {
		return nil, err
	}
	if len(req.GetDigest()) != hash.Size() {
		return nil, entry.Invalidf("digest has %d bytes: %s takes %d", len(req.GetDigest()), v.GetKeyDetails(), hash.Size())
	}
	if err := entry.VerifyDigest(pub, hash, req.GetDigest(), sig.GetContent()); err != nil {
		return nil, entry.Invalidf("verifying signature: %v", err)
	}
	body := body(req, name)
	if len(body) > MaxBody {
		return nil, entry.Invalidf("entry too large for tile bundle: %d bytes, at most %d", len(body), MaxBody)
	}
	return &Entry{entry.NewBase(body, nil), key}, nil
}

func publicKey(v *pb.Verifier) (*entry.Key, error) {
	switch {
	case len(v.GetPublicKey().GetRawBytes()) > 0:
		return entry.ParseKeyDER(v.GetPublicKey().GetRawBytes())
	case len(v.GetX509Certificate().GetRawBytes()) > 0:
		return entry.ParseCertDER(v.GetX509Certificate().GetRawBytes())
	}
	return nil, entry.Invalidf("missing public key or X.509 certificate")
}

// algorithm returns the hash that a label stands for, as crypto and as the body name it, and
// refuses a label that is not taken or does not fit the key.
func algorithm(label common.PublicKeyDetails, pub crypto.PublicKey) (crypto.Hash, string, error) {
	fits := false
	hash, name := crypto.SHA256, common.HashAlgorithm_SHA2_256
	switch label {
	case common.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256:
		fits = rsaBits(pub) == 2048
	case common.PublicKeyDetails_PKIX_RSA_PKCS1V15_3072_SHA256:
		fits = rsaBits(pub) == 3072
	case common.PublicKeyDetails_PKIX_RSA_PKCS1V15_4096_SHA256:
		fits = rsaBits(pub) == 4096
	case common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256:
		fits = curve(pub) == elliptic.P256()
	case common.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384:
		fits = curve(pub) == elliptic.P384()
		hash, name = crypto.SHA384, common.HashAlgorithm_SHA2_384
	case common.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512:
		fits = curve(pub) == elliptic.P521()
		hash, name = crypto.SHA512, common.HashAlgorithm_SHA2_512
	case common.PublicKeyDetails_PKIX_ED25519_PH:
		_, fits = pub.(ed25519.PublicKey)
		hash, name = crypto.SHA512, common.HashAlgorithm_SHA2_512
	default:
		return 0, "", entry.Invalidf("unsupported signing algorithm %s", label)
	}
	if !fits {
		return 0, "", entry.Invalidf("keyDetails %s does not fit the key", label)
	}
	return hash, name.String(), nil
}

func rsaBits(pub crypto.PublicKey) int {
	if k, ok := pub.(*rsa.PublicKey); ok {
		return k.Size() * 8
	}
	return 0
}

func curve(pub crypto.PublicKey) elliptic.Curve {
	if k, ok := pub.(*ecdsa.PublicKey); ok {
		return k.Curve
	}
	return nil
}

func body(req *pb.HashedRekordRequestV002, algorithm string) []byte {
	sig := req.GetSignature()
	v := sig.GetVerifier()
	name, raw := `"publicKey"`, v.GetPublicKey().GetRawBytes()
	if len(raw) == 0 {
		name, raw = `"x509Certificate"`, v.GetX509Certificate().GetRawBytes()
	}
	b := make([]byte, 0, 512+4*(len(raw)+len(sig.GetContent()))/3)
	b = append(b, `{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":`...)
	b = entry.AppendString(b, algorithm)
	b = append(b, `,"digest":`...)
	b = entry.AppendBase64(b, req.GetDigest())
	b = append(b, `},"signature":{"content":`...)
	b = entry.AppendBase64(b, sig.GetContent())
	b = append(b, `,"verifier":{"keyDetails":`...)
	b = entry.AppendString(b, v.GetKeyDetails().String())
	b = append(b, ',')
	b = append(b, name...)
	b = append(b, `:{"rawBytes":`...)
	b = entry.AppendBase64(b, raw)
	return append(b, `}}}}}}`...)
}
