package ctlog

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"golang.org/x/crypto/cryptobyte"
)

// signer makes the two signatures of RFC 6962: over promises and over tree heads.
type signer struct {
	key crypto.Signer
	pub *ecdsa.PublicKey
	id  [32]byte // SHA-256 of the public key (RFC 6962 3.2)
}

// signing is one of sign and signUnchecked.
type signing func(input []byte) (ct.DigitallySigned, error)

// sct signs the promise for an entry that is in the log, by sign. leaf is its MerkleTreeLeaf, timeMS the time
// in it. What an SCT signs (RFC 6962 3.2) are the same bytes (3.4): both begin with version 0 and type 0, and
// go on with the time, the entry's type, the entry and the extensions.
func (s signer) sct(leaf []byte, timeMS int64, sign signing) (ct.SignedCertificateTimestamp, error) {
	sig, err := sign(leaf)
	if err != nil {
		return ct.SignedCertificateTimestamp{}, fmt.Errorf("sign SCT: %w", err)
	}
	return ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: s.id}, Timestamp: uint64(timeMS), Signature: sig}, nil
}

// treeHead signs a tree head (RFC 6962 3.5).
func (s signer) treeHead(size, timeMS uint64, root [32]byte) (ct.SignedTreeHead, error) {
	sth := ct.SignedTreeHead{Version: ct.V1, TreeSize: size, Timestamp: timeMS, SHA256RootHash: root, LogID: s.id}
	input, err := ct.SerializeSTHSignatureInput(sth)
	if err != nil {
		return ct.SignedTreeHead{}, fmt.Errorf("encode what a tree head signs: %w", err)
	}
	if sth.TreeHeadSignature, err = s.sign(input); err != nil {
		return ct.SignedTreeHead{}, fmt.Errorf("sign tree head: %w", err)
	}
	return sth, nil
}

// sign signs, and verifies before anybody sees the signature: one made by faulty hardware can
// give the key away.
func (s signer) sign(input []byte) (ct.DigitallySigned, error) {
	signed, err := s.signUnchecked(input)
	if digest := sha256.Sum256(input); err == nil && !ecdsa.VerifyASN1(s.pub, digest[:], signed.Signature) {
		return ct.DigitallySigned{}, errors.New("the signature just made does not verify")
	}
	return signed, err
}

// signUnchecked signs for one who verifies the signature before anybody else sees it.
func (s signer) signUnchecked(input []byte) (ct.DigitallySigned, error) {
	digest := sha256.Sum256(input)
	random := rand.Reader
	if _, ok := s.key.(*ecdsa.PrivateKey); ok {
		random = nil // deterministic (RFC 6979): what is signed twice has one signature
	}
	sig, err := s.key.Sign(random, digest[:], crypto.SHA256)
	if err != nil {
		return ct.DigitallySigned{}, err
	}
	return ct.DigitallySigned{
		Algorithm: tls.SignatureAndHashAlgorithm{Hash: tls.SHA256, Signature: tls.ECDSA},
		Signature: sig,
	}, nil
}

// encodeSCT encodes a SignedCertificateTimestamp (RFC 6962 3.2):
//
//	struct {
//	    Version sct_version;                0
//	    opaque key_id[32];
//	    uint64 timestamp;
//	    opaque extensions<0..2^16-1>;
//	    HashAlgorithm, SignatureAlgorithm;  a byte each (RFC 5246 7.4.1.4.1)
//	    opaque signature<0..2^16-1>;
//	} SignedCertificateTimestamp;
func encodeSCT(sct ct.SignedCertificateTimestamp) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint8(uint8(sct.SCTVersion))
	b.AddBytes(sct.LogID.KeyID[:])
	b.AddUint64(sct.Timestamp)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(sct.Extensions) })
	b.AddUint8(uint8(sct.Signature.Algorithm.Hash))
	b.AddUint8(uint8(sct.Signature.Algorithm.Signature))
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(sct.Signature.Signature) })
	out, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode SCT: %w", err)
	}
	return out, nil
}
