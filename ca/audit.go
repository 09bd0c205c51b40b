package ca

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"golang.org/x/crypto/cryptobyte"
)

// Trail is what a store has kept. Implementations: ca/sqlstore, ca/pgstore.
type Trail interface {
	// Records returns up to limit records with an ID above after, in the order of their IDs.
	Records(ctx context.Context, after int64, limit int) ([]Record, error)
}

// Filter says which records are wanted; the zero value wants all. Texts are compared byte for byte.
type Filter struct {
	Since, Until         time.Time // of the intent: from Since on, before Until
	Issuer, Subject, SAN string
	State                State
	After                int64 // only IDs above it
}

func (f Filter) wants(r *Record) bool {
	return !(!f.Since.IsZero() && r.At.Before(f.Since) || !f.Until.IsZero() && !r.At.Before(f.Until) ||
		f.Issuer != "" && r.Issuer != f.Issuer || f.Subject != "" && r.Subject != f.Subject || f.SAN != "" && r.SAN != f.SAN ||
		f.State != "" && r.State != f.State)
}

// Exported is a record as a line of JSON. Times are RFC 3339 in UTC, hashes and serial numbers hex,
// certificates DER in base64.
type Exported struct {
	ID             int64      `json:"id"`
	Serial         string     `json:"serial"` // 40 digits
	State          State      `json:"state"`
	IntendedAt     time.Time  `json:"intended_at"`
	SettledAt      *time.Time `json:"settled_at,omitempty"`
	NotBefore      time.Time  `json:"not_before"`
	NotAfter       time.Time  `json:"not_after"`
	Issuer         string     `json:"issuer"`  // that the certificate names
	Subject        string     `json:"subject"` // of the token
	SAN            string     `json:"san"`
	RulesSHA256    string     `json:"rules_sha256,omitempty"` // of the issuer's rules on who may sign; none, it has none
	Rules          []string   `json:"rules,omitempty"`        // their names: each allowed it
	SPKISHA256     string     `json:"spki_sha256"`
	TBSSHA256      string     `json:"tbs_sha256"` // of the precertificate's TBSCertificate
	Precertificate []byte     `json:"precertificate,omitempty"`
	SCT            *SCT       `json:"sct,omitempty"` // the one in the certificate
	Certificate    []byte     `json:"certificate,omitempty"`
	Failure        string     `json:"failure,omitempty"`
	// Problems is what does not fit together in the record. A sound one has none.
	Problems []string `json:"problems,omitempty"`
}

// SCT is a signed certificate timestamp (RFC 6962 3.2).
type SCT struct {
	LogID     string    `json:"log_id"` // hex, SHA-256 of the log's key
	Timestamp time.Time `json:"timestamp"`
	Bytes     []byte    `json:"bytes"` // its TLS encoding, base64
}

// exportPage is how many records are in memory at once.
const exportPage = 500

// Exports counts what an export has written.
type Exports struct{ Records, Problems int }

// Export writes the records that a filter wants to out, one line of JSON each, in the order of their IDs,
// and holds each to itself: what was signed is what was intended. It holds a page of records in memory.
// Records that are written meanwhile may be in it or not.
func Export(ctx context.Context, out io.Writer, trail Trail, f Filter) (n Exports, err error) {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for after := f.After; ; {
		page, err := trail.Records(ctx, after, exportPage)
		if err != nil {
			return n, err
		}
		for i := range page {
			after = page[i].ID
			if !f.wants(&page[i]) {
				continue
			}
			e := exported(&page[i])
			if err := enc.Encode(e); err != nil {
				return n, fmt.Errorf("export: %w", err)
			}
			n.Records++
			if len(e.Problems) > 0 {
				n.Problems++
			}
		}
		if len(page) < exportPage {
			return n, nil
		}
	}
}

func exported(r *Record) *Exported {
	e := &Exported{
		ID: r.ID, Serial: hex.EncodeToString(r.Serial.FillBytes(make([]byte, 20))), State: r.State,
		IntendedAt: r.At, NotBefore: r.NotBefore, NotAfter: r.NotAfter, Issuer: r.Issuer, Subject: r.Subject, SAN: r.SAN,
		SPKISHA256: hex.EncodeToString(r.SPKISHA256[:]), TBSSHA256: hex.EncodeToString(r.TBSSHA256[:]),
		Precertificate: r.Precertificate, Certificate: r.Certificate, Failure: r.Failure,
	}
	if len(r.Rules) > 0 {
		e.RulesSHA256, e.Rules = hex.EncodeToString(r.RulesSHA256[:]), r.Rules
	}
	if !r.SettledAt.IsZero() {
		e.SettledAt = &r.SettledAt
	}
	problem := func(err error) {
		if err != nil {
			e.Problems = append(e.Problems, err.Error())
		}
	}
	pre, err := heldToIntent(r, r.Precertificate, "precertificate")
	problem(err)
	cert, err := heldToIntent(r, r.Certificate, "certificate")
	problem(err)
	if pre != nil {
		if sha256.Sum256(pre.RawTBSCertificate) != r.TBSSHA256 {
			problem(errors.New("precertificate: its TBSCertificate is not the one that was intended"))
		}
		if cert != nil {
			problem(Correspond(pre.RawTBSCertificate, cert.RawTBSCertificate))
		}
	}
	if cert != nil {
		e.SCT, err = embeddedSCT(cert)
		problem(err)
	}
	return e
}

// heldToIntent reads a certificate of a record; nil where there is none, or it is not to be read.
func heldToIntent(r *Record, der []byte, what string) (*x509.Certificate, error) {
	if der == nil {
		return nil, nil //nolint:nilnil // nothing was signed, which is no error
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	switch {
	case cert.SerialNumber.Cmp(r.Serial) != 0:
		err = fmt.Errorf("%s: has the serial number %x", what, cert.SerialNumber)
	case !cert.NotBefore.Equal(r.NotBefore) || !cert.NotAfter.Equal(r.NotAfter):
		err = fmt.Errorf("%s: is valid from %s to %s", what, cert.NotBefore.Format(time.RFC3339), cert.NotAfter.Format(time.RFC3339))
	case sha256.Sum256(cert.RawSubjectPublicKeyInfo) != r.SPKISHA256:
		err = fmt.Errorf("%s: certifies another key", what)
	}
	return cert, err
}

// embeddedSCT reads the one SCT of a certificate; see sctList.
func embeddedSCT(cert *x509.Certificate) (*SCT, error) {
	for _, x := range cert.Extensions {
		if !x.Id.Equal(oidSCTList) {
			continue
		}
		var value []byte
		if rest, err := asn1.Unmarshal(x.Value, &value); err != nil || len(rest) > 0 {
			return nil, errors.New("certificate: the SCT list is not an OCTET STRING")
		}
		in := cryptobyte.String(value)
		var list, one cryptobyte.String
		if !in.ReadUint16LengthPrefixed(&list) || !in.Empty() || !list.ReadUint16LengthPrefixed(&one) || !list.Empty() {
			return nil, errors.New("certificate: want a list of one SCT")
		}
		var s ct.SignedCertificateTimestamp
		if rest, err := tls.Unmarshal(one, &s); err != nil || len(rest) > 0 {
			return nil, errors.New("certificate: the SCT cannot be read")
		}
		return &SCT{LogID: hex.EncodeToString(s.LogID.KeyID[:]), Timestamp: ct.TimestampToTime(s.Timestamp).UTC(), Bytes: bytes.Clone(one)}, nil
	}
	return nil, errors.New("certificate: has no SCT")
}
