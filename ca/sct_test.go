package ca

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"

	"github.com/sigbox/sigbox/keys"
)

// FuzzPromise: no bytes but the log's own are its promise for a certificate.
func FuzzPromise(f *testing.F) {
	key, err := keys.NewECDSA()
	if err != nil {
		f.Fatal(err)
	}
	p, err := newPromises(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tbs, spki := []byte("a certificate"), []byte("an issuer")
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: p.logID}, Timestamp: uint64(at.UnixMilli())}
	input, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: ct.MerkleTreeLeaf{TimestampedEntry: &ct.TimestampedEntry{
		EntryType: ct.PrecertLogEntryType, PrecertEntry: &ct.PreCert{IssuerKeyHash: sha256.Sum256(spki), TBSCertificate: tbs},
	}}})
	if err != nil {
		f.Fatal(err)
	}
	digest := sha256.Sum256(input)
	sig, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		f.Fatal(err)
	}
	sct.Signature = ct.DigitallySigned{Algorithm: tls.SignatureAndHashAlgorithm{Hash: tls.SHA256, Signature: tls.ECDSA}, Signature: sig}
	good, err := tls.Marshal(sct)
	if err != nil {
		f.Fatal(err)
	}
	if err := p.verify(good, tbs, spki, at, at.Add(time.Minute)); err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append(bytes.Clone(good), 0))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := p.verify(raw, tbs, spki, at, at.Add(time.Minute)); err == nil && !bytes.Equal(raw, good) {
			t.Fatalf("%x is taken for a promise", raw)
		}
	})
}
