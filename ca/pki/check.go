package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tsa"
)

// Refusal says why a chain may not be served.
type Refusal struct {
	Certificate int    // which one, from 1; 0 is the chain as a whole
	Subject     string // its subject, "" where there is none
	Cause       string
	Todo        string
}

func (r *Refusal) Error() string {
	what := "the chain"
	if r.Certificate > 0 {
		what = fmt.Sprintf("certificate %d", r.Certificate)
	}
	if r.Subject != "" {
		what += fmt.Sprintf(" (%s)", r.Subject)
	}
	return what + " " + r.Cause + ": " + r.Todo
}

func refuse(certificate int, subject, cause, todo string) error {
	return &Refusal{Certificate: certificate, Subject: subject, Cause: cause, Todo: todo}
}

// maxChain is how many certificates a trust statement carries.
const maxChain = 8

// checker checks one chain: the certificate of the key first, the root last.
type checker struct {
	purpose Purpose
	chain   []*x509.Certificate
	now     time.Time
}

// about refuses the certificate at a position, from 0.
func (k *checker) about(i int, todo, cause string, args ...any) error {
	return refuse(i+1, k.chain[i].Subject.String(), fmt.Sprintf(cause, args...), todo)
}

// Check says whether a chain may be served as that of key, for a purpose: the certificate of key first,
// then its issuers, the self-signed root last. The error is a [Refusal].
func Check(p Purpose, chain []*x509.Certificate, key crypto.Signer, c clock.Clock) error {
	k := &checker{purpose: p, chain: chain, now: c.Now()}
	if err := k.owner(key.Public()); err != nil {
		return err
	}
	for i := range chain {
		if err := k.algorithms(i); err != nil {
			return err
		}
	}
	if err := k.order(); err != nil {
		return err
	}
	for i := range chain {
		for _, step := range []func(int) error{k.validity, k.names, k.constraints, k.usage, k.pathLength} {
			if err := step(i); err != nil {
				return err
			}
		}
	}
	// What serve will want, so that nothing gets in that it refuses.
	var err error
	if p == CA {
		err = ca.CheckChain(chain, key.Public())
	} else {
		_, err = tsa.New(tsa.Config{Key: key, Chain: chain, Clock: c})
	}
	if err != nil {
		return refuse(0, "", fmt.Sprintf("is refused by the %s itself (%v)", p.Title(), err), "report this: sigbox ca install-chain should have said what is wrong")
	}
	return nil
}

// owner wants the first certificate to be that of the key.
func (k *checker) owner(pub crypto.PublicKey) error {
	if len(k.chain) == 0 {
		return refuse(0, "", "has no certificate in it", "name the PEM file that came back, with the certificate, its issuers and the root")
	}
	if len(k.chain) > maxChain {
		return refuse(0, "", fmt.Sprintf("has %d certificates, more than the %d that clients are given", len(k.chain), maxChain), "leave only the path from the certificate to one root")
	}
	own := slices.IndexFunc(k.chain, func(c *x509.Certificate) bool { return keys.Equal(c.PublicKey, pub) })
	switch {
	case own < 0:
		id, err := keys.ID(pub)
		if err != nil {
			return err
		}
		return k.about(0, "have the request of this instance signed, and compare the key's SHA-256",
			"is for another key than that of the %s here (SHA-256 %s)", k.purpose.Title(), hex.EncodeToString(id[:]))
	case own > 0:
		return k.about(own, "write the chain in order: this certificate first, then its issuers, the root last", "is that of the key here and does not come first")
	}
	for i, c := range k.chain[1:] {
		if keys.Equal(c.PublicKey, pub) {
			return k.about(i+1, "have the request signed with another key: that of an issuer is kept elsewhere", "has the same key as the certificate that it stands above")
		}
	}
	if isRoot(k.chain[0]) {
		return k.about(0, "have the request signed by a root whose key is kept elsewhere: clients can then go on trusting the root when this key is replaced", "is signed with its own key")
	}
	return nil
}

// order wants each certificate to be issued by the next, and the last by itself.
func (k *checker) order() error {
	for i, c := range k.chain {
		if slices.ContainsFunc(k.chain[:i], c.Equal) {
			return k.about(i, "leave each certificate once in the file", "is there twice")
		}
	}
	last := len(k.chain) - 1
	for i, c := range k.chain[:last] {
		next := k.chain[i+1]
		switch {
		case isRoot(c):
			return k.about(i, "leave out what follows: a chain ends with its root", "is a self-signed root, and not the last")
		case !bytes.Equal(c.RawIssuer, next.RawSubject) && k.issuerElsewhere(c):
			return k.about(i, "write the chain in order: each certificate followed by its issuer, the root last", "is issued by %s, and %s follows", c.Issuer, next.Subject)
		case !bytes.Equal(c.RawIssuer, next.RawSubject):
			return k.about(i, "put the certificate of that issuer between the two", "is issued by %s, which is not in the chain", c.Issuer)
		case !next.IsCA || !next.BasicConstraintsValid:
			return k.about(i+1, "have it signed by a CA: this is the certificate of a server or of a person", "is an issuer here, and its basic constraints do not say CA")
		case next.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil:
			return k.about(i, "take the issuer's certificate of the key that signed: it was renewed, or there are two of that name", "is not signed with the key of %s", next.Subject)
		}
	}
	if c := k.chain[last]; !isRoot(c) {
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			return k.about(last, "export the root from the PKI again", "names itself as issuer and is not signed with its own key")
		}
		return k.about(last, "put the certificates up to the self-signed root at the end of the file: clients are given the whole chain", "is the last, and is issued by %s", c.Issuer)
	}
	return nil
}

// issuerElsewhere tells whether the issuer of a certificate is in the chain.
func (k *checker) issuerElsewhere(c *x509.Certificate) bool {
	return slices.ContainsFunc(k.chain, func(o *x509.Certificate) bool { return bytes.Equal(o.RawSubject, c.RawIssuer) })
}

func isRoot(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

var signatures = []x509.SignatureAlgorithm{
	x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
	x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
}

func (k *checker) algorithms(i int) error {
	c := k.chain[i]
	if !slices.Contains(signatures, c.SignatureAlgorithm) {
		return k.about(i, "have it signed with ECDSA or RSA and SHA-256 or better", "is signed with %s, which clients refuse", c.SignatureAlgorithm)
	}
	switch pub := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if pub.Curve.Params().BitSize < 256 {
			return k.about(i, "use an issuer with a P-256, P-384 or P-521 key", "has a key on %s, which clients refuse", pub.Curve.Params().Name)
		}
	case *rsa.PublicKey:
		if pub.N.BitLen() < 2048 {
			return k.about(i, "use an issuer with a key of 2048 bits or more", "has an RSA key of %d bits, which clients refuse", pub.N.BitLen())
		}
	default:
		return k.about(i, "use an issuer with an ECDSA or RSA key", "has a %s key, which clients refuse", c.PublicKeyAlgorithm)
	}
	return nil
}

func (k *checker) validity(i int) error {
	c := k.chain[i]
	switch {
	case k.now.Before(c.NotBefore):
		return k.about(i, "wait until then, or check the clocks of both machines", "is not valid before %s, and it is %s", c.NotBefore.Format(time.RFC3339), k.now.UTC().Format(time.RFC3339))
	case k.now.After(c.NotAfter):
		return k.about(i, "have it renewed, or check the clock of this machine", "has expired on %s", c.NotAfter.Format(time.RFC3339))
	}
	return nil
}

func (k *checker) names(i int) error {
	c := k.chain[i]
	switch {
	case len(c.Subject.Organization) == 0 || c.Subject.Organization[0] == "":
		return k.about(i, "have it issued with an organization (O) in its subject: clients' trust roots name an authority by it", "has no organization")
	case c.Subject.CommonName == "":
		return k.about(i, "have it issued with a common name (CN) in its subject: clients' trust roots name an authority by it", "has no common name")
	case c.IsCA && len(c.SubjectKeyId) == 0:
		return k.about(i, "have it issued with a subject key identifier: clients find the issuer of a certificate by it", "has no subject key identifier")
	}
	return nil
}
