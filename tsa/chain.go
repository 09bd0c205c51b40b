package tsa

import (
	"crypto"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 5280 4.2.1.2 key identifiers, not a signature
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
)

const (
	rootYears = 10
	leafYears = 5
	// backdate is how long before its making a certificate becomes valid, so that a client whose
	// clock is behind can use it at once.
	backdate = time.Hour
)

var oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}

// Issued is a certificate and its key.
type Issued struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// Chain is a new authority's certificates and keys, for the caller to save.
type Chain struct {
	Root         Issued
	Intermediate *Issued // nil: the root issued the leaf
	Leaf         Issued
}

// Certificates returns the chain leaf first, root last.
func (c *Chain) Certificates() []*x509.Certificate {
	if c.Intermediate == nil {
		return []*x509.Certificate{c.Leaf.Certificate, c.Root.Certificate}
	}
	return []*x509.Certificate{c.Leaf.Certificate, c.Intermediate.Certificate, c.Root.Certificate}
}

// ChainOption changes what NewChain makes.
type ChainOption func(*chainOptions)

type chainOptions struct{ intermediate bool }

// WithIntermediate puts a CA between root and leaf.
func WithIntermediate() ChainOption { return func(o *chainOptions) { o.intermediate = true } }

// NewChain makes a P-256 root (10 years) and a leaf (5 years) of the organization org, both valid
// from one hour before now.
func NewChain(c clock.Clock, org string, opts ...ChainOption) (*Chain, error) {
	var o chainOptions
	for _, opt := range opts {
		opt(&o)
	}
	start := c.Now().UTC().Truncate(time.Second).Add(-backdate)
	ca := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{org}, CommonName: org + " Timestamp Root"},
		NotBefore:             start,
		NotAfter:              start.AddDate(rootYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1,
	}
	root, err := issue(ca, nil)
	if err != nil {
		return nil, fmt.Errorf("make timestamp root: %w", err)
	}
	chain := &Chain{Root: *root}
	issuer := root
	if o.intermediate {
		ca.Subject.CommonName = org + " Timestamp Intermediate"
		ca.MaxPathLen, ca.MaxPathLenZero = 0, true
		// Older verifiers refuse an intermediate without it.
		ca.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}
		if chain.Intermediate, err = issue(ca, root); err != nil {
			return nil, fmt.Errorf("make timestamp intermediate: %w", err)
		}
		issuer = chain.Intermediate
	}
	leaf, err := issue(leafTemplate(org, start), issuer)
	if err != nil {
		return nil, fmt.Errorf("make timestamp leaf: %w", err)
	}
	chain.Leaf = *leaf
	return chain, nil
}

// NewCertificate makes the stamping certificate of an [Authority] for a key that is not here: five
// years from one hour before now, but no longer than its issuer's. issuer and key are those of the CA
// that signs it.
func NewCertificate(c clock.Clock, subject pkix.Name, pub crypto.PublicKey, issuer *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	t := leafTemplate("", c.Now().UTC().Truncate(time.Second).Add(-backdate))
	t.Subject = subject
	if t.NotAfter.After(issuer.NotAfter) {
		t.NotAfter = issuer.NotAfter
	}
	cert, err := certify(t, pub, issuer, key)
	if err != nil {
		return nil, fmt.Errorf("make timestamp certificate: %w", err)
	}
	return cert, nil
}

// leafTemplate describes the signing certificate. Go writes extended key usage as not critical;
// RFC 3161 2.3 wants it critical and with one purpose only, so it is encoded here.
func leafTemplate(org string, start time.Time) *x509.Certificate {
	eku, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}}) // id-kp-timeStamping
	if err != nil {                                                                // a constant
		panic(err)
	}
	return &x509.Certificate{
		Subject:         pkix.Name{Organization: []string{org}, CommonName: org + " Timestamp Authority"},
		NotBefore:       start,
		NotAfter:        start.AddDate(leafYears, 0, 0),
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: oidExtKeyUsage, Critical: true, Value: eku}},
	}
}

// issue makes a key and a certificate for it, signed by issuer or, where that is nil, by itself.
func issue(tmpl *x509.Certificate, issuer *Issued) (*Issued, error) {
	key, err := keys.NewECDSA()
	if err != nil {
		return nil, err
	}
	parent, signer := (*x509.Certificate)(nil), key
	if issuer != nil {
		parent, signer = issuer.Certificate, issuer.Key
	}
	cert, err := certify(tmpl, key.Public(), parent, signer)
	if err != nil {
		return nil, err
	}
	return &Issued{Certificate: cert, Key: key}, nil
}

// certify makes a certificate for a key, signed by parent or, where that is nil, by itself.
func certify(tmpl *x509.Certificate, pub crypto.PublicKey, parent *x509.Certificate, signer crypto.Signer) (*x509.Certificate, error) {
	t := *tmpl
	var err error
	if t.SerialNumber, err = newSerial(); err != nil {
		return nil, err
	}
	if t.SubjectKeyId, err = keyID(pub); err != nil {
		return nil, err
	}
	if parent == nil {
		parent = &t
	}
	der, err := x509.CreateCertificate(rand.Reader, &t, parent, pub, signer)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read own certificate: %w", err)
	}
	return cert, nil
}

// newSerial returns 159 random bits, not zero: at most 20 octets as an INTEGER (RFC 5280 4.1.2.2).
func newSerial() (*big.Int, error) {
	limit := new(big.Int).Lsh(big.NewInt(1), 159)
	n, err := rand.Int(rand.Reader, limit)
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	return n.SetBit(n, 158, 1), nil
}

// keyID is SHA-1 of the public key bits (RFC 5280 4.2.1.2, method 1).
func keyID(pub crypto.PublicKey) ([]byte, error) {
	der, err := keys.SPKI(pub)
	if err != nil {
		return nil, err
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &spki); err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	id := sha1.Sum(spki.Key.Bytes) //nolint:gosec // an identifier
	return id[:], nil
}
