package ctlog_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
)

// TestBombs (B-098): chains that cost a verifier of paths, names or policies more than they cost who
// sends them (CVE-2025-58187, CVE-2025-61729, CVE-2026-27145, CVE-2026-32280, CVE-2026-32281 and the
// name constraints of CVE-2026-27137, CVE-2026-27138, CVE-2026-33810 and CVE-2025-61727 in crypto/x509).
// They end in our root, so that nothing but their cost is against them.
func TestBombs(t *testing.T) {
	s := newStack(t)
	now := s.clock.Now()
	inter, interKey := s.ca.Intermediate, s.ca.IntermediateKey
	below := func(change func(*x509.Certificate)) (*x509.Certificate, func(change ...func(*x509.Certificate)) []byte) {
		key := newKey(t)
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(5), Subject: pkix.Name{CommonName: "below"}, NotBefore: now, NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte{1}}
		change(tmpl)
		c := makeCert(t, tmpl, s.ca.Root, key.Public(), s.ca.RootKey)
		return c, func(change ...func(*x509.Certificate)) []byte {
			return makeCert(t, s.template(append(change, with(poison))...), c, newKey(t).Public(), key).Raw
		}
	}
	names := func(n int) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprintf("a%d.example.com", i))
		}
		return list
	}
	constrained, ofConstrained := below(func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, names(2500)
		c.PermittedEmailAddresses, c.ExcludedDNSDomains = []string{"example.com", "example.org"}, []string{"Evil.example.com"}
	})
	policies, ofPolicies := below(func(c *x509.Certificate) {
		for i := range 2000 {
			c.PolicyIdentifiers = append(c.PolicyIdentifiers, asn1.ObjectIdentifier{1, 2, 3, i})
			oid, err := x509.OIDFromInts([]uint64{1, 2, 3, uint64(i)})
			if err != nil {
				t.Fatal(err)
			}
			c.Policies = append(c.Policies, oid)
		}
	})
	same := [][]byte{s.leaf(t, with(poison)).Raw}
	for i := range 1000 {
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(int64(100 + i)), Subject: inter.Subject, NotBefore: now, NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
		if i < 20 { // the others are never read
			same = append(same, makeCert(t, tmpl, s.ca.Root, interKey.Public(), s.ca.RootKey).Raw)
		} else {
			same = append(same, []byte{0x30})
		}
	}
	for _, tc := range []struct {
		name  string
		chain [][]byte
		want  int
	}{
		{"2,500 name constraints, 2,000 names", [][]byte{ofConstrained(func(c *x509.Certificate) { c.DNSNames = names(2000) }), constrained.Raw}, 200},
		{"an empty name under constraints", [][]byte{ofConstrained(func(c *x509.Certificate) { c.DNSNames, c.EmailAddresses = []string{""}, nil }), constrained.Raw}, 200},
		{"2,000 policies", [][]byte{ofPolicies(), policies.Raw}, 200},
		{"1,000 intermediates of one name", same, 400},
		{"10,000 names, more than the log takes", [][]byte{s.leaf(t, with(poison), func(c *x509.Certificate) { c.DNSNames = names(10000) }).Raw, inter.Raw}, 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := chainBody(t, tc.chain)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun := time.Now()
			status, text := s.post(t, "/ct/v1/add-pre-chain", body)
			took := time.Since(begun)
			runtime.ReadMemStats(&after)
			if status != tc.want {
				t.Errorf("%d %.200s, want %d", status, text, tc.want)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
				t.Errorf("%d bytes allocated for %d of body", n, len(body))
			}
			if took > 2*time.Second { // milliseconds, where nobody else has the processor
				t.Errorf("took %s", took)
			}
		})
	}
}

// unread is a log whose head cannot be told.
type unread struct {
	tlog.Log
	err error
}

func (u unread) Head(context.Context) (checkpoint.Signed, int64, error) {
	return checkpoint.Signed{}, 0, u.err
}

func (u unread) Latest(ctx context.Context) (checkpoint.Signed, int64, error) { return u.Head(ctx) }

// TestReadsWithoutAHead (B-115): a head that cannot be vouched for is not served, by any of the reads.
func TestReadsWithoutAHead(t *testing.T) {
	s := newStack(t, func(l tlog.Log) tlog.Log { return unread{l, fmt.Errorf("the guard is ahead: %w", tlog.ErrUnavailable)} })
	s.seed(t)
	for _, path := range []string{"get-sth", "get-sth-consistency?first=1&second=2", "get-entries?start=0&end=1", "get-entry-and-proof?leaf_index=0&tree_size=2"} {
		if status, body := s.get(t, "/ct/v1/"+path); status != http.StatusServiceUnavailable || !strings.Contains(body, "log is not healthy") || strings.Contains(body, "guard") {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
}
