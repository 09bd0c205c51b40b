package ca_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/clock"
)

func newStackNow(t *testing.T) *ca.Hierarchy {
	t.Helper()
	h, err := ca.NewHierarchy(clock.System{}, "Example Corp")
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHierarchy(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 987654321, time.UTC)
	h, err := ca.NewHierarchy(clock.NewManual(now), "Example Corp")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC)
	r, i := h.Root, h.Intermediate
	for name, ok := range map[string]bool{
		"root names":                           slices.Equal(r.Subject.Organization, []string{"Example Corp"}) && r.Subject.CommonName == "Example Corp root",
		"intermediate names":                   slices.Equal(i.Subject.Organization, []string{"Example Corp"}) && i.Subject.CommonName == "Example Corp intermediate",
		"root from an hour ago for ten years":  r.NotBefore.Equal(start) && r.NotAfter.Equal(start.AddDate(10, 0, 0).Add(-time.Second)),
		"intermediate for three":               i.NotBefore.Equal(start) && i.NotAfter.Equal(start.AddDate(3, 0, 0).Add(-time.Second)),
		"root signs itself":                    r.CheckSignatureFrom(r) == nil,
		"root signs the intermediate":          i.CheckSignatureFrom(r) == nil,
		"CAs":                                  r.IsCA && i.IsCA && r.BasicConstraintsValid && i.BasicConstraintsValid,
		"usages":                               r.KeyUsage == x509.KeyUsageCertSign|x509.KeyUsageCRLSign && i.KeyUsage == r.KeyUsage,
		"root has no purpose":                  len(r.ExtKeyUsage)+len(r.UnknownExtKeyUsage) == 0,
		"intermediate is for code signing":     slices.Equal(i.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}),
		"root may have a CA below":             r.MaxPathLen >= 1,
		"intermediate may not":                 i.MaxPathLen == 0 && i.MaxPathLenZero,
		"key identifiers":                      len(r.SubjectKeyId) == 20 && len(i.SubjectKeyId) == 20 && bytes.Equal(i.AuthorityKeyId, r.SubjectKeyId),
		"two keys":                             !bytes.Equal(r.RawSubjectPublicKeyInfo, i.RawSubjectPublicKeyInfo),
		"basic constraints are critical":       critical(r, "2.5.29.19") && critical(i, "2.5.29.19"),
		"serial numbers of at most 20 octets":  r.SerialNumber.BitLen() <= 159 && i.SerialNumber.BitLen() <= 159,
		"chain is intermediate, root":          len(h.Chain()) == 2 && h.Chain()[0] == i && h.Chain()[1] == r,
		"signed with SHA-256 over P-256":       r.SignatureAlgorithm == x509.ECDSAWithSHA256 && i.SignatureAlgorithm == x509.ECDSAWithSHA256,
		"the root has no authority identifier": len(r.AuthorityKeyId) == 0 || bytes.Equal(r.AuthorityKeyId, r.SubjectKeyId),
	} {
		if !ok {
			t.Errorf("%s: not so", name)
		}
	}
	if _, err := ca.NewHierarchy(clock.System{}, ""); err == nil {
		t.Error("no organization: accepted")
	}
}

func critical(c *x509.Certificate, oid string) bool {
	return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.String() == oid && e.Critical })
}
