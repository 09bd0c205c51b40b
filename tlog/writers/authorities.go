package writers

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Chains are the chains of authorities, each with the issuing certificate first and the self-signed root
// last.
type Chains [][]*x509.Certificate

// authorities are whose certificates are believed.
type authorities struct {
	issuing        []*x509.Certificate
	roots, between *x509.CertPool
}

func newAuthorities(chains Chains) (*authorities, error) {
	a := &authorities{roots: x509.NewCertPool(), between: x509.NewCertPool()}
	for _, chain := range chains {
		if len(chain) == 0 {
			return nil, errors.New("writers: an authority without certificates")
		}
		root := chain[len(chain)-1]
		if !bytes.Equal(root.RawSubject, root.RawIssuer) {
			return nil, fmt.Errorf("writers: the chain of %q ends without its root", chain[0].Subject)
		}
		a.issuing = append(a.issuing, chain[0])
		a.roots.AddCert(root)
		for _, c := range chain[:len(chain)-1] {
			a.between.AddCert(c)
		}
	}
	return a, nil
}

var (
	oidSAN       = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidIssuer    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1} // bare text
	oidIssuerV2  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8} // DER UTF8String
	errTwoValues = errors.New("it names two issuers of its identity")
)

// verify returns the issuer of the identity that a certificate is for, "" if it names none, or the reason
// why the certificate is not believed.
func (a *authorities) verify(cert *x509.Certificate, at time.Time) (issuer, reason string) {
	const form = "2006-01-02T15:04:05Z"
	if at.Before(cert.NotBefore) || at.After(cert.NotAfter) {
		return "", fmt.Sprintf("the certificate is valid from %s to %s, and it is %s now",
			cert.NotBefore.UTC().Format(form), cert.NotAfter.UTC().Format(form), at.UTC().Format(form))
	}
	c := *cert
	// A name of Fulcio's own kind is one that crypto/x509 does not know; nothing here goes by names.
	c.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(cert.UnhandledCriticalExtensions), oidSAN.Equal)
	chains, err := c.Verify(x509.VerifyOptions{
		Roots: a.roots, Intermediates: a.between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	})
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage {
		return "", "the certificate is not for code signing"
	}
	// The authorities' own issuers, such as the root of a company, may have issued others.
	ours := func(chain []*x509.Certificate) bool {
		return len(chain) > 1 && slices.ContainsFunc(a.issuing, chain[1].Equal)
	}
	if err != nil || c.IsCA || !slices.ContainsFunc(chains, ours) {
		return "", "the certificate is not issued by its authority"
	}
	if issuer, err = issuerOf(cert); err != nil {
		return "", "the certificate cannot be believed: " + err.Error()
	}
	return issuer, ""
}

// issuerOf reads the issuer of the identity (Fulcio's oid-info): from both of its extensions where both
// are there.
func issuerOf(cert *x509.Certificate) (string, error) {
	var values []string
	for _, ext := range cert.Extensions {
		switch {
		case ext.Id.Equal(oidIssuer):
			values = append(values, string(ext.Value))
		case ext.Id.Equal(oidIssuerV2):
			var v string
			if rest, err := asn1.UnmarshalWithParams(ext.Value, &v, "utf8"); err != nil || len(rest) > 0 {
				return "", errors.New("the issuer of its identity is not in a form that is known")
			}
			values = append(values, v)
		}
	}
	switch values = slices.Compact(values); len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", errTwoValues
}
