package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
)

// constraints checks basic constraints, and that nothing else bounds what the certificates below may say.
func (k *checker) constraints(i int) error {
	c := k.chain[i]
	leaf := i == 0 && k.purpose == TSA
	switch {
	case leaf && c.IsCA:
		return k.about(i, "have it issued as the certificate of an end entity", "is a CA, and a timestamp authority must not be one")
	case !leaf && (!c.IsCA || !c.BasicConstraintsValid):
		return k.about(i, "have it issued as a CA, from a template for subordinate CAs", "is not a CA: its basic constraints do not say so")
	case len(c.UnhandledCriticalExtensions) > 0:
		return k.about(i, "have it issued without", "has the critical extension %s, which clients do not know and so refuse", c.UnhandledCriticalExtensions[0])
	case hasNameConstraints(c):
		return k.about(i, "use an issuer without name constraints: clients read them differently for the e-mail addresses and URIs of signers", "has name constraints")
	}
	return nil
}

func hasNameConstraints(c *x509.Certificate) bool {
	return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidNameConstraints) })
}

// usage checks key usage and extended key usage.
func (k *checker) usage(i int) error {
	c := k.chain[i]
	if i == 0 && k.purpose == TSA {
		return k.stampingUsage(c)
	}
	if c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return k.about(i, "have it issued with the key usage keyCertSign", "may not sign certificates: its key usage lacks keyCertSign")
	}
	want, name := x509.ExtKeyUsageCodeSigning, "codeSigning"
	if k.purpose == TSA {
		want, name = x509.ExtKeyUsageTimeStamping, "timeStamping"
	}
	allowed := slices.Contains(c.ExtKeyUsage, want)
	if i == 0 && !allowed {
		return k.about(i, "have it issued with the extended key usage codeSigning, as the request asks: upstream's and other clients want it in the issuing certificate", "lacks the extended key usage %s", name)
	}
	bounded := len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0
	if bounded && !allowed && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return k.about(i, "use an issuer without extended key usages, or with this one among them", "is not for %s: its extended key usages are others, which bounds all below it", name)
	}
	return nil
}

// stampingUsage is RFC 3161 2.3: for timestamps, and for nothing else.
func (k *checker) stampingUsage(c *x509.Certificate) error {
	switch {
	case c.KeyUsage != x509.KeyUsageDigitalSignature:
		return k.about(0, "have it issued with the key usage digitalSignature and no other", "has another key usage than digitalSignature alone")
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageTimeStamping):
		return k.about(0, "have it issued with the extended key usage timeStamping, as the request asks", "lacks the extended key usage timeStamping")
	case len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) != 1:
		return k.about(0, "have it issued with the extended key usage timeStamping and no other (RFC 3161 2.3)", "has other extended key usages beside timeStamping")
	}
	for _, e := range c.Extensions {
		if e.Id.Equal(oidExtKeyUsage) && !e.Critical {
			return k.about(0, "have it issued with a critical extended key usage (RFC 3161 2.3); openssl writes extendedKeyUsage = critical,timeStamping", "has an extended key usage that is not critical")
		}
	}
	return nil
}

// pathLength checks that each issuer may have as many CAs below it as there are.
func (k *checker) pathLength(i int) error {
	c := k.chain[i]
	if !c.IsCA || c.MaxPathLen < 0 || c.MaxPathLen == 0 && !c.MaxPathLenZero {
		return nil
	}
	below := i // CAs, the issuing one with them
	if k.purpose == TSA {
		below = max(0, i-1)
	}
	if below > c.MaxPathLen {
		return k.about(i, "use an issuer higher up, or one with a larger path length", "may have %d CAs below it (path length), and has %d", c.MaxPathLen, below)
	}
	return nil
}
