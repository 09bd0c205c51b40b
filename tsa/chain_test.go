package tsa_test

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

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tsa"
)

// TestNewChain: the certificates are what RFC 3161 2.3 and the trusted root's readers want.
func TestNewChain(t *testing.T) {
	now := time.Date(2026, 5, 6, 7, 8, 9, 10, time.UTC)
	chain, err := tsa.NewChain(clock.NewManual(now), "Example", tsa.WithIntermediate())
	if err != nil {
		t.Fatal(err)
	}
	certs := chain.Certificates()
	if len(certs) != 3 {
		t.Fatalf("%d certificates", len(certs))
	}
	for i, years := range []int{5, 10, 10} {
		c := certs[i]
		if want := now.Truncate(time.Second).Add(-time.Hour); !c.NotBefore.Equal(want) || !c.NotAfter.Equal(want.AddDate(years, 0, 0)) {
			t.Errorf("%s: valid from %s to %s", c.Subject, c.NotBefore, c.NotAfter)
		}
		if len(c.Subject.Organization) != 1 || c.Subject.Organization[0] != "Example" || c.Subject.CommonName == "" {
			t.Errorf("subject %s", c.Subject)
		}
		if c.PublicKey.(*ecdsa.PublicKey).Curve != elliptic.P256() || len(c.SubjectKeyId) != 20 {
			t.Errorf("%s: key", c.Subject)
		}
	}
	if certs[0].IsCA || !certs[1].IsCA || !certs[2].IsCA || certs[1].MaxPathLen != 0 || !certs[1].MaxPathLenZero {
		t.Error("basic constraints")
	}
	if len(certs[1].ExtKeyUsage) != 1 || certs[1].ExtKeyUsage[0] != x509.ExtKeyUsageTimeStamping || len(certs[2].ExtKeyUsage) != 0 {
		t.Error("extended key usage of the CAs")
	}
}

// pki builds bad chains: each knob is what one row of TestNewRefuses turns.
type pki struct {
	rootKey, leafKey crypto.Signer
	root, leaf       *x509.Certificate
}

var timeStamping = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}

func eku(critical bool, oids ...asn1.ObjectIdentifier) []pkix.Extension {
	der, err := asn1.Marshal(oids)
	if err != nil {
		panic(err)
	}
	return []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: critical, Value: der}}
}

func p256(t *testing.T) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newPKI(t *testing.T, now time.Time, leafKey crypto.Signer, change func(root, leaf *x509.Certificate)) pki {
	t.Helper()
	p := pki{rootKey: p256(t), leafKey: leafKey}
	if leafKey == nil {
		p.leafKey = p256(t)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"o"}, CommonName: "root"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
		BasicConstraintsValid: true, IsCA: true,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{Organization: []string{"o"}, CommonName: "leaf"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: eku(true, timeStamping),
	}
	if change != nil {
		change(root, leaf)
	}
	p.root = sign(t, root, root, p.rootKey.Public(), p.rootKey)
	p.leaf = sign(t, leaf, p.root, p.leafKey.Public(), p.rootKey)
	return p
}

func sign(t *testing.T, tmpl, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestNewRefuses: B-200, B-201. Each row is a chain that some client refuses to verify under,
// found at start instead of at a user's desk.
func TestNewRefuses(t *testing.T) {
	now := time.Now()
	ed25519Key := func() crypto.Signer { _, k, _ := ed25519.GenerateKey(rand.Reader); return k }
	rsaKey := func() crypto.Signer { k, _ := rsa.GenerateKey(rand.Reader, 2048); return k }
	p224 := func() crypto.Signer { k, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader); return k }
	type rig struct {
		key   crypto.Signer
		chain []*x509.Certificate
	}
	plain := func(leafKey crypto.Signer, change func(root, leaf *x509.Certificate)) rig {
		p := newPKI(t, now, leafKey, change)
		return rig{p.leafKey, []*x509.Certificate{p.leaf, p.root}}
	}
	leafOnly := func(change func(leaf *x509.Certificate)) rig {
		return plain(nil, func(_, leaf *x509.Certificate) { change(leaf) })
	}
	good := plain(nil, nil)
	other := newPKI(t, now, nil, nil)

	for _, row := range []struct {
		name string
		rig  rig
		want string // part of the reason; "" accepts
	}{
		{"the good chain", good, ""},
		{"no chain", rig{good.key, nil}, "at least"},
		{"no root", rig{good.key, good.chain[:1]}, "at least"},
		{"no key", rig{nil, good.chain}, "no key"},
		{"root first", rig{good.key, []*x509.Certificate{good.chain[1], good.chain[0]}}, "not the leaf's"},
		{"another key", rig{p256(t), good.chain}, "not the leaf's"},
		{"Ed25519 key", plain(ed25519Key(), nil), "want ECDSA"},
		{"RSA key", plain(rsaKey(), nil), "want ECDSA"},
		{"P-224 key", plain(p224(), nil), "curve"},
		{"leaf is a CA", leafOnly(func(l *x509.Certificate) { l.IsCA, l.BasicConstraintsValid = true, true }), "CA certificate"},
		{"leaf may sign certificates", leafOnly(func(l *x509.Certificate) { l.KeyUsage |= x509.KeyUsageCertSign }), "key usage"},
		{"leaf without key usage", leafOnly(func(l *x509.Certificate) { l.KeyUsage = 0 }), "key usage"},
		{"EKU not critical", leafOnly(func(l *x509.Certificate) { l.ExtraExtensions = eku(false, timeStamping) }), "not critical"},
		{"two EKUs", leafOnly(func(l *x509.Certificate) {
			l.ExtraExtensions = eku(true, timeStamping, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3})
		}), "timeStamping alone"},
		{"an unknown EKU beside", leafOnly(func(l *x509.Certificate) {
			l.ExtraExtensions = eku(true, timeStamping, asn1.ObjectIdentifier{1, 2, 3, 4})
		}), "timeStamping alone"},
		{"no EKU", leafOnly(func(l *x509.Certificate) { l.ExtraExtensions = nil }), "timeStamping alone"},
		{"leaf expired", leafOnly(func(l *x509.Certificate) { l.NotAfter = now.Add(-time.Minute) }), "not valid now"},
		{"leaf not yet valid", leafOnly(func(l *x509.Certificate) { l.NotBefore = now.Add(time.Minute) }), "not valid now"},
		{"root expired", plain(nil, func(r, _ *x509.Certificate) { r.NotAfter = now.Add(-time.Minute) }), "not valid now"},
		{"root without CN", plain(nil, func(r, _ *x509.Certificate) { r.Subject.CommonName = "" }), "O or CN"},
		{"leaf without O", leafOnly(func(l *x509.Certificate) { l.Subject.Organization = nil }), "O or CN"},
		{"root for another purpose", plain(nil, func(r, _ *x509.Certificate) { r.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }), "usage"},
		{"another root", rig{good.key, []*x509.Certificate{good.chain[0], other.root}}, "authority"},
		{"a stranger between", rig{good.key, []*x509.Certificate{good.chain[0], other.root, good.chain[1]}}, "not in order"},
		{"last is not a root", rig{good.key, []*x509.Certificate{good.chain[0], good.chain[0]}}, "self-signed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			a, err := tsa.New(tsa.Config{Key: row.rig.key, Chain: row.rig.chain, Clock: clock.System{}})
			switch {
			case row.want == "" && err != nil:
				t.Fatal(err)
			case row.want == "":
			case a != nil || !errors.Is(err, tsa.ErrChain) || !strings.Contains(err.Error(), row.want):
				t.Errorf("got %v, want ErrChain with %q", err, row.want)
			}
		})
	}
}

// TestNewRefusesSHA1: Go no longer signs with SHA-1, so a parsed certificate is relabelled.
func TestNewRefusesSHA1(t *testing.T) {
	p := newPKI(t, time.Now(), nil, nil)
	old := *p.leaf
	old.SignatureAlgorithm = x509.ECDSAWithSHA1
	_, err := tsa.New(tsa.Config{Key: p.leafKey, Chain: []*x509.Certificate{&old, p.root}, Clock: clock.System{}})
	if !errors.Is(err, tsa.ErrChain) || !strings.Contains(err.Error(), "SHA1") {
		t.Errorf("got %v", err)
	}
}
