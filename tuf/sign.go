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

	// Before are keys of snapshot and timestamp that the root that is published next replaces; nil for none. What is
	// published with it is signed by them too: a client that had looked for a newer root when that was published goes on
	// to verify what follows by the one that it has.
	Before *Keys
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
	signers := []crypto.Signer{signer}
	if keys.Before != nil {
		if old, err := keys.Before.of(role); err == nil {
			signers = append(signers, old)
		}
	}
	for _, s := range signers {
		if err := addSignature(m, s); err != nil {
			return Metadata{}, fmt.Errorf("tuf: sign %s version %d: %w", role, version, err)
		}
	}
	out, err := m.ToBytes(false)
	if err != nil {
		return Metadata{}, fmt.Errorf("tuf: encode %s: %w", role, err)
	}
	return Metadata{Role: role, Version: version, SignedAt: now, Bytes: out}, nil
}

// addSignature signs m with a key that has not signed it.
func addSignature[T metadata.Roles](m *metadata.Metadata[T], signer crypto.Signer) error {
	_, id, err := publicKey(signer)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(m.Signatures, func(s metadata.Signature) bool { return s.KeyID == id }) {
		return nil
	}
	payload, err := cjson.EncodeCanonical(m.Signed)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(payload)
	sig, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return err
	}
	m.Signatures = slices.Concat(m.Signatures, []metadata.Signature{{KeyID: id, Signature: sig}})
	return nil
}

// TargetsSignedToo returns targets with the signature of one key more, for the reason of [Keys].Before: one that the
// root that is published with them does not name any more.
func TargetsSignedToo(targets []byte, old crypto.Signer) ([]byte, error) {
	m, err := metadata.Targets().FromBytes(targets)
	if err == nil {
		err = addSignature(m, old)
	}
	if err != nil {
		return nil, fmt.Errorf("tuf: sign targets with the key of before: %w", err)
	}
	return m.ToBytes(false)
}
