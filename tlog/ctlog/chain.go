package ctlog

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox/tlog/entry/certificate"
)

// Limits of a submission.
const (
	maxChain = 10       // certificates
	maxCert  = 64 << 10 // bytes of DER each
	maxSkew  = time.Minute
)

// refusal is the error for a request that is wrong by itself. Its text is for the client.
type refusal string

func (r refusal) Error() string { return string(r) }

func refusef(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// roots are the certificates that an accepted chain ends in.
type roots struct {
	certs  []*x509.Certificate
	narrow [][]*x509.Certificate // the only chains that are taken under their roots
	last   atomic.Pointer[issuers]
}

// issuers are what stood above the leaf in the chain that was accepted last: as they were sent, and as they
// were verified, from the leaf's issuer to the root. One authority submits the same ones each time.
type issuers struct {
	raw      [][]byte
	verified []*x509.Certificate
}

func newRoots(certs []*x509.Certificate, narrow [][]*x509.Certificate, logKey *ecdsa.PublicKey) (*roots, error) {
	if len(certs) == 0 {
		return nil, errors.New("ct log: no accepted roots")
	}
	for _, c := range certs {
		if err := c.CheckSignatureFrom(c); err != nil {
			return nil, fmt.Errorf("ct log: root %q is not a self-signed CA: %w", c.Subject, err)
		}
		if logKey.Equal(c.PublicKey) {
			return nil, fmt.Errorf("ct log: root %q has the log's own key; every role needs a key of its own", c.Subject)
		}
	}
	for _, chain := range narrow {
		if len(chain) == 0 || !slices.ContainsFunc(certs, chain[len(chain)-1].Equal) {
			return nil, errors.New("ct log: a chain does not end in an accepted root")
		}
	}
	return &roots{certs: certs, narrow: narrow}, nil
}

// verify checks a submitted chain and returns it parsed, with its root appended where the
// submitter left it out. Every certificate must be the issuer of the one before it, so there is
// one path to check and no search. Its errors are refusals.
func (r *roots) verify(raw [][]byte, precert bool, now time.Time) ([]*x509.Certificate, error) {
	chain, err := r.path(raw)
	if err != nil {
		return nil, err
	}
	return chain, r.check(chain, precert, now)
}

// verifyParsed is verify for a precertificate that its authority has read back, and whose signature it has
// verified: below the issuers that are known, neither is done again.
func (r *roots) verifyParsed(chain []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	raw := make([][]byte, len(chain))
	for i, c := range chain {
		raw[i] = c.Raw
	}
	above := r.above(raw)
	if above == nil {
		return r.verify(raw, true, now)
	}
	leaf := chain[0]
	if err := checkDER(leaf); err != nil {
		return nil, refusef("chain[0] is not a valid certificate: %v", err)
	}
	if !bytes.Equal(leaf.RawIssuer, above[0].RawSubject) {
		return nil, notIssued(0)
	}
	chain = append([]*x509.Certificate{leaf}, above...)
	return chain, r.check(chain, true, now)
}

// check holds a chain whose signatures are verified to what the log takes.
func (r *roots) check(chain []*x509.Certificate, precert bool, now time.Time) error {
	if err := r.checkOurs(chain); err != nil {
		return err
	}
	if err := checkPathLengths(chain); err != nil {
		return err
	}
	if err := checkKind(chain, precert); err != nil {
		return err
	}
	return checkLeaf(chain[0], now)
}

// above returns what stands above the leaf, if it is what stood there in the chain that was accepted last.
func (r *roots) above(raw [][]byte) []*x509.Certificate {
	known := r.last.Load()
	if len(raw) == 0 || known == nil || !slices.EqualFunc(known.raw, raw[1:], bytes.Equal) {
		return nil
	}
	return known.verified
}

// path parses a chain and verifies every signature in it that it does not know.
func (r *roots) path(raw [][]byte) ([]*x509.Certificate, error) {
	if above := r.above(raw); above != nil {
		leaf, err := parseChain(raw[:1])
		if err != nil {
			return nil, err
		}
		return append(leaf, above...), issued(above[0], leaf[0], 0)
	}
	chain, err := parseChain(raw)
	if err != nil {
		return nil, err
	}
	if chain, err = r.complete(chain); err != nil {
		return nil, err
	}
	// From the top: a key that no accepted root vouches for is never used to verify anything.
	for i := len(chain) - 2; i >= 0; i-- {
		if err := issued(chain[i+1], chain[i], i); err != nil {
			return nil, err
		}
	}
	if len(raw) > 1 {
		r.last.Store(&issuers{raw: clone(raw[1:]), verified: slices.Clone(chain[1:])})
	}
	return chain, nil
}

// clone copies what belongs to a request.
func clone(list [][]byte) [][]byte {
	out := make([][]byte, len(list))
	for i, b := range list {
		out[i] = bytes.Clone(b)
	}
	return out
}

func parseChain(raw [][]byte) ([]*x509.Certificate, error) {
	if len(raw) == 0 {
		return nil, refusef("cert chain was empty")
	}
	if len(raw) > maxChain {
		return nil, refusef("cert chain too long: %d certificates, at most %d are accepted", len(raw), maxChain)
	}
	chain := make([]*x509.Certificate, len(raw))
	for i, der := range raw {
		if len(der) > maxCert {
			return nil, refusef("chain[%d] is larger than %d bytes", i, maxCert)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, refusef("chain[%d] is not a valid certificate", i)
		}
		if err := checkDER(c); err != nil {
			return nil, refusef("chain[%d] is not a valid certificate: %v", i, err)
		}
		chain[i] = c
	}
	return chain, nil
}

// complete appends the root to a chain that ends below it, and refuses a chain that ends in no
// accepted root.
func (r *roots) complete(chain []*x509.Certificate) ([]*x509.Certificate, error) {
	last := chain[len(chain)-1]
	for _, root := range r.certs {
		if bytes.Equal(last.Raw, root.Raw) {
			return chain, nil
		}
	}
	for _, root := range r.certs {
		if bytes.Equal(last.RawIssuer, root.RawSubject) && last.CheckSignatureFrom(root) == nil {
			return append(slices.Clip(chain), root), nil
		}
	}
	return nil, refusef("chain does not end in an accepted root")
}

// issued says whether parent issued child, the certificate at place i of the chain.
func issued(parent, child *x509.Certificate, i int) error {
	if bytes.Equal(parent.Raw, child.Raw) {
		return refusef("chain holds a certificate twice")
	}
	if !bytes.Equal(parent.RawSubject, child.RawIssuer) || child.CheckSignatureFrom(parent) != nil {
		return notIssued(i)
	}
	return nil
}

func notIssued(i int) error {
	return refusef("chain[%d] did not issue chain[%d]: send every certificate once, leaf first, each followed by its issuer", i+1, i)
}

// checkOurs refuses what other authorities have issued under a root that is not ours alone. What stands above a leaf
// is one of the narrow chains, all of it; a CA is a certificate of one.
func (r *roots) checkOurs(chain []*x509.Certificate) error {
	shared := false
	for _, ours := range r.narrow {
		if !ours[len(ours)-1].Equal(chain[len(chain)-1]) {
			continue
		}
		shared = true
		above, from := chain[1:], 0
		if chain[0].IsCA {
			above, from = chain, max(0, len(ours)-len(chain))
		}
		if slices.EqualFunc(above, ours[from:], (*x509.Certificate).Equal) {
			return nil
		}
	}
	if shared {
		return refusef("chain is not one of this log's authorities")
	}
	return nil
}

// checkPathLengths holds every CA to how many CAs it may have between it and the leaf (RFC 5280
// 4.2.1.9).
func checkPathLengths(chain []*x509.Certificate) error {
	for i, c := range chain[1:] {
		if limited := c.MaxPathLen > 0 || c.MaxPathLenZero; limited && i > c.MaxPathLen {
			return refusef("chain[%d] may not have %d intermediates below it", i+1, i)
		}
	}
	return nil
}

// checkKind says whether the leaf is what the endpoint takes.
func checkKind(chain []*x509.Certificate, precert bool) error {
	leaf := chain[0]
	poison, list := false, false
	for _, ext := range leaf.Extensions {
		switch {
		case ext.Id.Equal(certificate.OIDPoison):
			if !ext.Critical || !bytes.Equal(ext.Value, []byte{5, 0}) {
				return refusef("CT poison extension is not critical or not NULL")
			}
			poison = true
		case ext.Id.Equal(certificate.OIDSCTList):
			list = true
		}
	}
	switch {
	case poison != precert:
		return refusef("cert / precert mismatch: add-chain takes certificates, add-pre-chain takes precertificates")
	case poison && list:
		return refusef("precertificate holds an SCT list")
	case poison && leaf.IsCA:
		return refusef("precertificate of a CA")
	case poison && len(chain) < 2:
		return refusef("precertificate without its issuer")
	}
	for _, c := range chain[1:] {
		if hasCTUsage(c) {
			return refusef("precertificate signing certificates are not accepted")
		}
	}
	return nil
}

// hasCTUsage finds the extended key usage of RFC 6962 3.1, 1.3.6.1.4.1.11129.2.4.4.
func hasCTUsage(c *x509.Certificate) bool {
	for _, eku := range c.UnknownExtKeyUsage {
		if eku.String() == "1.3.6.1.4.1.11129.2.4.4" {
			return true
		}
	}
	return false
}

// checkLeaf holds a leaf that is not a CA to what our authority issues: valid now, for code
// signing. CA certificates are logged whenever they are submitted.
func checkLeaf(c *x509.Certificate, now time.Time) error {
	if c.IsCA {
		return nil
	}
	if now.After(c.NotAfter) {
		return refusef("certificate expired at %s", c.NotAfter.UTC().Format(time.RFC3339))
	}
	if now.Add(maxSkew).Before(c.NotBefore) {
		return refusef("certificate is not valid before %s", c.NotBefore.UTC().Format(time.RFC3339))
	}
	if !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) {
		return refusef("certificate is not for code signing")
	}
	return nil
}
