package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
)

// Lifetimes of what NewHierarchy makes.
const (
	rootYears         = 10
	intermediateYears = 3
)

// Hierarchy is the root and the issuing intermediate of a new instance, each with a key of its own.
type Hierarchy struct {
	RootKey         crypto.Signer
	Root            *x509.Certificate
	IntermediateKey crypto.Signer
	Intermediate    *x509.Certificate
}

// Chain returns the intermediate and the root, in that order, as Config.Chain wants them.
func (h *Hierarchy) Chain() []*x509.Certificate {
	return []*x509.Certificate{h.Intermediate, h.Root}
}

// NewHierarchy makes ECDSA P-256 keys and certificates for org: a root for ten years and an
// intermediate for three that may issue code signing certificates and no CA. Both are valid from
// one hour before now, for clients whose clocks are behind. Subjects carry an organization and a
// common name: clients' trust roots name the authority by both.
func NewHierarchy(c clock.Clock, org string) (*Hierarchy, error) {
	if org == "" {
		return nil, errors.New("ca: an organization name is required")
	}
	start := c.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	h := &Hierarchy{}
	var err error
	if h.RootKey, err = keys.NewECDSA(); err != nil {
		return nil, err
	}
	if h.IntermediateKey, err = keys.NewECDSA(); err != nil {
		return nil, err
	}
	root, err := caTemplate(h.RootKey.Public(), org, org+" root", start, rootYears)
	if err != nil {
		return nil, err
	}
	root.MaxPathLen = 1
	if h.Root, err = signCA(root, root, h.RootKey.Public(), h.RootKey); err != nil {
		return nil, fmt.Errorf("root certificate: %w", err)
	}
	inter, err := caTemplate(h.IntermediateKey.Public(), org, org+" intermediate", start, intermediateYears)
	if err != nil {
		return nil, err
	}
	inter.MaxPathLenZero = true
	inter.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	if h.Intermediate, err = signCA(inter, h.Root, h.IntermediateKey.Public(), h.RootKey); err != nil {
		return nil, fmt.Errorf("intermediate certificate: %w", err)
	}
	return h, nil
}

func caTemplate(pub crypto.PublicKey, org, name string, start time.Time, years int) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	id, err := subjectKeyID(pub)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{org}, CommonName: name},
		NotBefore:             start,
		NotAfter:              start.AddDate(years, 0, 0).Add(-time.Second), // the last second is inclusive
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SubjectKeyId:          id,
	}, nil
}

func signCA(tmpl, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
