package tsa

import (
	"crypto"
	_ "crypto/sha256" // the digests that a request may name
	_ "crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Refusals of a request. Errors of this package wrap one of them or one of those of Stamp.
var (
	ErrMalformed       = errors.New("malformed timestamp request")
	ErrWeakHash        = errors.New("hash algorithm is too weak")
	ErrUnsupportedHash = errors.New("hash algorithm is not supported")
	ErrDigestLength    = errors.New("digest does not have the length of its algorithm")
	ErrPolicy          = errors.New("policy is not one of this authority's")
	ErrExtension       = errors.New("extensions are not accepted")
	ErrNonce           = errors.New("nonce is too long")
)

// MaxNonceBits is the longest nonce that is echoed. RFC 3161 asks for 64 bits; gitsign sends 128.
const MaxNonceBits = 160

// Request is what a TimeStampReq asks for.
type Request struct {
	Hash         crypto.Hash           // SHA256, SHA384 or SHA512
	Digest       []byte                // Hash.Size() bytes
	Policy       asn1.ObjectIdentifier // nil: the authority's own
	Nonce        *big.Int              // nil: none
	Certificates bool                  // put the signing certificate into the token
}

var hashes = []struct {
	oid  asn1.ObjectIdentifier
	hash crypto.Hash
}{
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, crypto.SHA256},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, crypto.SHA384},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, crypto.SHA512},
}

var weakHashes = []asn1.ObjectIdentifier{
	{1, 3, 14, 3, 2, 26},      // SHA-1
	{1, 2, 840, 113549, 2, 5}, // MD5
	{1, 2, 840, 113549, 2, 4}, // MD4
	{1, 2, 840, 113549, 2, 2}, // MD2
}

// ParseRequest reads a TimeStampReq (RFC 3161 2.4.1) in DER. It refuses BER, any version but 1,
// anything after the last field, and extensions, with one of the sentinels above.
func ParseRequest(der []byte) (Request, error) {
	var req Request
	in := cryptobyte.String(der)
	var body, imprint, alg cryptobyte.String
	var version int
	if !in.ReadASN1(&body, cbasn1.SEQUENCE) || !in.Empty() {
		return req, fmt.Errorf("%w: not one DER SEQUENCE", ErrMalformed)
	}
	if !body.ReadASN1Integer(&version) || version != 1 {
		return req, fmt.Errorf("%w: version is not 1", ErrMalformed)
	}
	if !body.ReadASN1(&imprint, cbasn1.SEQUENCE) || !imprint.ReadASN1(&alg, cbasn1.SEQUENCE) {
		return req, fmt.Errorf("%w: messageImprint", ErrMalformed)
	}
	var err error
	if req.Hash, err = readHash(&alg); err != nil {
		return req, err
	}
	if !imprint.ReadASN1Bytes(&req.Digest, cbasn1.OCTET_STRING) || !imprint.Empty() {
		return req, fmt.Errorf("%w: hashedMessage", ErrMalformed)
	}
	if err := readOptions(&body, &req); err != nil {
		return req, err
	}
	return req, req.check()
}

// readHash reads an AlgorithmIdentifier whose parameters are absent or NULL.
func readHash(alg *cryptobyte.String) (crypto.Hash, error) {
	var oid asn1.ObjectIdentifier
	if !alg.ReadASN1ObjectIdentifier(&oid) {
		return 0, fmt.Errorf("%w: hash algorithm", ErrMalformed)
	}
	if !alg.Empty() {
		var null cryptobyte.String
		if !alg.ReadASN1(&null, cbasn1.NULL) || !null.Empty() || !alg.Empty() {
			return 0, fmt.Errorf("%w: hash algorithm parameters", ErrMalformed)
		}
	}
	for _, weak := range weakHashes {
		if weak.Equal(oid) {
			return 0, ErrWeakHash
		}
	}
	for _, h := range hashes {
		if h.oid.Equal(oid) {
			return h.hash, nil
		}
	}
	return 0, ErrUnsupportedHash
}

// readOptions reads reqPolicy, nonce, certReq and extensions, each of which may be absent.
func readOptions(body *cryptobyte.String, req *Request) error {
	if body.PeekASN1Tag(cbasn1.OBJECT_IDENTIFIER) && !body.ReadASN1ObjectIdentifier(&req.Policy) {
		return fmt.Errorf("%w: reqPolicy", ErrMalformed)
	}
	if body.PeekASN1Tag(cbasn1.INTEGER) {
		req.Nonce = new(big.Int)
		if !body.ReadASN1Integer(req.Nonce) {
			return fmt.Errorf("%w: nonce", ErrMalformed)
		}
	}
	// An explicit FALSE is not DER (it is the default), but some encoders write it.
	if body.PeekASN1Tag(cbasn1.BOOLEAN) && !body.ReadASN1Boolean(&req.Certificates) {
		return fmt.Errorf("%w: certReq", ErrMalformed)
	}
	if body.PeekASN1Tag(cbasn1.Tag(0).ContextSpecific().Constructed()) {
		return ErrExtension
	}
	if !body.Empty() {
		return fmt.Errorf("%w: unexpected field", ErrMalformed)
	}
	return nil
}

// check holds for requests of every encoding; Stamp repeats it, so that no face can forget it.
func (r Request) check() error {
	switch r.Hash {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
	case crypto.SHA1, crypto.MD5, crypto.MD4:
		return ErrWeakHash
	default:
		return ErrUnsupportedHash
	}
	if len(r.Digest) != r.Hash.Size() {
		return fmt.Errorf("%w: %d bytes for %s", ErrDigestLength, len(r.Digest), r.Hash)
	}
	if r.Nonce != nil && r.Nonce.BitLen() > MaxNonceBits {
		return fmt.Errorf("%w: %d bits, at most %d", ErrNonce, r.Nonce.BitLen(), MaxNonceBits)
	}
	return nil
}
