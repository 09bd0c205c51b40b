package pki_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca/pki"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
)

// made is one certificate of a test's PKI, with its key.
type made struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// plan is a chain before it is signed, root first, so that each row of a table can spoil one thing.
type plan struct {
	names     []string
	templates map[string]*x509.Certificate // "root", "issuing", and "ca" or "tsa"
	keys      map[string]crypto.Signer
	signers   map[string]crypto.Signer // instead of the issuer's
}

func signer(t *testing.T) crypto.Signer {
	t.Helper()
	k, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newPlan is a good chain of two tiers, or of three.
func newPlan(t *testing.T, p pki.Purpose, tiers int, now time.Time) *plan {
	t.Helper()
	out := &plan{templates: map[string]*x509.Certificate{}, keys: map[string]crypto.Signer{}, signers: map[string]crypto.Signer{}}
	authority := func(name string) *x509.Certificate {
		return &x509.Certificate{
			Subject: pkix.Name{Organization: []string{"Example Corp"}, CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
			KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLen: -1, SubjectKeyId: []byte(name),
		}
	}
	out.names = []string{"root", "issuing", string(p)}
	if tiers == 2 {
		out.names = []string{"root", string(p)}
	}
	for _, n := range out.names {
		out.templates[n], out.keys[n] = authority(n), signer(t)
	}
	own := out.templates[string(p)]
	if p == pki.CA {
		own.MaxPathLen, own.MaxPathLenZero, own.ExtKeyUsage = 0, true, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	} else {
		own.IsCA, own.BasicConstraintsValid, own.KeyUsage, own.MaxPathLen = false, false, x509.KeyUsageDigitalSignature, 0
		own.ExtraExtensions = usages(t, true, stamping)
	}
	return out
}

var (
	stamping = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
	server   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
)

// usages is an extended key usage extension.
func usages(t *testing.T, critical bool, list ...asn1.ObjectIdentifier) []pkix.Extension {
	t.Helper()
	der, err := asn1.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: critical, Value: der}}
}

// sign makes the chain, its own certificate first and the root last.
func (p *plan) sign(t *testing.T) (chain []*x509.Certificate) {
	t.Helper()
	above := made{}
	for i, name := range p.names {
		tmpl := *p.templates[name]
		tmpl.SerialNumber = big.NewInt(int64(i + 1))
		parent, by := above.cert, above.key
		if parent == nil {
			parent, by = &tmpl, p.keys[name]
		}
		if s := p.signers[name]; s != nil {
			forged := *parent
			forged.PublicKey = nil // or Go checks its own signature with it
			parent, by = &forged, s
		}
		der, err := x509.CreateCertificate(rand.Reader, &tmpl, parent, p.keys[name].Public(), by)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		above = made{cert, p.keys[name]}
		chain = append([]*x509.Certificate{cert}, chain...)
	}
	return chain
}

type row struct {
	name    string
	purpose pki.Purpose
	tiers   int
	spoil   func(*testing.T, *plan)
	after   func(*testing.T, []*x509.Certificate) []*x509.Certificate // what is done to the signed chain
	key     func(*testing.T) crypto.Signer                            // instead of the chain's own
	at      int                                                       // the certificate that is named, from 1
	want    string                                                    // of the cause; "" accepts
}

func spoil(name string, f func(*x509.Certificate)) func(*testing.T, *plan) {
	return func(_ *testing.T, p *plan) { f(p.templates[name]) }
}

func rekey(name string, k func() (crypto.Signer, error)) func(*testing.T, *plan) {
	return func(t *testing.T, p *plan) {
		key, err := k()
		if err != nil {
			t.Fatal(err)
		}
		p.keys[name] = key
	}
}

func curve(c elliptic.Curve) func() (crypto.Signer, error) {
	return func() (crypto.Signer, error) { return ecdsa.GenerateKey(c, rand.Reader) }
}

func rsaOf(bits int) func() (crypto.Signer, error) {
	return func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, bits) }
}

func ed() (crypto.Signer, error) {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	return k, err
}

func pick(at ...int) func(*testing.T, []*x509.Certificate) []*x509.Certificate {
	return func(_ *testing.T, chain []*x509.Certificate) (out []*x509.Certificate) {
		for _, i := range at {
			out = append(out, chain[i])
		}
		return out
	}
}

// rows are chains that come back from a PKI, and what is wrong with each.
func rows(now time.Time) []row {
	unknown := pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}
	return []row{
		{name: "two tiers", purpose: pki.CA, tiers: 2},
		{name: "three tiers", purpose: pki.CA, tiers: 3},
		{name: "two tiers, timestamps", purpose: pki.TSA, tiers: 2},
		{name: "three tiers, timestamps", purpose: pki.TSA, tiers: 3},
		{name: "RSA root", purpose: pki.CA, tiers: 3, spoil: rekey("root", rsaOf(2048))},
		{name: "P-384 root", purpose: pki.TSA, tiers: 2, spoil: rekey("root", curve(elliptic.P384()))},
		{name: "an issuer for any purpose", purpose: pki.CA, tiers: 3, spoil: spoil("issuing", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} })},
		{name: "an issuer with just enough path length", purpose: pki.CA, tiers: 3, spoil: spoil("issuing", func(c *x509.Certificate) { c.MaxPathLen = 1 })},
		{name: "an issuer of leaves only, for timestamps", purpose: pki.TSA, tiers: 3, spoil: spoil("issuing", func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })},

		// Whose chain it is.
		{name: "empty", purpose: pki.CA, tiers: 2, after: pick(), want: "has no certificate"},
		{name: "another key", purpose: pki.CA, tiers: 2, key: signer, at: 1, want: "is for another key"},
		{name: "root first", purpose: pki.CA, tiers: 3, after: pick(2, 1, 0), at: 3, want: "does not come first"},
		{name: "the root has the same key", purpose: pki.CA, tiers: 2, spoil: func(_ *testing.T, p *plan) { p.keys["root"] = p.keys["ca"] }, at: 2, want: "has the same key"},
		{name: "signed with its own key", purpose: pki.CA, tiers: 2, spoil: func(_ *testing.T, p *plan) {
			p.names, p.templates["ca"].MaxPathLenZero, p.templates["ca"].MaxPathLen = []string{"ca"}, false, -1
		}, at: 1, want: "is signed with its own key"},
		{name: "too many", purpose: pki.CA, tiers: 2, after: pick(0, 1, 1, 1, 1, 1, 1, 1, 1), want: "has 9 certificates"},

		// Completeness and order.
		{name: "no root", purpose: pki.CA, tiers: 3, after: pick(0, 1), at: 2, want: "is the last, and is issued by"},
		{name: "alone", purpose: pki.TSA, tiers: 2, after: pick(0), at: 1, want: "is the last, and is issued by"},
		{name: "issuers swapped", purpose: pki.CA, tiers: 3, after: pick(0, 2, 1), at: 1, want: "follows"},
		{name: "the middle is missing", purpose: pki.CA, tiers: 3, after: pick(0, 2), at: 1, want: "which is not in the chain"},
		{name: "twice", purpose: pki.CA, tiers: 3, after: pick(0, 1, 1, 2), at: 3, want: "is there twice"},
		{name: "something after the root", purpose: pki.CA, tiers: 2, after: func(t *testing.T, chain []*x509.Certificate) []*x509.Certificate {
			return append(chain, newPlan(t, pki.CA, 3, now).sign(t)[2])
		}, at: 2, want: "is a self-signed root, and not the last"},
		{name: "an issuer of the same name with another key", purpose: pki.CA, tiers: 3, after: func(t *testing.T, chain []*x509.Certificate) []*x509.Certificate {
			other := newPlan(t, pki.CA, 3, now).sign(t)
			return []*x509.Certificate{chain[0], other[1], other[2]}
		}, at: 1, want: "is not signed with the key of"},
		{name: "a root that another key signed", purpose: pki.CA, tiers: 2, spoil: func(t *testing.T, p *plan) { p.signers["root"] = signer(t) }, at: 2, want: "names itself as issuer and is not signed with its own key"},

		// Basic constraints and path length.
		{name: "an end entity as the authority", purpose: pki.CA, tiers: 2, spoil: spoil("ca", func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = false, false }), at: 1, want: "is not a CA"},
		{name: "no basic constraints", purpose: pki.CA, tiers: 2, spoil: spoil("ca", func(c *x509.Certificate) { c.BasicConstraintsValid = false }), at: 1, want: "is not a CA"},
		{name: "an end entity as issuer", purpose: pki.CA, tiers: 3, spoil: spoil("issuing", func(c *x509.Certificate) { c.IsCA = false }), at: 2, want: "basic constraints do not say CA"},
		{name: "a CA for timestamps", purpose: pki.TSA, tiers: 2, spoil: spoil("tsa", func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), at: 1, want: "a timestamp authority must not be one"},
		{name: "path length of the issuer", purpose: pki.CA, tiers: 3, spoil: spoil("issuing", func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true }), at: 2, want: "may have 0 CAs below it (path length), and has 1"},
		{name: "path length of the root", purpose: pki.CA, tiers: 3, spoil: spoil("root", func(c *x509.Certificate) { c.MaxPathLen = 1 }), at: 3, want: "may have 1 CAs below it (path length), and has 2"},
		{name: "path length of the root, timestamps", purpose: pki.TSA, tiers: 3, spoil: spoil("root", func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true }), at: 3, want: "may have 0 CAs below it (path length), and has 1"},

		// Key usage and extended key usage.
		{name: "no keyCertSign", purpose: pki.CA, tiers: 2, spoil: spoil("ca", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }), at: 1, want: "lacks keyCertSign"},
		{name: "an issuer without keyCertSign", purpose: pki.TSA, tiers: 3, spoil: spoil("issuing", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }), at: 2, want: "lacks keyCertSign"},
		{name: "no codeSigning", purpose: pki.CA, tiers: 2, spoil: spoil("ca", func(c *x509.Certificate) { c.ExtKeyUsage = nil }), at: 1, want: "lacks the extended key usage codeSigning"},
		{name: "any usage in place of codeSigning", purpose: pki.CA, tiers: 2, spoil: spoil("ca", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), at: 1, want: "lacks the extended key usage codeSigning"},
		{name: "an issuer for servers", purpose: pki.CA, tiers: 3, spoil: spoil("issuing", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), at: 2, want: "is not for codeSigning"},
		{name: "an issuer for code, timestamps", purpose: pki.TSA, tiers: 3, spoil: spoil("issuing", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }), at: 2, want: "is not for timeStamping"},
		{name: "a root for an unknown purpose", purpose: pki.CA, tiers: 2, spoil: spoil("root", func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} }), at: 2, want: "is not for codeSigning"},
		{name: "another key usage beside, timestamps", purpose: pki.TSA, tiers: 2, spoil: spoil("tsa", func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageContentCommitment }), at: 1, want: "another key usage than digitalSignature"},
		{name: "no timeStamping", purpose: pki.TSA, tiers: 2, spoil: func(t *testing.T, p *plan) { p.templates["tsa"].ExtraExtensions = usages(t, true, server) }, at: 1, want: "lacks the extended key usage timeStamping"},
		{name: "timeStamping and more", purpose: pki.TSA, tiers: 2, spoil: func(t *testing.T, p *plan) { p.templates["tsa"].ExtraExtensions = usages(t, true, stamping, server) }, at: 1, want: "other extended key usages beside"},
		{name: "timeStamping not critical", purpose: pki.TSA, tiers: 2, spoil: func(t *testing.T, p *plan) { p.templates["tsa"].ExtraExtensions = usages(t, false, stamping) }, at: 1, want: "is not critical"},

		// Names, validity, algorithms, and what bounds those below.
		{name: "no organization", purpose: pki.CA, tiers: 2, spoil: spoil("ca", func(c *x509.Certificate) { c.Subject.Organization = nil }), at: 1, want: "has no organization"},
		{name: "a root without a common name", purpose: pki.TSA, tiers: 2, spoil: spoil("root", func(c *x509.Certificate) { c.Subject.CommonName = "" }), at: 2, want: "has no common name"},
		{name: "no subject key identifier", purpose: pki.CA, tiers: 2, after: withoutKeyID, at: 1, want: "has no subject key identifier"},
		{name: "name constraints", purpose: pki.CA, tiers: 3, spoil: spoil("issuing", func(c *x509.Certificate) {
			c.PermittedEmailAddresses = []string{"example.com"}
		}), at: 2, want: "has name constraints"},
		{name: "an unknown critical extension", purpose: pki.CA, tiers: 2, spoil: spoil("ca", func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{unknown} }), at: 1, want: "critical extension 1.2.3.4"},
		{name: "expired", purpose: pki.CA, tiers: 2, spoil: spoil("ca", func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }), at: 1, want: "has expired"},
		{name: "not yet valid", purpose: pki.TSA, tiers: 2, spoil: spoil("tsa", func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) }), at: 1, want: "is not valid before"},
		{name: "an expired issuer", purpose: pki.CA, tiers: 3, spoil: spoil("issuing", func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }), at: 2, want: "has expired"},
		{name: "RSA of 1024 bits", purpose: pki.CA, tiers: 2, spoil: rekey("root", rsaOf(1024)), at: 2, want: "RSA key of 1024 bits"},
		{name: "P-224", purpose: pki.CA, tiers: 2, spoil: rekey("root", curve(elliptic.P224())), at: 2, want: "P-224"},
		{name: "Ed25519", purpose: pki.CA, tiers: 2, spoil: rekey("root", ed), at: 1, want: "is signed with Ed25519"},
		{name: "SHA-1", purpose: pki.CA, tiers: 2, after: func(_ *testing.T, chain []*x509.Certificate) []*x509.Certificate {
			old := *chain[0] // Go signs nothing with SHA-1 any more
			old.SignatureAlgorithm = x509.SHA1WithRSA
			return []*x509.Certificate{&old, chain[1]}
		}, at: 1, want: "is signed with SHA1-RSA"},
	}
}

// withoutKeyID takes the identifier out of a parsed certificate: Go puts one into every CA.
func withoutKeyID(_ *testing.T, chain []*x509.Certificate) []*x509.Certificate {
	c := *chain[0]
	c.SubjectKeyId = nil
	return []*x509.Certificate{&c, chain[1]}
}

// TestCheck: what a PKI may send back, and every other chain with the cause and with what to do.
func TestCheck(t *testing.T) {
	now := time.Now()
	for _, r := range rows(now) {
		t.Run(r.name, func(t *testing.T) {
			p := newPlan(t, r.purpose, r.tiers, now)
			if r.spoil != nil {
				r.spoil(t, p)
			}
			chain, key := p.sign(t), p.keys[string(r.purpose)]
			if r.after != nil {
				chain = r.after(t, chain)
			}
			if r.key != nil {
				key = r.key(t)
			}
			err := pki.Check(r.purpose, chain, key, clock.NewManual(now))
			if r.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				clientsTake(t, r.purpose, chain, key)
				return
			}
			var refusal *pki.Refusal
			if !errors.As(err, &refusal) || refusal.Certificate != r.at || !strings.Contains(refusal.Cause, r.want) || refusal.Todo == "" {
				t.Errorf("got %v, want certificate %d and %q", err, r.at, r.want)
			}
			if err != nil && strings.Contains(err.Error(), "report this") {
				t.Errorf("it was found by chance: %v", err)
			}
		})
	}
}
