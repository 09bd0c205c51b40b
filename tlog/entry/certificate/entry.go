package certificate

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/crypto/cryptobyte"

	"github.com/sigbox/sigbox/tlog"
)

// ErrNotPrecert is returned for a certificate that is no precertificate as RFC 6962 3.1 has it.
var ErrNotPrecert = errors.New("certificate: not a precertificate")

// Entry is one certificate or precertificate with its chain. It is for one goroutine at a time.
type Entry struct {
	leaf     []byte // the MerkleTreeLeaf at time 0
	extra    []byte // extra_data of RFC 6962 4.6
	identity [32]byte
	key      []byte // leaf hash of the last Encode
}

var _ tlog.Entry = (*Entry)(nil)

// NewX509 returns the entry of a certificate, issuers its chain from its issuer to the root.
func NewX509(cert *x509.Certificate, issuers []*x509.Certificate) (*Entry, error) {
	return newEntry(ct.X509LogEntryType, len(cert.Raw), sizeOf(issuers),
		func(signed *cryptobyte.Builder) { addOpaque24(signed, cert.Raw) },
		func(extra *cryptobyte.Builder) { addChain(extra, issuers) })
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
	key := sha256.Sum256(issuers[0].RawSubjectPublicKeyInfo)
	return newEntry(ct.PrecertLogEntryType, len(key)+len(tbs), len(cert.Raw)+sizeOf(issuers),
		func(signed *cryptobyte.Builder) { signed.AddBytes(key[:]); addOpaque24(signed, tbs) },
		func(extra *cryptobyte.Builder) { addOpaque24(extra, cert.Raw); addChain(extra, issuers) })
}

// newEntry encodes the MerkleTreeLeaf (RFC 6962 3.4), all but the time, and what goes with it:
//
//	struct {
//	    Version version;                    0
//	    MerkleLeafType leaf_type;           0
//	    uint64 timestamp;
//	    LogEntryType entry_type;            uint16
//	    signed_entry;                       opaque ASN.1Cert<1..2^24-1>, after 32 bytes of issuer_key_hash in a PreCert
//	    CtExtensions extensions;            opaque<0..2^16-1>, empty
//	} MerkleTreeLeaf;
//
// Both parts are encoded into memory of about their sizes, signed and extra bytes.
func newEntry(kind ct.LogEntryType, signed, extra int, addSigned, addExtra func(*cryptobyte.Builder)) (*Entry, error) {
	leaf, chain := cryptobyte.NewBuilder(make([]byte, 0, signed+32)), cryptobyte.NewBuilder(make([]byte, 0, extra+16))
	leaf.AddUint16(0)
	leaf.AddUint64(0)
	leaf.AddUint16(uint16(kind))
	addSigned(leaf)
	leaf.AddUint16(0)
	addExtra(chain)
	e := &Entry{}
	var err error
	if e.leaf, err = leaf.Bytes(); err != nil {
		return nil, fmt.Errorf("encode MerkleTreeLeaf: %w", err)
	}
	if e.extra, err = chain.Bytes(); err != nil {
		return nil, fmt.Errorf("encode certificate chain: %w", err)
	}
	e.identity = sha256.Sum256(e.leaf) // a full and unambiguous encoding of the type and what is promised
	return e, nil
}

// sizeOf is how many bytes addChain adds.
func sizeOf(certs []*x509.Certificate) (n int) {
	for _, c := range certs {
		n += 3 + len(c.Raw)
	}
	return n + 3
}

// addOpaque24 adds bytes after their number, as opaque<0..2^24-1> is encoded (RFC 5246 4.3).
func addOpaque24(b *cryptobyte.Builder, bytes []byte) {
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(bytes) })
}

// addChain adds ASN.1Cert certificate_chain<0..2^24-1> (RFC 6962 3.1).
func addChain(b *cryptobyte.Builder, certs []*x509.Certificate) {
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, c := range certs {
			addOpaque24(b, c.Raw)
		}
	})
}

// Identity is SHA-256 of the entry's type and its certificate, or its issuer key hash and TBS.
func (e *Entry) Identity() [32]byte { return e.identity }

// Encode returns the MerkleTreeLeaf and what Parse takes apart again, of which it is a part.
func (e *Entry) Encode(_, timeMS int64) (leaf, stored []byte, err error) {
	if len(e.leaf) > maxOpaque24 || len(e.extra) > maxOpaque24 {
		return nil, nil, fmt.Errorf("encode stored entry: %d and %d bytes: %w", len(e.leaf), len(e.extra), tlog.ErrTooLarge)
	}
	stored = make([]byte, 0, 6+len(e.leaf)+len(e.extra))
	stored = appendUint24(stored, len(e.leaf))
	stored = append(stored, e.leaf...)
	leaf = stored[3:len(stored):len(stored)]
	binary.BigEndian.PutUint64(leaf[timeAt:], uint64(timeMS))
	stored = appendUint24(stored, len(e.extra))
	stored = append(stored, e.extra...)
	e.key = rfc6962.DefaultHasher.HashLeaf(leaf)
	return leaf, stored, nil
}

const (
	timeAt      = 2 // where a MerkleTreeLeaf has its time
	maxOpaque24 = 1<<24 - 1
)

func appendUint24(b []byte, n int) []byte { return append(b, byte(n>>16), byte(n>>8), byte(n)) }

// MerkleLeaf returns the MerkleTreeLeaf of the entry at a time in Unix milliseconds.
func (e *Entry) MerkleLeaf(timeMS int64) []byte {
	leaf := bytes.Clone(e.leaf)
	binary.BigEndian.PutUint64(leaf[timeAt:], uint64(timeMS))
	return leaf
}

// Keys returns the leaf hash of the last Encode.
func (e *Entry) Keys() [][]byte { return [][]byte{e.key} }

// Parse takes the stored bytes of an entry apart: leaf_input, the MerkleTreeLeaf, and extra_data
// (RFC 6962 4.6), the two fields of a get-entries answer, each after its length in 3 bytes.
func Parse(stored []byte) (leafInput, extraData []byte, err error) {
	var leaf, extra cryptobyte.String
	in := cryptobyte.String(stored)
	if !in.ReadUint24LengthPrefixed(&leaf) || len(leaf) == 0 || !in.ReadUint24LengthPrefixed(&extra) {
		return nil, nil, fmt.Errorf("decode stored entry: its %d bytes end before it does, or it has no leaf", len(stored))
	}
	if len(in) != 0 {
		return nil, nil, fmt.Errorf("decode stored entry: %d bytes too many", len(in))
	}
	return leaf, extra, nil
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
