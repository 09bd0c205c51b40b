package tsa

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ErrChain says that a chain or key would not be accepted by clients.
var ErrChain = errors.New("timestamp certificate chain refused")

// checkChain holds a chain to the strictest of the clients' rules (RFC 3161 2.3; sigstore-go,
// sigstore-js, sigstore-python, BouncyCastle) and returns the digest that goes with the key.
func checkChain(chain []*x509.Certificate, key crypto.Signer, now time.Time) (crypto.Hash, error) {
	if len(chain) < 2 {
		return 0, fmt.Errorf("%w: want leaf and root at least, have %d certificates", ErrChain, len(chain))
	}
	leaf, root := chain[0], chain[len(chain)-1]
	hash, err := checkKey(leaf, key)
	if err != nil {
		return 0, err
	}
	if err := checkLeaf(leaf); err != nil {
		return 0, err
	}
	for i, c := range chain {
		if err := checkCertificate(c, now); err != nil {
			return 0, fmt.Errorf("%w: certificate %d: %w", ErrChain, i, err)
		}
	}
	if err := root.CheckSignatureFrom(root); err != nil || !bytes.Equal(root.RawSubject, root.RawIssuer) {
		return 0, fmt.Errorf("%w: the last certificate is not a self-signed root", ErrChain)
	}
	return hash, checkPath(chain, now)
}

// checkKey pairs the key with the leaf and picks the digest of its curve.
func checkKey(leaf *x509.Certificate, key crypto.Signer) (crypto.Hash, error) {
	if key == nil {
		return 0, fmt.Errorf("%w: no key", ErrChain)
	}
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok {
		return 0, fmt.Errorf("%w: the key is %T, want ECDSA", ErrChain, key.Public())
	}
	if !pub.Equal(leaf.PublicKey) {
		return 0, fmt.Errorf("%w: the key is not the leaf's", ErrChain)
	}
	switch pub.Curve {
	case elliptic.P256():
		return crypto.SHA256, nil
	case elliptic.P384():
		return crypto.SHA384, nil
	case elliptic.P521():
		return crypto.SHA512, nil
	}
	return 0, fmt.Errorf("%w: curve %s, want P-256, P-384 or P-521", ErrChain, pub.Curve.Params().Name)
}

// checkLeaf wants an end-entity certificate for timestamps and nothing else.
func checkLeaf(leaf *x509.Certificate) error {
	if leaf.IsCA {
		return fmt.Errorf("%w: the leaf is a CA certificate", ErrChain)
	}
	if leaf.KeyUsage != x509.KeyUsageDigitalSignature {
		return fmt.Errorf("%w: the leaf's key usage is not digitalSignature alone", ErrChain)
	}
	if len(leaf.ExtKeyUsage) != 1 || len(leaf.UnknownExtKeyUsage) != 0 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageTimeStamping {
		return fmt.Errorf("%w: the leaf's extended key usage is not timeStamping alone", ErrChain)
	}
	for _, ext := range leaf.Extensions {
		if ext.Id.Equal(oidExtKeyUsage) && !ext.Critical {
			return fmt.Errorf("%w: the leaf's extended key usage is not critical", ErrChain)
		}
	}
	return nil
}

func checkCertificate(c *x509.Certificate, now time.Time) error {
	switch c.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
		x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS, x509.PureEd25519:
	default:
		return fmt.Errorf("signature algorithm %s", c.SignatureAlgorithm)
	}
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return fmt.Errorf("not valid now (%s): from %s to %s", now.UTC().Format(time.RFC3339), c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
	}
	if len(c.Subject.Organization) == 0 || c.Subject.CommonName == "" {
		return errors.New("subject lacks O or CN, which the trusted root's readers want")
	}
	return nil
}

// checkPath wants the certificates in order, each issued by the next, as a path for timeStamping.
func checkPath(chain []*x509.Certificate, now time.Time) error {
	roots, middle := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(chain[len(chain)-1])
	for _, c := range chain[1 : len(chain)-1] {
		middle.AddCert(c)
	}
	paths, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: middle, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping},
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChain, err)
	}
	for _, path := range paths {
		if sameCertificates(path, chain) {
			return nil
		}
	}
	return fmt.Errorf("%w: certificates are not in order, leaf first and root last", ErrChain)
}

func sameCertificates(a, b []*x509.Certificate) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}
