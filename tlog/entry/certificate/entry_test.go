package certificate_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"pgregory.net/rapid"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
	"github.com/sigbox/sigbox/tlog/logtest"
)

var poison = pkix.Extension{Id: certificate.OIDPoison, Critical: true, Value: asn1.NullBytes}

// pki is an issuer with its self-signed certificate.
type pki struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newPKI(t testing.TB) pki {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"},
		NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	p := pki{key: key}
	p.cert = p.sign(t, tmpl, tmpl)
	return p
}

func (p pki) sign(t testing.TB, tmpl, parent *x509.Certificate) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &p.key.PublicKey, p.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (p pki) leaf(t testing.TB, serial int64, exts ...pkix.Extension) *x509.Certificate {
	t.Helper()
	return p.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9, 0),
		EmailAddresses: []string{"dev@example.com"}, ExtraExtensions: exts,
	}, p.cert)
}

// TestLeafEqualsReference compares the Merkle leaf with the one that certificate-transparency-go
// makes, for precertificates with the poison at any place, and the stored bytes with what its
// client reads.
func TestLeafEqualsReference(t *testing.T) {
	p := newPKI(t)
	rapid.Check(t, func(rt *rapid.T) {
		exts := []pkix.Extension{}
		for i, v := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 0, 6).Draw(rt, "extensions") {
			exts = append(exts, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, i}, Critical: i%2 == 0, Value: v})
		}
		precert := rapid.Bool().Draw(rt, "precert")
		if precert {
			at := rapid.IntRange(0, len(exts)).Draw(rt, "poison at")
			exts = append(exts[:at:at], append([]pkix.Extension{poison}, exts[at:]...)...)
		}
		cert := p.leaf(t, rapid.Int64Range(1, 1<<62).Draw(rt, "serial"), exts...)
		timeMS := rapid.Int64Range(0, 1<<45).Draw(rt, "time")
		chain := []*x509.Certificate{p.cert}
		kind, build := ct.X509LogEntryType, certificate.NewX509
		if precert {
			kind, build = ct.PrecertLogEntryType, certificate.NewPrecert
		}
		e, err := build(cert, chain)
		if err != nil {
			rt.Fatal(err)
		}
		leaf, stored, err := e.Encode(7, timeMS)
		if err != nil {
			rt.Fatal(err)
		}
		ref, err := ct.MerkleTreeLeafFromRawChain([]ct.ASN1Cert{{Data: cert.Raw}, {Data: p.cert.Raw}}, kind, uint64(timeMS))
		if err != nil {
			rt.Fatal(err)
		}
		want, err := tls.Marshal(*ref)
		if err != nil {
			rt.Fatal(err)
		}
		if !bytes.Equal(leaf, want) {
			rt.Fatalf("leaf\n%x\nreference\n%x", leaf, want)
		}
		hash, err := ct.LeafHashForLeaf(ref)
		if err != nil {
			rt.Fatal(err)
		}
		if keys := e.Keys(); len(keys) != 1 || !bytes.Equal(keys[0], hash[:]) {
			rt.Fatalf("keys %x, want the leaf hash %x", keys, hash)
		}
		in, extra, err := certificate.Parse(stored)
		if err != nil {
			rt.Fatal(err)
		}
		raw, err := ct.RawLogEntryFromLeaf(7, &ct.LeafEntry{LeafInput: in, ExtraData: extra})
		if err != nil {
			rt.Fatal(err)
		}
		if !bytes.Equal(raw.Cert.Data, cert.Raw) || len(raw.Chain) != 1 || !bytes.Equal(raw.Chain[0].Data, p.cert.Raw) {
			rt.Fatal("a reader does not get the certificate and its chain back")
		}
	})
}

// TestIdentity says what makes two submissions one entry.
func TestIdentity(t *testing.T) {
	p, other := newPKI(t), newPKI(t)
	cert, pre := p.leaf(t, 1), p.leaf(t, 1, poison)
	resigned := p.leaf(t, 1, poison) // another signature over the same TBS
	if bytes.Equal(pre.Raw, resigned.Raw) {
		t.Fatal("signatures are equal: the case shows nothing")
	}
	x := func(c *x509.Certificate, chain ...*x509.Certificate) [32]byte {
		e, err := certificate.NewX509(c, chain)
		if err != nil {
			t.Fatal(err)
		}
		return e.Identity()
	}
	pc := func(c *x509.Certificate, chain ...*x509.Certificate) [32]byte {
		e, err := certificate.NewPrecert(c, chain)
		if err != nil {
			t.Fatal(err)
		}
		return e.Identity()
	}
	for _, tc := range []struct {
		name string
		a, b [32]byte
		same bool
	}{
		{"certificate with another chain", x(cert, p.cert), x(cert), true},
		{"precertificate with a longer chain", pc(pre, p.cert), pc(pre, p.cert, other.cert), true},
		{"precertificate signed again", pc(pre, p.cert), pc(resigned, p.cert), true},
		{"precertificate under another issuer key", pc(pre, p.cert), pc(pre, other.cert), false},
		{"certificate and precertificate", x(pre, p.cert), pc(pre, p.cert), false},
		{"another certificate", x(cert, p.cert), x(p.leaf(t, 2), p.cert), false},
		{"another precertificate", pc(pre, p.cert), pc(p.leaf(t, 2, poison), p.cert), false},
	} {
		if got := tc.a == tc.b; got != tc.same {
			t.Errorf("%s: one entry = %v, want %v", tc.name, got, tc.same)
		}
	}
}

// TestInLog appends through the engine: a retried Encode and a search by leaf hash work there.
func TestInLog(t *testing.T) {
	p := newPKI(t)
	log := logtest.New(t, func(c *tlog.Config) { c.LeafInput = certificate.LeafInput })
	for i := range 3 {
		e, err := certificate.NewPrecert(p.leaf(t, int64(i+1), poison), []*x509.Certificate{p.cert})
		if err != nil {
			t.Fatal(err)
		}
		r, err := log.Append(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		found, err := log.Search(t.Context(), [][]byte{r.Leaf.Hash[:]}, false, 9)
		if err != nil || len(found.Indexes) != 1 || found.Indexes[0] != r.Leaf.Index {
			t.Fatalf("search by leaf hash: %+v, %v; want index %d", found, err, r.Leaf.Index)
		}
	}
}

func TestNotPrecert(t *testing.T) {
	p := newPKI(t)
	for _, tc := range []struct {
		name string
		exts []pkix.Extension
	}{
		{"no poison", nil},
		{"not critical", []pkix.Extension{{Id: certificate.OIDPoison, Value: asn1.NullBytes}}},
		{"not NULL", []pkix.Extension{{Id: certificate.OIDPoison, Critical: true, Value: []byte{4, 0}}}},
		{"NULL with more", []pkix.Extension{{Id: certificate.OIDPoison, Critical: true, Value: []byte{5, 0, 0}}}},
		{"SCT list beside it", []pkix.Extension{poison, {Id: certificate.OIDSCTList, Value: []byte{4, 0}}}},
	} {
		c := p.leaf(t, 1, tc.exts...)
		if _, err := certificate.NewPrecert(c, []*x509.Certificate{p.cert}); !errors.Is(err, certificate.ErrNotPrecert) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := certificate.NewPrecert(p.leaf(t, 1, poison), nil); !errors.Is(err, certificate.ErrNotPrecert) {
		t.Errorf("no issuer: %v", err)
	}
}

// TestTwoPoisons needs bytes that crypto/x509 neither writes nor reads.
func TestTwoPoisons(t *testing.T) {
	p := newPKI(t)
	tbs := p.leaf(t, 1, poison, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 9}, Critical: true, Value: asn1.NullBytes}).RawTBSCertificate
	one := bytes.Replace(tbs, []byte{0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 9}, []byte{0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 3}, 1)
	if bytes.Equal(one, tbs) {
		t.Fatal("nothing was replaced")
	}
	if _, err := certificate.WithoutPoison(tbs); err != nil {
		t.Fatal(err)
	}
	if _, err := certificate.WithoutPoison(one); !errors.Is(err, certificate.ErrNotPrecert) {
		t.Errorf("two poisons: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	p := newPKI(f)
	e, err := certificate.NewX509(p.leaf(f, 1), []*x509.Certificate{p.cert})
	if err != nil {
		f.Fatal(err)
	}
	_, stored, err := e.Encode(0, 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(stored)
	f.Add([]byte{})
	f.Add([]byte{0, 0, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		leaf, extra, err := certificate.Parse(data)
		if err != nil {
			return
		}
		if len(leaf)+len(extra)+6 != len(data) {
			t.Fatalf("%d bytes parse to %d and %d", len(data), len(leaf), len(extra))
		}
		_, _ = certificate.ParseLeaf(leaf)
	})
}

// FuzzWithoutPoison holds the result to the rule: the input minus one extension, other bytes as
// they were but for lengths, and never a poison left.
func FuzzWithoutPoison(f *testing.F) {
	p := newPKI(f)
	f.Add(p.leaf(f, 1, poison).RawTBSCertificate)
	f.Add(p.leaf(f, 1).RawTBSCertificate)
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Fuzz(func(t *testing.T, tbs []byte) {
		out, err := certificate.WithoutPoison(tbs)
		if err != nil {
			return
		}
		if _, err := certificate.WithoutPoison(out); err == nil {
			t.Fatal("a poison is left")
		}
		if len(out) >= len(tbs) {
			t.Fatalf("%d bytes in, %d out", len(tbs), len(out))
		}
	})
}
