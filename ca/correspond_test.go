package ca_test

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"testing"

	"github.com/sigbox/sigbox/ca"
)

// pair returns the TBSCertificates of a precertificate and its certificate, as issued.
func pair(t testing.TB) (pre, final []byte) {
	t.Helper()
	s := newStack(t)
	id := identity(t, githubToken())
	if _, err := s.authority.Issue(t.Context(), id, prove(t, id.Challenge), ca.Grant{}); err != nil {
		t.Fatal(err)
	}
	r := s.all(t)[0]
	a, err := x509.ParseCertificate(r.Precertificate)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.ParseCertificate(r.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	return a.RawTBSCertificate, b.RawTBSCertificate
}

// elements takes a SEQUENCE apart; the last element of a TBSCertificate is its extensions.
func elements(t testing.TB, der []byte) []asn1.RawValue {
	t.Helper()
	var list []asn1.RawValue
	rest, err := asn1.Unmarshal(der, &list)
	if err != nil || len(rest) != 0 {
		t.Fatal(err)
	}
	return list
}

func sequence(t testing.TB, list []asn1.RawValue) []byte {
	t.Helper()
	der, err := asn1.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// edit changes the extensions of a TBSCertificate.
func edit(t testing.TB, tbs []byte, change func([]asn1.RawValue) []asn1.RawValue) []byte {
	t.Helper()
	fields := elements(t, tbs)
	exts := change(elements(t, fields[len(fields)-1].Bytes))
	inner := sequence(t, exts)
	fields[len(fields)-1] = asn1.RawValue{Class: 2, Tag: 3, IsCompound: true, Bytes: inner}
	return sequence(t, fields)
}

// TestCorrespondSeesEveryField changes one thing at a time in the certificate.
func TestCorrespondSeesEveryField(t *testing.T) {
	pre, final := pair(t)
	if err := ca.Correspond(pre, final); err != nil {
		t.Fatal(err)
	}
	if same := edit(t, final, func(e []asn1.RawValue) []asn1.RawValue { return e }); !bytes.Equal(same, final) {
		t.Fatal("taking apart and putting together changes the certificate: the rows show nothing")
	}
	check := func(name string, a, b []byte) {
		t.Helper()
		if bytes.Equal(b, final) && bytes.Equal(a, pre) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if err := ca.Correspond(a, b); !errors.Is(err, ca.ErrCorrespondence) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i, name := range []string{"version", "serial number", "signature algorithm", "issuer", "validity", "subject", "public key"} {
		fields := elements(t, final)
		fields[i].FullBytes = bytes.Clone(fields[i].FullBytes)
		fields[i].FullBytes[len(fields[i].FullBytes)-1] ^= 1
		if name == "subject" { // it is empty: put a name in
			fields[i].FullBytes = elements(t, final)[3].FullBytes
		}
		check(name, pre, sequence(t, fields))
	}
	exts := len(elements(t, elements(t, final)[7].Bytes))
	for i := range exts - 1 {
		check("value of an extension", pre, edit(t, final, func(e []asn1.RawValue) []asn1.RawValue {
			e[i].FullBytes = bytes.Clone(e[i].FullBytes)
			e[i].FullBytes[len(e[i].FullBytes)-1] ^= 1
			return e
		}))
		check("extension left out", pre, edit(t, final, func(e []asn1.RawValue) []asn1.RawValue { return append(e[:i:i], e[i+1:]...) }))
		check("extension twice", pre, edit(t, final, func(e []asn1.RawValue) []asn1.RawValue { return append(e[:i+1:i+1], e[i:]...) }))
	}
	swap := func(i, j int) func([]asn1.RawValue) []asn1.RawValue {
		return func(e []asn1.RawValue) []asn1.RawValue { e[i], e[j] = e[j], e[i]; return e }
	}
	last := exts - 1
	check("two extensions change places", pre, edit(t, final, swap(6, 7)))
	check("SCT list not last", edit(t, pre, swap(last-1, last)), edit(t, final, swap(last-1, last)))
	check("SCT list left out", pre, edit(t, final, func(e []asn1.RawValue) []asn1.RawValue { return e[:last] }))
	check("two SCT lists", edit(t, pre, func(e []asn1.RawValue) []asn1.RawValue {
		return append(e[:last:last], elements(t, elements(t, final)[7].Bytes)[last], e[last])
	}),
		edit(t, final, func(e []asn1.RawValue) []asn1.RawValue { return append(e, e[last]) }))
	check("poison for the SCT list", pre, pre)
	check("SCT list for the poison", final, final)
	check("precertificate and certificate exchanged", final, pre)
	check("critical SCT list", pre, edit(t, final, func(e []asn1.RawValue) []asn1.RawValue {
		parts := elements(t, e[last].FullBytes)
		e[last] = asn1.RawValue{FullBytes: sequence(t, []asn1.RawValue{parts[0], {Tag: 1, Bytes: []byte{0xff}}, parts[1]})}
		return e
	}))
	check("poison not critical", edit(t, pre, func(e []asn1.RawValue) []asn1.RawValue {
		parts := elements(t, e[last].FullBytes)
		e[last] = asn1.RawValue{FullBytes: sequence(t, []asn1.RawValue{parts[0], parts[2]})}
		return e
	}), final)
	double := func(e []asn1.RawValue) []asn1.RawValue {
		p := elements(t, elements(t, pre)[7].Bytes)[last]
		return append(e[:last:last], p, e[last])
	}
	check("poison in both", edit(t, pre, double), edit(t, final, double))
	check("unique identifier", pre, sequence(t, append(elements(t, final)[:7:7], asn1.RawValue{Class: 2, Tag: 1, Bytes: []byte{0, 1}}, elements(t, final)[7])))
	check("trailing byte", pre, append(bytes.Clone(final), 0))
	check("nothing", pre, nil)
}

// TestCorrespondSeesEveryBit flips every bit of the certificate. Only the value of the SCT list,
// which the precertificate says nothing about, may change unseen.
func TestCorrespondSeesEveryBit(t *testing.T) {
	pre, final := pair(t)
	list := elements(t, elements(t, final)[7].Bytes)
	value := elements(t, list[len(list)-1].FullBytes)[1].Bytes
	from := bytes.Index(final, value)
	unseen := 0
	for i := range final {
		for bit := range 8 {
			changed := bytes.Clone(final)
			changed[i] ^= 1 << bit
			if ca.Correspond(pre, changed) == nil {
				unseen++
				if i < from || i >= from+len(value) {
					t.Errorf("bit %d of byte %d", bit, i)
				}
			}
		}
	}
	if unseen != len(value)*8 {
		t.Errorf("%d bits of the SCT list's value are free, want all %d", unseen, len(value)*8)
	}
}

func FuzzCorrespond(f *testing.F) {
	pre, final := pair(f)
	f.Add(pre, final)
	f.Add(pre, pre)
	f.Add([]byte{0x30, 0}, []byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if ca.Correspond(a, b) == nil && (bytes.Equal(a, b) || ca.Correspond(b, a) == nil) {
			t.Fatal("a precertificate is a certificate")
		}
	})
}
