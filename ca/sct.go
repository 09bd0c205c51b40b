package ca

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"golang.org/x/crypto/cryptobyte"

	"github.com/sigbox/sigbox/keys"
)

// SCTSource logs precertificates in a certificate transparency log. *ctlog.Server is one. The authority has
// verified the signature of each precertificate, and verifies each promise before it uses it.
type SCTSource interface {
	// AddPreChain takes the DER chain of a precertificate, leaf first, root last, and returns the
	// TLS encoding of its SignedCertificateTimestamp (RFC 6962 3.2). Its error wraps ErrLogEnded
	// where the log will never take an entry again.
	AddPreChain(ctx context.Context, chain [][]byte) (sct []byte, err error)
}

// maxSCTSkew is how far before a certificate's validity its promise may be dated: the log may
// run on a machine with another clock.
const maxSCTSkew = time.Minute

// promises verifies what the log answers, as clients will.
type promises struct {
	verifier *ct.SignatureVerifier
	logID    [32]byte
}

func newPromises(key crypto.PublicKey) (promises, error) {
	v, err := ct.NewSignatureVerifier(key)
	if err != nil {
		return promises{}, fmt.Errorf("ca: key of the CT log: %w", err)
	}
	id, err := keys.ID(key)
	if err != nil {
		return promises{}, fmt.Errorf("ca: key of the CT log: %w", err)
	}
	return promises{verifier: v, logID: id}, nil
}

// verify says whether sct is the log's promise for exactly this TBSCertificate (without poison and
// SCT list) under this issuer.
func (p promises) verify(sct, tbs, issuerSPKI []byte, notBefore, notAfter time.Time) error {
	var s ct.SignedCertificateTimestamp
	rest, err := tls.Unmarshal(sct, &s)
	if err != nil {
		return fmt.Errorf("decode SCT: %w", err)
	}
	at := ct.TimestampToTime(s.Timestamp)
	switch {
	case len(rest) != 0:
		return fmt.Errorf("%d bytes after the SCT", len(rest))
	case s.LogID.KeyID != p.logID:
		return errors.New("SCT of another log")
	case len(s.Extensions) != 0:
		return errors.New("SCT with extensions, which some clients refuse")
	case at.Before(notBefore.Add(-maxSCTSkew)) || at.After(notAfter):
		return fmt.Errorf("SCT dated %s for a certificate of %s: one of the clocks is wrong", at.UTC().Format(time.RFC3339), notBefore.Format(time.RFC3339))
	}
	// The verifier knows version 1 only.
	entry := ct.LogEntry{Leaf: ct.MerkleTreeLeaf{TimestampedEntry: &ct.TimestampedEntry{
		EntryType:    ct.PrecertLogEntryType,
		PrecertEntry: &ct.PreCert{IssuerKeyHash: sha256.Sum256(issuerSPKI), TBSCertificate: tbs},
	}}}
	if err := p.verifier.VerifySCTSignature(s, entry); err != nil {
		return fmt.Errorf("SCT: %w", err)
	}
	return nil
}

// sctList is the extension that carries one SCT (RFC 6962 3.3):
//
//	opaque SerializedSCT<1..2^16-1>;
//	struct { SerializedSCT sct_list <1..2^16-1>; } SignedCertificateTimestampList;
func sctList(sct []byte) (pkix.Extension, error) {
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(sct) })
	})
	list, err := b.Bytes()
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("encode SCT list: %w", err)
	}
	value, err := asn1.Marshal(list)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("encode SCT list: %w", err)
	}
	return pkix.Extension{Id: oidSCTList, Value: value}, nil
}
