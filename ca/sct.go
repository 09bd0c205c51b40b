package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math"
	"time"

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

// EarlySCTSource is an SCTSource that promises an entry as soon as it is durable.
type EarlySCTSource interface {
	SCTSource
	// AddPreChainEarly is AddPreChain in two steps, for certificates that were read back already: shown waits
	// until the log has done with the entry all that it does before it promises one. Nothing that carries the
	// promise may leave the authority before that.
	AddPreChainEarly(ctx context.Context, chain []*x509.Certificate) (sct []byte, shown func(context.Context) error, err error)
}

// Submit has a precertificate logged, early where the log can; shown is never nil without an error.
func Submit(ctx context.Context, to SCTSource, chain []*x509.Certificate) (sct []byte, shown func(context.Context) error, err error) {
	if early, ok := to.(EarlySCTSource); ok {
		return early.AddPreChainEarly(ctx, chain)
	}
	raw := make([][]byte, len(chain))
	for i, c := range chain {
		raw[i] = c.Raw
	}
	sct, err = to.AddPreChain(ctx, raw)
	return sct, func(context.Context) error { return nil }, err
}

// maxSCTSkew is how far before a certificate's validity its promise may be dated: the log may
// run on a machine with another clock.
const maxSCTSkew = time.Minute

// promises verifies what the log answers, as clients will.
type promises struct {
	key   *ecdsa.PublicKey
	logID [32]byte
}

func newPromises(key crypto.PublicKey) (promises, error) {
	pub, ok := key.(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return promises{}, errors.New("ca: key of the CT log: want ECDSA P-256, the one kind that every client verifies")
	}
	id, err := keys.ID(pub)
	if err != nil {
		return promises{}, fmt.Errorf("ca: key of the CT log: %w", err)
	}
	return promises{key: pub, logID: id}, nil
}

// promise is a SignedCertificateTimestamp (RFC 6962 3.2), version 1, signed by ECDSA over SHA-256:
//
//	struct {
//	    Version sct_version;                0
//	    opaque key_id[32];
//	    uint64 timestamp;                   Unix milliseconds
//	    opaque extensions<0..2^16-1>;
//	    HashAlgorithm hash;                 4, SHA-256 (RFC 5246 7.4.1.4.1)
//	    SignatureAlgorithm algorithm;       3, ECDSA
//	    opaque signature<0..2^16-1>;
//	}
type promise struct {
	logID      [32]byte
	timestamp  uint64
	extensions cryptobyte.String
	signature  cryptobyte.String
}

func parsePromise(sct []byte) (p promise, err error) {
	var version, hash, algorithm uint8
	in := cryptobyte.String(sct)
	if !in.ReadUint8(&version) || !in.CopyBytes(p.logID[:]) || !in.ReadUint64(&p.timestamp) ||
		!in.ReadUint16LengthPrefixed(&p.extensions) || !in.ReadUint8(&hash) || !in.ReadUint8(&algorithm) ||
		!in.ReadUint16LengthPrefixed(&p.signature) {
		return p, errors.New("decode SCT: it is cut off")
	}
	switch {
	case len(in) != 0:
		return p, fmt.Errorf("%d bytes after the SCT", len(in))
	case version != 0:
		return p, fmt.Errorf("SCT of version %d, want 0, which is RFC 6962's first", version)
	case hash != 4 || algorithm != 3:
		return p, fmt.Errorf("SCT signed by algorithms %d and %d, want SHA-256 (4) and ECDSA (3)", hash, algorithm)
	}
	return p, nil
}

// verify says whether sct is the log's promise for exactly this TBSCertificate (without poison and
// SCT list) under this issuer.
func (p promises) verify(sct, tbs, issuerSPKI []byte, notBefore, notAfter time.Time) error {
	s, err := parsePromise(sct)
	if err != nil {
		return err
	}
	at := time.UnixMilli(int64(min(s.timestamp, math.MaxInt64)))
	switch {
	case s.logID != p.logID:
		return errors.New("SCT of another log")
	case len(s.extensions) != 0:
		return errors.New("SCT with extensions, which some clients refuse")
	case at.Before(notBefore.Add(-maxSCTSkew)) || at.After(notAfter):
		return fmt.Errorf("SCT dated %s for a certificate of %s: one of the clocks is wrong", at.UTC().Format(time.RFC3339), notBefore.Format(time.RFC3339))
	}
	signed, err := signedBySCT(s.timestamp, tbs, issuerSPKI)
	if err != nil {
		return err
	}
	if digest := sha256.Sum256(signed); !ecdsa.VerifyASN1(p.key, digest[:], s.signature) {
		return errors.New("SCT: the signature does not verify")
	}
	return nil
}

// signedBySCT is what the log signs for a precertificate (RFC 6962 3.2):
//
//	digitally-signed struct {
//	    Version sct_version;                0
//	    SignatureType signature_type;       0, certificate_timestamp
//	    uint64 timestamp;
//	    LogEntryType entry_type;            uint16: 1, precert_entry
//	    PreCert signed_entry;               opaque issuer_key_hash[32], opaque TBSCertificate<1..2^24-1>
//	    CtExtensions extensions;            opaque<0..2^16-1>, empty
//	}
func signedBySCT(timestamp uint64, tbs, issuerSPKI []byte) ([]byte, error) {
	key := sha256.Sum256(issuerSPKI)
	b := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+len(key)+24))
	b.AddUint16(0)
	b.AddUint64(timestamp)
	b.AddUint16(1)
	b.AddBytes(key[:])
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(tbs) })
	b.AddUint16(0)
	out, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode what an SCT signs: %w", err)
	}
	return out, nil
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
