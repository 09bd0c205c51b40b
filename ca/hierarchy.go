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
	h := &Hierarchy{}
	var err error
	if h.RootKey, err = keys.NewECDSA(); err != nil {
		return nil, err
	}
	if h.IntermediateKey, err = keys.NewECDSA(); err != nil {
		return nil, err
	}
	if h.Root, err = NewRoot(c, subject(org, "root"), h.RootKey); err != nil {
		return nil, err
	}
	h.Intermediate, err = NewIntermediate(c, subject(org, "intermediate"), h.IntermediateKey.Public(), h.Root, h.RootKey)
	return h, err
}

func subject(org, name string) pkix.Name {
	if org == "" {
		return pkix.Name{} // refused below
	}
	return pkix.Name{Organization: []string{org}, CommonName: org + " " + name}
}

// NewRoot makes a self-signed root for ten years, from one hour before now. It may have one CA below
// it, and no more below that.
func NewRoot(c clock.Clock, subject pkix.Name, key crypto.Signer) (*x509.Certificate, error) {
	root, err := caTemplate(c, key.Public(), subject, rootYears)
	if err != nil {
		return nil, fmt.Errorf("root certificate: %w", err)
	}
	root.MaxPathLen = 1
	cert, err := signCA(root, root, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("root certificate: %w", err)
	}
	return cert, nil
}

// NewIntermediate makes the issuing certificate of an [Authority] for three years, but no longer than
// its issuer's: it may issue code signing certificates, and no CA.
func NewIntermediate(c clock.Clock, subject pkix.Name, pub crypto.PublicKey, issuer *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	inter, err := caTemplate(c, pub, subject, intermediateYears)
	if err != nil {
		return nil, fmt.Errorf("intermediate certificate: %w", err)
	}
	inter.MaxPathLenZero = true
	inter.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	if inter.NotAfter.After(issuer.NotAfter) {
		inter.NotAfter = issuer.NotAfter
	}
	cert, err := signCA(inter, issuer, pub, key)
	if err != nil {
		return nil, fmt.Errorf("intermediate certificate: %w", err)
	}
	return cert, nil
}

func caTemplate(c clock.Clock, pub crypto.PublicKey, subject pkix.Name, years int) (*x509.Certificate, error) {
	if len(subject.Organization) == 0 || subject.CommonName == "" {
		return nil, errors.New("ca: an organization and a common name are required")
	}
	start := c.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	spki, err := keys.SPKI(pub)
	if err != nil {
		return nil, err
	}
	id, err := subjectKeyID(spki)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               subject,
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
