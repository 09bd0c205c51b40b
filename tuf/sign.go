package tuf

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Keys are the signers this process has, by role; each signs with ECDSA P-256. A process that
// only renews has Snapshot and Timestamp. A role of several offline signers has none here: they
// exchange files (tuf/ceremony), and [Repository.Install] takes what they have signed.
type Keys struct {
	Root, Targets, Snapshot, Timestamp crypto.Signer
}

// of returns a role's signer or ErrNoKey.
func (k Keys) of(role string) (crypto.Signer, error) {
	s := map[string]crypto.Signer{Root: k.Root, Targets: k.Targets, Snapshot: k.Snapshot, Timestamp: k.Timestamp}[role]
	if s == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoKey, role)
	}
	return s, nil
}

// publicKey returns the TUF form of a signer's key and its standard key id.
func publicKey(s crypto.Signer) (*metadata.Key, string, error) { return tufKey(s.Public()) }

// sign signs m with the role's key and returns the bytes to serve. Only the signature is added:
// m must not be signed yet.
func sign[T metadata.Roles](m *metadata.Metadata[T], role string, version int64, now time.Time, keys Keys) (Metadata, error) {
	signer, err := keys.of(role)
	if err != nil {
		return Metadata{}, err
	}
	_, id, err := publicKey(signer)
	if err != nil {
		return Metadata{}, err
	}
	payload, err := cjson.EncodeCanonical(m.Signed)
	if err != nil {
		return Metadata{}, fmt.Errorf("tuf: encode %s: %w", role, err)
	}
	digest := sha256.Sum256(payload)
	sig, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return Metadata{}, fmt.Errorf("tuf: sign %s version %d: %w", role, version, err)
	}
	m.Signatures = slices.Concat(m.Signatures, []metadata.Signature{{KeyID: id, Signature: sig}})
	out, err := m.ToBytes(false)
	if err != nil {
		return Metadata{}, fmt.Errorf("tuf: encode %s: %w", role, err)
	}
	return Metadata{Role: role, Version: version, SignedAt: now, Bytes: out}, nil
}
