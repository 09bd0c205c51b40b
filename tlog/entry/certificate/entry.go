package certificate

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/tlog"
)

// ErrNotPrecert is returned for a certificate that is no precertificate as RFC 6962 3.1 has it.
var ErrNotPrecert = errors.New("certificate: not a precertificate")

// Entry is one certificate or precertificate with its chain. It is for one goroutine at a time.
type Entry struct {
	content  ct.TimestampedEntry // all but the timestamp
	extra    []byte              // extra_data of RFC 6962 4.6
	identity [32]byte
	key      []byte // leaf hash of the last Encode
}

var _ tlog.Entry = (*Entry)(nil)

// NewX509 returns the entry of a certificate, issuers its chain from its issuer to the root.
func NewX509(cert *x509.Certificate, issuers []*x509.Certificate) (*Entry, error) {
	extra, err := tls.Marshal(ct.CertificateChain{Entries: ders(issuers)})
	if err != nil {
		return nil, fmt.Errorf("encode certificate chain: %w", err)
	}
	return newEntry(ct.TimestampedEntry{EntryType: ct.X509LogEntryType, X509Entry: &ct.ASN1Cert{Data: cert.Raw}}, extra)
}

// NewPrecert returns the entry of a precertificate, issuers its chain from its issuer, of which
// there is at least one, to the root. The issuer is the one that signs the final certificate too.
func NewPrecert(cert *x509.Certificate, issuers []*x509.Certificate) (*Entry, error) {
	if len(issuers) == 0 {
		return nil, fmt.Errorf("precertificate without its issuer: %w", ErrNotPrecert)
	}
	tbs, err := WithoutPoison(cert.RawTBSCertificate)
	if err != nil {
		return nil, err
	}
	extra, err := tls.Marshal(ct.PrecertChainEntry{PreCertificate: ct.ASN1Cert{Data: cert.Raw}, CertificateChain: ders(issuers)})
	if err != nil {
		return nil, fmt.Errorf("encode precertificate chain: %w", err)
	}
	return newEntry(ct.TimestampedEntry{EntryType: ct.PrecertLogEntryType, PrecertEntry: &ct.PreCert{
		IssuerKeyHash:  sha256.Sum256(issuers[0].RawSubjectPublicKeyInfo),
		TBSCertificate: tbs,
	}}, extra)
}

func newEntry(content ct.TimestampedEntry, extra []byte) (*Entry, error) {
	e := &Entry{content: content, extra: extra}
	leaf, err := e.MerkleLeaf(0) // a full and unambiguous encoding of the type and what is promised
	if err != nil {
		return nil, err
	}
	e.identity = sha256.Sum256(leaf)
	return e, nil
}

func ders(certs []*x509.Certificate) []ct.ASN1Cert {
	out := make([]ct.ASN1Cert, len(certs))
	for i, c := range certs {
		out[i] = ct.ASN1Cert{Data: c.Raw}
	}
	return out
}

// Identity is SHA-256 of the entry's type and its certificate, or its issuer key hash and TBS.
func (e *Entry) Identity() [32]byte { return e.identity }

// Encode returns the MerkleTreeLeaf and what Parse takes apart again.
func (e *Entry) Encode(_, timeMS int64) (leaf, stored []byte, err error) {
	if leaf, err = e.MerkleLeaf(timeMS); err != nil {
		return nil, nil, err
	}
	e.key = rfc6962.DefaultHasher.HashLeaf(leaf)
	stored, err = tls.Marshal(storedEntry{LeafInput: leaf, ExtraData: e.extra})
	if err != nil {
		return nil, nil, fmt.Errorf("encode stored entry: %w", err)
	}
	return leaf, stored, nil
}

// MerkleLeaf returns the MerkleTreeLeaf of the entry at a time in Unix milliseconds.
func (e *Entry) MerkleLeaf(timeMS int64) ([]byte, error) {
	content := e.content
	content.Timestamp = uint64(timeMS)
	leaf, err := tls.Marshal(ct.MerkleTreeLeaf{Version: ct.V1, LeafType: ct.TimestampedEntryLeafType, TimestampedEntry: &content})
	if err != nil {
		return nil, fmt.Errorf("encode MerkleTreeLeaf: %w", err)
	}
	return leaf, nil
}

// Keys returns the leaf hash of the last Encode.
func (e *Entry) Keys() [][]byte { return [][]byte{e.key} }

// storedEntry is what the log keeps of an entry: the two fields of a get-entries answer.
type storedEntry struct {
	LeafInput []byte `tls:"minlen:1,maxlen:16777215"`
	ExtraData []byte `tls:"minlen:0,maxlen:16777215"`
}

// Parse takes the stored bytes of an entry apart: leaf_input, the MerkleTreeLeaf, and extra_data
// (RFC 6962 4.6).
func Parse(stored []byte) (leafInput, extraData []byte, err error) {
	var s storedEntry
	rest, err := tls.Unmarshal(stored, &s)
	if err != nil {
		return nil, nil, fmt.Errorf("decode stored entry: %w", err)
	}
	if len(rest) != 0 {
		return nil, nil, fmt.Errorf("decode stored entry: %d bytes too many", len(rest))
	}
	return s.LeafInput, s.ExtraData, nil
}

// LeafInput is the first half of Parse, for tlog.Config.
func LeafInput(stored []byte) ([]byte, error) {
	leaf, _, err := Parse(stored)
	return leaf, err
}

// ParseLeaf decodes a MerkleTreeLeaf.
func ParseLeaf(leafInput []byte) (*ct.TimestampedEntry, error) {
	var leaf ct.MerkleTreeLeaf
	rest, err := tls.Unmarshal(leafInput, &leaf)
	if err != nil {
		return nil, fmt.Errorf("decode MerkleTreeLeaf: %w", err)
	}
	if len(rest) != 0 || leaf.Version != ct.V1 || leaf.TimestampedEntry == nil {
		return nil, errors.New("decode MerkleTreeLeaf: not a timestamped entry of version 1")
	}
	return leaf.TimestampedEntry, nil
}
