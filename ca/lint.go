package ca

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"time"
)

// maxCertificate bounds a certificate; what real identities fill takes less than 4 KiB.
const maxCertificate = 48 << 10

// oidFulcio is the arc of Fulcio's extensions; .7 is a name type and no extension.
var oidFulcio = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1}

// lint reads a certificate back, as a stranger would, and holds it to the profile. Its last
// extension must have the object identifier last. It is done before the key signs, over the
// certificate with a signature of zeros, and returns what it has read. Errors wrap ErrProfile.
func lint(der []byte, last asn1.ObjectIdentifier, issuer *x509.Certificate, alg algorithm, validity time.Duration) (*x509.Certificate, error) {
	if len(der) > maxCertificate {
		return nil, fmt.Errorf("%d bytes, want at most %d: %w", len(der), maxCertificate, ErrProfile)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("does not parse: %w: %w", err, ErrProfile)
	}
	skid, err := subjectKeyID(c.RawSubjectPublicKeyInfo)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrProfile)
	}
	for _, rule := range []struct {
		name string
		ok   bool
	}{
		{"version 3", c.Version == 3},
		{"a positive serial number of at most 159 bits", c.SerialNumber.Sign() > 0 && c.SerialNumber.BitLen() <= serialBits},
		{"the issuer's signature algorithm", c.SignatureAlgorithm == alg.x509},
		{"the issuer's name", bytes.Equal(c.RawIssuer, issuer.RawSubject)},
		{"an empty subject", bytes.Equal(c.RawSubject, []byte{0x30, 0})},
		{"a validity of at most " + validity.String(), c.NotAfter.After(c.NotBefore) && c.NotAfter.Add(time.Second).Sub(c.NotBefore) <= validity},
		{"a validity within the issuer's", !c.NotBefore.Before(issuer.NotBefore) && !c.NotAfter.After(issuer.NotAfter)},
		{"a sound key", checkKey(c.PublicKey) == nil},
		{"key usage digitalSignature alone", c.KeyUsage == x509.KeyUsageDigitalSignature},
		{"extended key usage codeSigning alone", len(c.ExtKeyUsage) == 1 && c.ExtKeyUsage[0] == x509.ExtKeyUsageCodeSigning && len(c.UnknownExtKeyUsage) == 0},
		{"no basic constraints", !c.BasicConstraintsValid && !c.IsCA},
		{"the key's identifier", bytes.Equal(c.SubjectKeyId, skid)},
		{"the issuer's key identifier", bytes.Equal(c.AuthorityKeyId, issuer.SubjectKeyId)},
	} {
		if !rule.ok {
			return nil, fmt.Errorf("want %s: %w", rule.name, ErrProfile)
		}
	}
	return c, lintExtensions(c.Extensions, last)
}

// lintExtensions holds the extensions to the profile's order: five of RFC 5280, Fulcio's in
// ascending order, and last.
func lintExtensions(exts []pkix.Extension, last asn1.ObjectIdentifier) error {
	standard := []struct {
		oid      asn1.ObjectIdentifier
		critical bool
	}{{oidKeyUsage, true}, {oidExtKeyUsage, false}, {oidSubjectKeyID, false}, {oidAuthorityKeyID, false}, {oidSAN, true}}
	if len(exts) < len(standard)+3 {
		return fmt.Errorf("only %d extensions: %w", len(exts), ErrProfile)
	}
	for i, want := range standard {
		if !exts[i].Id.Equal(want.oid) || exts[i].Critical != want.critical {
			return fmt.Errorf("extension %d is %v (critical %t), want %v (%t): %w", i, exts[i].Id, exts[i].Critical, want.oid, want.critical, ErrProfile)
		}
	}
	if err := lintSAN(exts[len(standard)-1].Value); err != nil {
		return err
	}
	if end := exts[len(exts)-1]; !end.Id.Equal(last) || end.Critical != last.Equal(oidPoison) {
		return fmt.Errorf("last extension is %v, want %v: %w", end.Id, last, ErrProfile)
	}
	return lintIdentity(exts[len(standard) : len(exts)-1])
}

// lintSAN wants exactly one name, of a kind that identities have.
//
//	GeneralNames ::= SEQUENCE OF GeneralName
//	GeneralName  ::= CHOICE { otherName [0], rfc822Name [1], ..., uniformResourceIdentifier [6], ... }
func lintSAN(value []byte) error {
	var names []asn1.RawValue
	rest, err := asn1.Unmarshal(value, &names)
	if err != nil || len(rest) != 0 || len(names) != 1 || len(names[0].Bytes) == 0 {
		return fmt.Errorf("want exactly one subject alternative name: %w", ErrProfile)
	}
	if n := names[0]; n.Class != asn1.ClassContextSpecific || (n.Tag != 0 && n.Tag != 1 && n.Tag != 6) {
		return fmt.Errorf("subject alternative name of kind %d: %w", n.Tag, ErrProfile)
	}
	return nil
}

// lintIdentity wants Fulcio's extensions in ascending order, none critical, and the issuer in both
// its forms with the same text.
func lintIdentity(exts []pkix.Extension) error {
	before, issuer, issuerV2 := 0, "", ""
	for _, e := range exts {
		n := len(oidFulcio)
		if len(e.Id) != n+1 || !e.Id[:n].Equal(oidFulcio) || e.Id[n] < 1 || e.Id[n] > 24 || e.Id[n] == 7 {
			return fmt.Errorf("extension %v is not one of Fulcio's: %w", e.Id, ErrProfile)
		}
		if e.Critical || len(e.Value) == 0 || e.Id[n] <= before {
			return fmt.Errorf("extension %v is critical, empty or out of order: %w", e.Id, ErrProfile)
		}
		before = e.Id[n]
		text := string(e.Value)
		if e.Id[n] >= 8 {
			rest, err := asn1.UnmarshalWithParams(e.Value, &text, "utf8")
			if err != nil || len(rest) != 0 {
				return fmt.Errorf("extension %v is not a UTF8String: %w", e.Id, ErrProfile)
			}
		}
		switch e.Id[n] {
		case 1:
			issuer = text
		case 8:
			issuerV2 = text
		}
	}
	if issuer == "" || issuer != issuerV2 {
		return fmt.Errorf("want the token's issuer in extensions .1 and .8 alike: %w", ErrProfile)
	}
	return nil
}
