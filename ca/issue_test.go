package ca_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/ctutil"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/google/certificate-transparency-go/x509util"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/profile"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
)

// TestCertificate reads issued certificates as clients and auditors do (B-089).
func TestCertificate(t *testing.T) {
	for name, tok := range map[string]*oidc.Token{"email": emailToken("dev@example.com"), "github": githubToken()} {
		t.Run(name, func(t *testing.T) {
			s := newStack(t)
			chain := s.issue(t, tok)
			leaf := chain[0]
			if len(chain) != 3 || !chain[1].Equal(s.hierarchy.Intermediate) || !chain[2].Equal(s.hierarchy.Root) {
				t.Fatalf("chain of %d certificates, want leaf, intermediate, root", len(chain))
			}
			if want := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC); !leaf.NotBefore.Equal(want) || !leaf.NotAfter.Equal(want.Add(10*time.Minute-time.Second)) {
				t.Errorf("valid from %s to %s: want ten minutes, both ends included", leaf.NotBefore, leaf.NotAfter)
			}
			checkShape(t, leaf, s.hierarchy.Intermediate)
			id := identity(t, tok)
			for i, e := range id.Extensions {
				if got := leaf.Extensions[5+i]; !got.Id.Equal(e.Id) || !bytes.Equal(got.Value, e.Value) || got.Critical {
					t.Errorf("extension %d is %v, want %v", 5+i, got, e)
				}
			}
			if last := leaf.Extensions[len(leaf.Extensions)-1]; !last.Id.Equal(certificate.OIDSCTList) || last.Critical {
				t.Errorf("last extension is %v, want the SCT list", last.Id)
			}
			if len(leaf.Extensions) != 6+len(id.Extensions) {
				t.Errorf("%d extensions, want %d", len(leaf.Extensions), 6+len(id.Extensions))
			}
			verifyAsSigstoreGo(t, s, chain)
			verifyEverySCT(t, s, chain)
		})
	}
}

func checkShape(t *testing.T, leaf, issuer *x509.Certificate) {
	t.Helper()
	var spki struct {
		Alg asn1.RawValue
		Key asn1.BitString
	}
	if _, err := asn1.Unmarshal(leaf.RawSubjectPublicKeyInfo, &spki); err != nil {
		t.Fatal(err)
	}
	skid := sha1.Sum(spki.Key.Bytes)
	critical := []bool{true, false, false, false, true}
	for name, ok := range map[string]bool{
		"version 3":                     leaf.Version == 3,
		"subject is the empty SEQUENCE": hex.EncodeToString(leaf.RawSubject) == "3000",
		"key usage":                     leaf.KeyUsage == x509.KeyUsageDigitalSignature,
		"extended key usage":            slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}) && len(leaf.UnknownExtKeyUsage) == 0,
		"no basic constraints":          !leaf.BasicConstraintsValid && !leaf.IsCA,
		"key identifier":                bytes.Equal(leaf.SubjectKeyId, skid[:]),
		"issuer's key identifier":       bytes.Equal(leaf.AuthorityKeyId, issuer.SubjectKeyId),
		"issuer's name":                 bytes.Equal(leaf.RawIssuer, issuer.RawSubject),
		"signature of the issuer":       leaf.CheckSignatureFrom(issuer) == nil,
		"one name":                      len(leaf.EmailAddresses)+len(leaf.URIs) == 1 && len(leaf.DNSNames)+len(leaf.IPAddresses) == 0,
		"serial number":                 leaf.SerialNumber.Sign() > 0 && leaf.SerialNumber.BitLen() <= 159,
	} {
		if !ok {
			t.Errorf("%s: not so", name)
		}
	}
	for i, oid := range []string{"2.5.29.15", "2.5.29.37", "2.5.29.14", "2.5.29.35", "2.5.29.17"} {
		if got := leaf.Extensions[i]; got.Id.String() != oid || got.Critical != critical[i] {
			t.Errorf("extension %d is %v (critical %v), want %s", i, got.Id, got.Critical, oid)
		}
	}
}

// verifyAsSigstoreGo verifies chain and SCT through sigstore-go, and shows that it would notice.
func verifyAsSigstoreGo(t *testing.T, s *stack, chain []*x509.Certificate) {
	t.Helper()
	id, err := keys.ID(s.ctKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	trust := func(start time.Time) *root.TrustedRoot {
		tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01,
			[]root.CertificateAuthority{&root.FulcioCertificateAuthority{Root: s.hierarchy.Root, Intermediates: []*x509.Certificate{s.hierarchy.Intermediate}}},
			map[string]*root.TransparencyLog{hex.EncodeToString(id[:]): {ID: id[:], PublicKey: s.ctKey.Public(), ValidityPeriodStart: start}}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	now := s.clock.Now()
	chains, err := verify.VerifyLeafCertificate(now, chain[0], trust(now.Add(-time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	if err := verify.VerifySignedCertificateTimestamp(chains, 1, trust(now.Add(-time.Hour))); err != nil {
		t.Error(err)
	}
	if err := verify.VerifySignedCertificateTimestamp(chains, 1, trust(now.Add(time.Hour))); err == nil {
		t.Error("accepted under a log that was not valid yet: the check shows nothing")
	}
	if _, err := verify.VerifyLeafCertificate(now.Add(10*time.Minute), chain[0], trust(now)); err == nil {
		t.Error("accepted after its end")
	}
}

// verifyEverySCT is the rule of older cosign and of sigstore-python: exactly one SCT, and it verifies.
func verifyEverySCT(t *testing.T, s *stack, chain []*x509.Certificate) {
	t.Helper()
	scts, err := x509util.ParseSCTsFromCertificate(chain[0].Raw)
	if err != nil || len(scts) != 1 {
		t.Fatalf("%d SCTs (%v), want exactly 1", len(scts), err)
	}
	if len(scts[0].Extensions) != 0 {
		t.Error("SCT with extensions")
	}
	parsed := make([]*ctx509.Certificate, len(chain))
	for i, c := range chain {
		if parsed[i], err = ctx509.ParseCertificate(c.Raw); err != nil {
			t.Fatal(err)
		}
	}
	if err := ctutil.VerifySCT(s.ctKey.Public(), parsed, scts[0], true); err != nil {
		t.Error(err)
	}
}

// TestOneOfEach: an issuance is one record and one entry in the CT log, and they say the same.
func TestOneOfEach(t *testing.T) {
	s := newStack(t)
	const n = 100
	certs := make([]*x509.Certificate, n)
	id := identity(t, emailToken("dev@example.com"))
	var wg sync.WaitGroup
	for i := range n {
		key := prove(t, id.Challenge)
		wg.Go(func() {
			chain, err := s.authority.Issue(t.Context(), id, key, ca.Grant{})
			if err != nil {
				t.Error(err)
				return
			}
			certs[i] = chain[0]
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	records := map[string]ca.Record{}
	for _, r := range s.all(t) {
		records[r.Serial.Text(16)] = r
	}
	if len(records) != n {
		t.Fatalf("%d records, want %d", len(records), n)
	}
	leaves, err := s.log.Leaves(t.Context(), 0, 2*n)
	if err != nil || len(leaves) != n {
		t.Fatalf("%d entries in the CT log (%v), want %d", len(leaves), err, n)
	}
	logged := map[string][]byte{}
	for _, l := range leaves {
		in, extra, err := certificate.Parse(l.Data)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := ct.RawLogEntryFromLeaf(l.Index, &ct.LeafEntry{LeafInput: in, ExtraData: extra})
		if err != nil {
			t.Fatal(err)
		}
		pre, err := x509.ParseCertificate(raw.Cert.Data)
		if err != nil {
			t.Fatal(err)
		}
		logged[pre.SerialNumber.Text(16)] = raw.Cert.Data
	}
	for _, c := range certs {
		serial := c.SerialNumber.Text(16)
		r := records[serial]
		if r.State != ca.Issued || !bytes.Equal(r.Certificate, c.Raw) || !bytes.Equal(r.Precertificate, logged[serial]) || logged[serial] == nil {
			t.Errorf("%s: record, log and certificate do not agree (state %q)", serial, r.State)
		}
		if r.SAN != "dev@example.com" || r.Issuer != "https://issuer.example.com" || r.Subject != "subject-1" || !r.NotAfter.Equal(c.NotAfter) || r.Failure != "" {
			t.Errorf("record says %+v", r.Intent)
		}
	}
	if got := s.key.n.Load(); got != 2*n {
		t.Errorf("%d signatures for %d issuances, want two each", got, n)
	}
}

// TestSerialNumbers: positive, at most 20 octets, 159 random bits: every one of them is set about
// half of the time (I-50).
func TestSerialNumbers(t *testing.T) {
	const n = 20000
	seen := make(map[string]bool, n)
	var set [160]int
	for range n {
		serial, err := ca.NewSerial()
		if err != nil {
			t.Fatal(err)
		}
		if serial.Sign() <= 0 || serial.BitLen() > 159 {
			t.Fatalf("serial number %x", serial)
		}
		seen[serial.String()] = true
		for b := range set {
			set[b] += int(serial.Bit(b))
		}
	}
	if len(seen) != n {
		t.Errorf("%d distinct of %d", len(seen), n)
	}
	for b, c := range set[:159] {
		if c < n/2-5*71 || c > n/2+5*71 { // five standard deviations of sqrt(n)/2
			t.Errorf("bit %d is set %d times of %d", b, c, n)
		}
	}
}

// TestKeyOfAnotherChallenge: possession shown for one identity is not possession for another.
func TestKeyOfAnotherChallenge(t *testing.T) {
	s := newStack(t)
	id := identity(t, emailToken("dev@example.com"))
	for name, key := range map[string]ca.Key{"other challenge": prove(t, "eve@example.com"), "no key": {}} {
		if _, err := s.authority.Issue(t.Context(), id, key, ca.Grant{}); err == nil || !strings.Contains(err.Error(), "not proven for this identity") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.key.n.Load() != 0 || len(s.all(t)) != 0 {
		t.Error("something was signed or recorded")
	}
}

// TestIdentityOutsideProfile: an identity that ca/profile would never make is not signed either.
func TestIdentityOutsideProfile(t *testing.T) {
	s := newStack(t)
	good := identity(t, emailToken("dev@example.com"))
	two, err := asn1.Marshal([]asn1.RawValue{{Class: 2, Tag: 1, Bytes: []byte("a@b.c")}, {Class: 2, Tag: 1, Bytes: []byte("d@e.f")}})
	if err != nil {
		t.Fatal(err)
	}
	dns, err := asn1.Marshal([]asn1.RawValue{{Class: 2, Tag: 2, Bytes: []byte("example.com")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*profile.Identity){
		"two names":               func(i *profile.Identity) { i.SAN.Value = two },
		"a DNS name":              func(i *profile.Identity) { i.SAN.Value = dns },
		"no name":                 func(i *profile.Identity) { i.SAN.Value = []byte{0x30, 0} },
		"name not critical":       func(i *profile.Identity) { i.SAN.Critical = false },
		"no extensions":           func(i *profile.Identity) { i.Extensions = nil },
		"issuer only once":        func(i *profile.Identity) { i.Extensions = i.Extensions[1:] },
		"two issuers":             func(i *profile.Identity) { i.Extensions[0].Value = []byte("https://evil.example.com") },
		"out of order":            func(i *profile.Identity) { slices.Reverse(i.Extensions) },
		"critical extension":      func(i *profile.Identity) { i.Extensions[2].Critical = true },
		"empty extension":         func(i *profile.Identity) { i.Extensions[0].Value = nil },
		"basic constraints":       func(i *profile.Identity) { i.Extensions[2].Id = asn1.ObjectIdentifier{2, 5, 29, 19} },
		"the poison":              func(i *profile.Identity) { i.Extensions[2].Id = certificate.OIDPoison },
		"an SCT list of its own":  func(i *profile.Identity) { i.Extensions[2].Id = certificate.OIDSCTList },
		"name type as extension":  func(i *profile.Identity) { i.Extensions[2].Id = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 7} },
		"extension beyond .24":    func(i *profile.Identity) { i.Extensions[2].Id = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 25} },
		"text that is no DER":     func(i *profile.Identity) { i.Extensions[2].Value = []byte("text") },
		"text with trailing data": func(i *profile.Identity) { i.Extensions[2].Value = append(i.Extensions[2].Value, 0) },
	} {
		id := good
		id.Extensions = slices.Clone(good.Extensions)
		change(&id)
		if _, err := s.authority.Issue(t.Context(), id, prove(t, id.Challenge), ca.Grant{}); err == nil {
			t.Errorf("%s: issued", name)
		}
	}
	big := good
	big.Extensions = slices.Clone(good.Extensions)
	big.Extensions[2].Value, err = asn1.MarshalWithParams(strings.Repeat("x", 60<<10), "utf8")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.authority.Issue(t.Context(), big, prove(t, big.Challenge), ca.Grant{}); err == nil || !strings.Contains(err.Error(), ca.ErrIdentity.Error()) {
		t.Errorf("60 KiB of identity: %v", err)
	}
	if s.key.n.Load() != 0 || len(s.all(t)) != 0 {
		t.Error("something was signed or recorded")
	}
}

// TestClock: where the clock cannot be right nothing is signed, and no leaf outlives its issuer
// (B-083, B-084).
func TestClock(t *testing.T) {
	s := newStack(t)
	id := identity(t, emailToken("dev@example.com"))
	start := s.clock.Now()
	end := s.hierarchy.Intermediate.NotAfter
	for _, tc := range []struct {
		name string
		now  time.Time
		want error
	}{
		{"1970", time.Unix(0, 0), ca.ErrNotValid},
		{"before the authority's first second", s.hierarchy.Intermediate.NotBefore.Add(-time.Nanosecond), ca.ErrNotValid},
		{"now", start, nil},
		{"a second back", start.Add(-time.Second), nil},
		{"an hour back", start.Add(-time.Hour), ca.ErrClock},
	} {
		s.clock.Set(tc.now)
		before := s.key.n.Load()
		if _, err := s.authority.Issue(t.Context(), id, prove(t, id.Challenge), ca.Grant{}); (tc.want == nil) != (err == nil) || (tc.want != nil && !strings.Contains(err.Error(), tc.want.Error())) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		if tc.want != nil && s.key.n.Load() != before {
			t.Errorf("%s: the key signed", tc.name)
		}
	}
	s.clock.Set(end.Add(-90 * time.Second))
	if leaf := s.issue(t, emailToken("dev@example.com"))[0]; !leaf.NotAfter.Equal(end) {
		t.Errorf("leaf ends %s, its issuer %s", leaf.NotAfter, end)
	}
	for _, now := range []time.Time{end, end.Add(time.Second), time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2106, 2, 7, 6, 28, 16, 0, time.UTC)} {
		s.clock.Set(now)
		if _, err := s.authority.Issue(t.Context(), id, prove(t, id.Challenge), ca.Grant{}); err == nil || !strings.Contains(err.Error(), ca.ErrNotValid.Error()) {
			t.Errorf("at %s: %v", now, err)
		}
	}
}

// TestSerialUsed: the record store has the last word on a serial number.
func TestSerialUsed(t *testing.T) {
	s := newStack(t)
	in := ca.Intent{Serial: big.NewInt(7), At: s.clock.Now()}
	if err := s.records.Intend(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if err := s.records.Intend(t.Context(), in); !errors.Is(err, ca.ErrSerialUsed) {
		t.Errorf("%v", err)
	}
}

// BenchmarkIssue is one issuance with its two durable records and its entry in a CT log in memory.
func BenchmarkIssue(b *testing.B) {
	s := newStack(b)
	id := identity(b, emailToken("dev@example.com"))
	key := prove(b, id.Challenge)
	for b.Loop() {
		s.clock.Advance(2 * time.Millisecond)
		if _, err := s.authority.Issue(b.Context(), id, key, ca.Grant{}); err != nil {
			b.Fatal(err)
		}
	}
}
