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
)

// signer makes the two signatures of RFC 6962: over promises and over tree heads.
type signer struct {
	key crypto.Signer
	pub *ecdsa.PublicKey
	id  [32]byte // SHA-256 of the public key (RFC 6962 3.2)
}

// sct signs the promise for an entry that is in the log (RFC 6962 3.2).
func (s signer) sct(e *ct.TimestampedEntry) (ct.SignedCertificateTimestamp, error) {
	input, err := tls.Marshal(ct.CertificateTimestamp{
		SCTVersion: ct.V1, SignatureType: ct.CertificateTimestampSignatureType,
		Timestamp: e.Timestamp, EntryType: e.EntryType, X509Entry: e.X509Entry, PrecertEntry: e.PrecertEntry,
	})
	if err != nil {
		return ct.SignedCertificateTimestamp{}, fmt.Errorf("encode what an SCT signs: %w", err)
	}
	sig, err := s.sign(input)
	if err != nil {
		return ct.SignedCertificateTimestamp{}, fmt.Errorf("sign SCT: %w", err)
	}
	return ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: s.id}, Timestamp: e.Timestamp, Signature: sig}, nil
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
	digest := sha256.Sum256(input)
	random := rand.Reader
	if _, ok := s.key.(*ecdsa.PrivateKey); ok {
		random = nil // deterministic (RFC 6979): what is signed twice has one signature
	}
	sig, err := s.key.Sign(random, digest[:], crypto.SHA256)
	if err != nil {
		return ct.DigitallySigned{}, err
	}
	if !ecdsa.VerifyASN1(s.pub, digest[:], sig) {
		return ct.DigitallySigned{}, errors.New("the signature just made does not verify")
	}
	return ct.DigitallySigned{
		Algorithm: tls.SignatureAndHashAlgorithm{Hash: tls.SHA256, Signature: tls.ECDSA},
		Signature: sig,
	}, nil
}

func encodeSCT(sct ct.SignedCertificateTimestamp) ([]byte, error) {
	b, err := tls.Marshal(sct)
	if err != nil {
		return nil, fmt.Errorf("encode SCT: %w", err)
	}
	return b, nil
}
