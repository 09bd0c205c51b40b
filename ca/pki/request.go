package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tsa"
)

// Purpose is what a certificate is for.
type Purpose string

// The purposes.
const (
	CA  Purpose = "ca"  // issues code signing certificates
	TSA Purpose = "tsa" // signs timestamps
)

// Title is the purpose in words.
func (p Purpose) Title() string {
	if p == TSA {
		return "timestamp authority"
	}
	return "certificate authority"
}

// ParsePurpose reads "ca" or "tsa".
func ParsePurpose(s string) (Purpose, error) {
	if p := Purpose(s); p == CA || p == TSA {
		return p, nil
	}
	return "", fmt.Errorf("%q is no purpose of a certificate: want ca or tsa", s)
}

// Object identifiers of RFC 5280 4.2.1 and RFC 2985 5.4.2.
var (
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidNameConstraints  = asn1.ObjectIdentifier{2, 5, 29, 30}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidCodeSigning      = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
	oidTimeStamping     = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
)

func (p Purpose) usage() asn1.ObjectIdentifier {
	if p == TSA {
		return oidTimeStamping
	}
	return oidCodeSigning
}

// Subject returns the name that a certificate for the purpose has: clients' trust roots name an authority
// by organization and common name.
func Subject(p Purpose, organization string) pkix.Name {
	name := organization + " intermediate"
	if p == TSA {
		name = organization + " timestamp authority"
	}
	return pkix.Name{Organization: []string{organization}, CommonName: name}
}

// NewRoot makes a root for ten years with a new key on a curve, "p256" or "p384". The key belongs on a
// machine that is on no network.
func NewRoot(c clock.Clock, organization, curve string) (key crypto.Signer, root *x509.Certificate, err error) {
	var of elliptic.Curve
	switch curve {
	case "p256":
		of = elliptic.P256()
	case "p384":
		of = elliptic.P384()
	default:
		return nil, nil, fmt.Errorf("%q is no curve for a root: want p256 or p384", curve)
	}
	if key, err = ecdsa.GenerateKey(of, rand.Reader); err != nil {
		return nil, nil, fmt.Errorf("make the root's key: %w", err)
	}
	root, err = Root(c, organization, key)
	return key, root, err
}

// Root makes the certificate of a root for ten years, of a key that is there.
func Root(c clock.Clock, organization string, key crypto.Signer) (*x509.Certificate, error) {
	if organization == "" {
		return nil, errors.New("a root needs an organization: clients name it by that")
	}
	return ca.NewRoot(c, pkix.Name{Organization: []string{organization}, CommonName: organization + " root"}, key)
}

// Request returns a certificate signing request in PEM. It asks for what [Check] wants of the
// certificate.
func Request(key crypto.Signer, p Purpose, subject pkix.Name) ([]byte, error) {
	if pub, ok := key.Public().(*ecdsa.PublicKey); !ok || pub.Curve != elliptic.P256() {
		return nil, fmt.Errorf("request for the %s: the key is not ECDSA P-256, the one kind that every client verifies", p.Title())
	}
	if len(subject.Organization) == 0 || subject.Organization[0] == "" || subject.CommonName == "" {
		return nil, fmt.Errorf("request for the %s: the subject needs an organization and a common name, by which clients name the authority", p.Title())
	}
	ext, err := extensions(p)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject, ExtraExtensions: ext}, key)
	if err != nil {
		return nil, fmt.Errorf("request for the %s: %w", p.Title(), err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// extensions are those of the wanted certificate.
func extensions(p Purpose) (list []pkix.Extension, err error) {
	add := func(id asn1.ObjectIdentifier, critical bool, value any) {
		der, e := asn1.Marshal(value)
		err = errors.Join(err, e)
		list = append(list, pkix.Extension{Id: id, Critical: critical, Value: der})
	}
	if p == CA {
		add(oidBasicConstraints, true, struct {
			CA      bool
			PathLen int
		}{CA: true})
		add(oidKeyUsage, true, asn1.BitString{Bytes: []byte{0x06}, BitLength: 7}) // keyCertSign, cRLSign
		add(oidExtKeyUsage, false, []asn1.ObjectIdentifier{p.usage()})
		return list, err
	}
	add(oidKeyUsage, true, asn1.BitString{Bytes: []byte{0x80}, BitLength: 1}) // digitalSignature
	add(oidExtKeyUsage, true, []asn1.ObjectIdentifier{p.usage()})             // critical, and alone: RFC 3161 2.3
	return list, err
}

// Asked is a request that was read.
type Asked struct {
	Purpose Purpose
	Subject pkix.Name
	Key     crypto.PublicKey
	KeyID   [32]byte // SHA-256 of the SPKI, which both sides can compare
}

// ParseRequest reads a request in PEM and verifies that whoever made it has the key.
func ParseRequest(text []byte) (a Asked, err error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(rest) > 0 {
		return a, errors.New("is not a certificate signing request: want one PEM block of type CERTIFICATE REQUEST")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return a, fmt.Errorf("is not a certificate signing request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return a, errors.New("is not signed with its own key: it was changed on the way, or whoever made it does not have the key")
	}
	pub, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return a, errors.New("is for a key that is not ECDSA P-256, the one kind that every client verifies")
	}
	if len(csr.Subject.Organization) == 0 || csr.Subject.CommonName == "" {
		return a, errors.New("names no organization or no common name, by which clients name the authority")
	}
	a = Asked{Subject: csr.Subject, Key: pub}
	if a.KeyID, err = keys.ID(pub); err != nil {
		return a, err
	}
	a.Purpose, err = purposeOf(csr)
	return a, err
}

// purposeOf tells a request's purpose by the extended key usage that it asks for.
func purposeOf(csr *x509.CertificateRequest) (p Purpose, err error) {
	for _, e := range csr.Extensions {
		var usages []asn1.ObjectIdentifier
		if !e.Id.Equal(oidExtKeyUsage) {
			continue
		}
		if rest, err := asn1.Unmarshal(e.Value, &usages); err != nil || len(rest) > 0 || len(usages) != 1 {
			break
		}
		for _, p := range []Purpose{CA, TSA} {
			if usages[0].Equal(p.usage()) {
				return p, nil
			}
		}
	}
	return "", errors.New("does not ask for the extended key usage codeSigning or timeStamping alone: make it with sigbox ca csr")
}

// Sign answers a request with the chain: the certificate, then issuers, which begin with that of key and
// end with the root.
func Sign(c clock.Clock, a Asked, issuers []*x509.Certificate, key crypto.Signer) ([]*x509.Certificate, error) {
	if len(issuers) == 0 || !keys.Equal(issuers[0].PublicKey, key.Public()) {
		return nil, errors.New("the key is not that of the certificate that is to sign: name the key and the certificate of one root")
	}
	issuer := issuers[0]
	if now := c.Now(); now.After(issuer.NotAfter) || now.Before(issuer.NotBefore) {
		return nil, fmt.Errorf("%q cannot sign now: it is valid from %s to %s", issuer.Subject, issuer.NotBefore.Format(time.DateOnly), issuer.NotAfter.Format(time.DateOnly))
	}
	if keys.Equal(a.Key, key.Public()) {
		return nil, errors.New("the request is for the root's own key: make a key for every role")
	}
	var cert *x509.Certificate
	var err error
	if a.Purpose == CA {
		cert, err = ca.NewIntermediate(c, a.Subject, a.Key, issuer, key)
	} else {
		cert, err = tsa.NewCertificate(c, a.Subject, a.Key, issuer, key)
	}
	if err != nil {
		return nil, err
	}
	return append([]*x509.Certificate{cert}, issuers...), nil
}
