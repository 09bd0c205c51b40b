package ctlog

import (
	"crypto/x509"
	"errors"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// checkDER refuses what crypto/x509 reads although RFC 5280 forbids it, since other parsers of
// the log's entries may not: serial numbers out of range, times without seconds, keys of
// unknown kind, names of versions before 3.
func checkDER(c *x509.Certificate) error {
	if c.Version != 3 {
		return errors.New("version is not 3")
	}
	if c.SerialNumber.Sign() <= 0 || c.SerialNumber.BitLen() > 159 {
		return errors.New("serial number must be positive and at most 20 octets (RFC 5280 4.1.2.2)")
	}
	if c.PublicKeyAlgorithm == x509.UnknownPublicKeyAlgorithm || c.PublicKeyAlgorithm == x509.DSA {
		return errors.New("public key is of an unknown or refused kind")
	}
	return checkValidity(c)
}

// checkValidity reads the validity again, by the letter of RFC 5280 4.1.2.5: UTCTime
// YYMMDDHHMMSSZ through 2049, GeneralizedTime YYYYMMDDHHMMSSZ after.
func checkValidity(c *x509.Certificate) error {
	var tbs, validity cryptobyte.String
	in := cryptobyte.String(c.RawTBSCertificate)
	if !in.ReadASN1(&tbs, casn1.SEQUENCE) ||
		!tbs.SkipOptionalASN1(casn1.Tag(0).ContextSpecific().Constructed()) ||
		!tbs.SkipASN1(casn1.INTEGER) || !tbs.SkipASN1(casn1.SEQUENCE) || !tbs.SkipASN1(casn1.SEQUENCE) ||
		!tbs.ReadASN1(&validity, casn1.SEQUENCE) {
		return errors.New("TBSCertificate is not DER")
	}
	for range 2 {
		var text cryptobyte.String
		var tag casn1.Tag
		if !validity.ReadAnyASN1(&text, &tag) {
			return errors.New("validity is not DER")
		}
		switch {
		case tag == casn1.UTCTime && len(text) == len("YYMMDDHHMMSSZ") && text[len(text)-1] == 'Z':
		case tag == casn1.GeneralizedTime && len(text) == len("YYYYMMDDHHMMSSZ") && text[len(text)-1] == 'Z' && string(text[:4]) >= "2050":
		default:
			return errors.New("validity is not in the form of RFC 5280 4.1.2.5")
		}
	}
	if c.NotAfter.Before(c.NotBefore) || c.NotAfter.Year() > 9999 || c.NotBefore.Before(time.Unix(0, 0)) {
		return errors.New("validity period is empty or out of range")
	}
	return nil
}
