package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
)

// TestLint breaks one rule of the profile at a time, below the code that would never do so.
func TestLint(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	h, err := NewHierarchy(clock.NewManual(now), "test")
	if err != nil {
		t.Fatal(err)
	}
	alg, err := algorithmOf(h.IntermediateKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	good := func(t *testing.T) template {
		key, err := keys.NewECDSA()
		if err != nil {
			t.Fatal(err)
		}
		return templateFor(t, h, key.Public(), now)
	}
	replace := func(i int, e pkix.Extension) func(*template) {
		return func(p *template) { p.extensions[i] = e }
	}
	value := func(v any) []byte {
		der, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := keys.SPKI(weak.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, want string
		change     func(*template)
	}{
		{"nothing", "", func(*template) {}},
		{"serial number of 160 bits", "serial number", func(p *template) { p.serial = new(big.Int).Lsh(big.NewInt(1), 159) }},
		{"another issuer", "issuer's name", func(p *template) { p.issuer = h.Root.RawSubject }},
		{"one second too long", "a validity of at most 10m0s", func(p *template) { p.notAfter = p.notAfter.Add(time.Second) }},
		{"ends before it begins", "a validity of at most", func(p *template) { p.notAfter = p.notBefore.Add(-time.Second) }},
		{"outlives its issuer", "within the issuer's", func(p *template) {
			p.notAfter = h.Intermediate.NotAfter.Add(time.Second)
			p.notBefore = p.notAfter.Add(-time.Minute)
		}},
		{"weak key", "a sound key", func(p *template) { p.spki = p224 }},
		{"two key usages", "digitalSignature alone", replace(0, pkix.Extension{Id: oidKeyUsage, Critical: true, Value: value(asn1.BitString{Bytes: []byte{0x84}, BitLength: 6})})},
		{"key usage not critical", "extension 0", replace(0, pkix.Extension{Id: oidKeyUsage, Value: value(asn1.BitString{Bytes: []byte{0x80}, BitLength: 1})})},
		{"server authentication too", "codeSigning alone", replace(1, pkix.Extension{Id: oidExtKeyUsage, Value: value([]asn1.ObjectIdentifier{oidCodeSigning, {1, 3, 6, 1, 5, 5, 7, 3, 1}})})},
		{"unknown usage too", "codeSigning alone", replace(1, pkix.Extension{Id: oidExtKeyUsage, Value: value([]asn1.ObjectIdentifier{oidCodeSigning, {1, 2, 3}})})},
		{"key identifier of another key", "key's identifier", replace(2, pkix.Extension{Id: oidSubjectKeyID, Value: value(make([]byte, 20))})},
		{"authority identifier of another", "issuer's key identifier", replace(3, pkix.Extension{Id: oidAuthorityKeyID, Value: value(struct {
			ID []byte `asn1:"tag:0"`
		}{make([]byte, 20)})})},
		{"a CA", "no basic constraints", replace(5, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Value: value(struct{ CA bool }{true})})},
		{"name in another place", "extension 3", func(p *template) { p.extensions[3], p.extensions[4] = p.extensions[4], p.extensions[3] }},
		{"an extension twice", "does not parse", func(p *template) { p.extensions = append(p.extensions, p.extensions[5]) }},
		{"too few extensions", "extensions", func(p *template) { p.extensions = p.extensions[:5] }},
		{"65 KiB", "bytes", func(p *template) { p.extensions[5].Value = make([]byte, 65<<10) }},
	} {
		p := good(t)
		p.extensions = slices.Clone(p.extensions)
		tc.change(&p)
		tbs, err := p.encode(alg, poison)
		if err != nil {
			t.Fatal(err)
		}
		der, err := assemble(tbs, alg, make([]byte, 72))
		if err != nil {
			t.Fatal(err)
		}
		_, err = lint(der, oidPoison, h.Intermediate, alg, 10*time.Minute)
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			if _, err := lint(der, oidSCTList, h.Intermediate, alg, 10*time.Minute); !errors.Is(err, ErrProfile) {
				t.Errorf("precertificate for certificate: %v", err)
			}
			continue
		}
		if !errors.Is(err, ErrProfile) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func templateFor(t *testing.T, h *Hierarchy, pub any, now time.Time) template {
	t.Helper()
	spki, err := keys.SPKI(pub)
	if err != nil {
		t.Fatal(err)
	}
	skid, err := subjectKeyID(spki)
	if err != nil {
		t.Fatal(err)
	}
	san, err := asn1.Marshal([]asn1.RawValue{{Class: 2, Tag: 1, Bytes: []byte("dev@example.com")}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := asn1.MarshalWithParams("https://issuer.example.com", "utf8")
	if err != nil {
		t.Fatal(err)
	}
	arc := func(n int) asn1.ObjectIdentifier { return append(slices.Clone(oidFulcio), n) }
	exts, err := leafExtensions(skid, h.Intermediate.SubjectKeyId, pkix.Extension{Id: oidSAN, Critical: true, Value: san}, []pkix.Extension{
		{Id: arc(1), Value: []byte("https://issuer.example.com")}, {Id: arc(8), Value: text}, {Id: arc(24), Value: text},
	})
	if err != nil {
		t.Fatal(err)
	}
	return template{serial: big.NewInt(77), issuer: h.Intermediate.RawSubject, notBefore: now, notAfter: now.Add(10*time.Minute - time.Second), spki: spki, extensions: exts}
}

// TestTimesAfter2049 are GeneralizedTime (RFC 5280 4.1.2.5).
func TestTimesAfter2049(t *testing.T) {
	for _, now := range []time.Time{time.Date(2049, 12, 31, 23, 55, 0, 0, time.UTC), time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)} {
		h, err := NewHierarchy(clock.NewManual(now), "test")
		if err != nil {
			t.Fatal(err)
		}
		alg, err := algorithmOf(h.IntermediateKey.Public())
		if err != nil {
			t.Fatal(err)
		}
		key, err := keys.NewECDSA()
		if err != nil {
			t.Fatal(err)
		}
		tbs, err := templateFor(t, h, key.Public(), now).encode(alg, poison)
		if err != nil {
			t.Fatal(err)
		}
		der, err := assemble(tbs, alg, make([]byte, 72))
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil || !c.NotBefore.Equal(now) || !c.NotAfter.Equal(now.Add(10*time.Minute-time.Second)) {
			t.Errorf("%s: %v", now, err)
		}
	}
}
