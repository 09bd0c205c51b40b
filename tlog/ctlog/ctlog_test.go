package ctlog_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/client"
	"github.com/google/certificate-transparency-go/ctutil"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/tlog/ctlog"
)

// TestReferenceClient drives every endpoint with certificate-transparency-go's client, which
// verifies SCTs and tree heads, and checks every proof it gets.
func TestReferenceClient(t *testing.T) {
	s := newStack(t)
	s.seed(t)
	c, ctx := s.client(t), t.Context()
	var heads []*ct.SignedTreeHead
	head := func() *ct.SignedTreeHead {
		t.Helper()
		sth, err := c.GetSTH(ctx)
		if err != nil {
			t.Fatal(err)
		}
		heads = append(heads, sth)
		return sth
	}
	head()
	for i := range 5 {
		s.clock.Advance(time.Second)
		pre := s.leaf(t, with(poison))
		sct, err := c.AddPreChain(ctx, asn1Certs(pre, s.ca.Intermediate, s.ca.Root))
		if err != nil {
			t.Fatal(err)
		}
		if len(sct.Extensions) != 0 {
			t.Fatal("SCT has extensions, which old clients refuse")
		}
		cert := s.leaf(t)
		sct2, err := c.AddChain(ctx, asn1Certs(cert, s.ca.Intermediate, s.ca.Root))
		if err != nil {
			t.Fatal(err)
		}
		sth := head()
		if int(sth.TreeSize) != 2+2*(i+1) || sth.Timestamp < sct2.Timestamp {
			t.Fatalf("head %d at %d after an SCT at %d", sth.TreeSize, sth.Timestamp, sct2.Timestamp)
		}
		for kind, sub := range map[ct.LogEntryType]struct {
			sct  *ct.SignedCertificateTimestamp
			leaf *x509.Certificate
		}{ct.PrecertLogEntryType: {sct, pre}, ct.X509LogEntryType: {sct2, cert}} {
			leaf, err := ct.MerkleTreeLeafFromRawChain(asn1Certs(sub.leaf, s.ca.Intermediate), kind, sub.sct.Timestamp)
			if err != nil {
				t.Fatal(err)
			}
			hash, err := ct.LeafHashForLeaf(leaf)
			if err != nil {
				t.Fatal(err)
			}
			p, err := c.GetProofByHash(ctx, hash[:], sth.TreeSize)
			if err != nil {
				t.Fatal(err)
			}
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(p.LeafIndex), sth.TreeSize, hash[:], p.AuditPath, sth.SHA256RootHash[:]); err != nil {
				t.Fatal(err)
			}
			if _, err := c.GetProofByHash(ctx, hash[:], uint64(p.LeafIndex)); p.LeafIndex > 0 && !notFound(err) {
				t.Fatalf("proof in a tree without the leaf: %v", err)
			}
			ep, err := c.GetEntryAndProof(ctx, uint64(p.LeafIndex), sth.TreeSize)
			if err != nil {
				t.Fatal(err)
			}
			if got := rfc6962.DefaultHasher.HashLeaf(ep.LeafInput); !bytes.Equal(got, hash[:]) {
				t.Fatal("get-entry-and-proof: another leaf")
			}
		}
	}
	for i, a := range heads {
		for _, b := range heads[i:] {
			p, err := c.GetSTHConsistency(ctx, a.TreeSize, b.TreeSize)
			if err != nil {
				t.Fatal(err)
			}
			if err := proof.VerifyConsistency(rfc6962.DefaultHasher, a.TreeSize, b.TreeSize, p, a.SHA256RootHash[:], b.SHA256RootHash[:]); err != nil {
				t.Fatalf("%d to %d: %v", a.TreeSize, b.TreeSize, err)
			}
		}
	}
	roots, err := c.GetAcceptedRoots(ctx)
	if err != nil || len(roots) != 1 || !bytes.Equal(roots[0].Data, s.ca.Root.Raw) {
		t.Fatalf("get-roots: %d, %v", len(roots), err)
	}
}

func notFound(err error) bool {
	var rsp client.RspError
	return errors.As(err, &rsp) && rsp.StatusCode == 404
}

// TestEntriesRebuildTheRoot reads the log page by page and calculates the root of what it read.
func TestEntriesRebuildTheRoot(t *testing.T) {
	s := newStack(t)
	s.seed(t)
	for range 4 {
		if _, err := s.server.AddPreChain(t.Context(), ders(s.leaf(t, with(poison)), s.ca.Intermediate, s.ca.Root)); err != nil {
			t.Fatal(err)
		}
	}
	c := s.client(t)
	sth, err := c.GetSTH(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	entries, err := c.GetEntries(t.Context(), 0, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 6 {
		t.Fatalf("%d entries, want 6", len(entries))
	}
	if !bytes.Equal(entries[0].X509Cert.Raw, s.ca.Root.Raw) || !bytes.Equal(entries[1].X509Cert.Raw, s.ca.Intermediate.Raw) || len(entries[1].Chain) != 1 {
		t.Error("the log does not begin with the CA's own chain")
	}
	raw, err := c.GetRawEntries(t.Context(), 0, 5)
	if err != nil {
		t.Fatal(err)
	}
	level := make([][]byte, len(raw.Entries))
	for i, e := range raw.Entries {
		level[i] = rfc6962.DefaultHasher.HashLeaf(e.LeafInput)
	}
	if root := naiveRoot(level); !bytes.Equal(root, sth.SHA256RootHash[:]) {
		t.Fatalf("root of the entries %x, signed %x", root, sth.SHA256RootHash)
	}
}

// naiveRoot is RFC 6962 2.1 as it is written.
func naiveRoot(leaves [][]byte) []byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	return rfc6962.DefaultHasher.HashChildren(naiveRoot(leaves[:k]), naiveRoot(leaves[k:]))
}

// TestDuplicate: a certificate submitted again, later, by another chain or by many at once is one
// leaf and one promise, to the byte.
func TestDuplicate(t *testing.T) {
	s := newStack(t)
	pre := s.leaf(t, with(poison))
	full := ders(pre, s.ca.Intermediate, s.ca.Root)
	first, err := s.server.AddPreChain(t.Context(), full)
	if err != nil {
		t.Fatal(err)
	}
	s.clock.Advance(5 * time.Second)
	if _, err := s.server.AddPreChain(t.Context(), ders(s.leaf(t, with(poison)), s.ca.Intermediate)); err != nil {
		t.Fatal(err)
	}
	size := s.size(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			chain := full
			if i%2 == 0 {
				chain = full[:2] // the root may be left out
			}
			again, err := s.server.AddPreChain(t.Context(), chain)
			if err != nil || !bytes.Equal(again, first) {
				t.Errorf("submission %d: another SCT, or %v", i, err)
			}
		})
	}
	wg.Wait()
	if got := s.size(t); got != size {
		t.Errorf("log grew from %d to %d", size, got)
	}
	var sct ct.SignedCertificateTimestamp
	if _, err := tls.Unmarshal(first, &sct); err != nil {
		t.Fatal(err)
	}
	if since := s.clock.Now().Sub(ct.TimestampToTime(sct.Timestamp)); since < 4*time.Second {
		t.Errorf("SCT dated %s ago, want the time of the first submission", since)
	}
}

// TestSameNewAtOnce submits one new certificate many times at once.
func TestSameNewAtOnce(t *testing.T) {
	s := newStack(t)
	chain := ders(s.leaf(t, with(poison)), s.ca.Intermediate, s.ca.Root)
	scts := make([][]byte, 200)
	var wg sync.WaitGroup
	for i := range scts {
		wg.Go(func() {
			var err error
			if scts[i], err = s.server.AddPreChain(t.Context(), slices.Clone(chain)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range scts {
		if !bytes.Equal(scts[i], scts[0]) {
			t.Fatalf("SCT %d differs", i)
		}
	}
	if got := s.size(t); got != 1 {
		t.Errorf("%d leaves, want 1", got)
	}
}

// TestSCTVerifiesEmbedded puts the promise where certificates carry it and verifies it by the path
// that sigstore's clients take.
func TestSCTVerifiesEmbedded(t *testing.T) {
	s := newStack(t)
	tmpl, key := s.template(with(poison)), newKey(t)
	pre := makeCert(t, tmpl, s.ca.Intermediate, key.Public(), s.ca.IntermediateKey)
	raw, err := s.server.AddPreChain(t.Context(), ders(pre, s.ca.Intermediate))
	if err != nil {
		t.Fatal(err)
	}
	var sct ct.SignedCertificateTimestamp
	if _, err := tls.Unmarshal(raw, &sct); err != nil {
		t.Fatal(err)
	}
	list, err := tls.Marshal(ctx509.SignedCertificateTimestampList{SCTList: []ctx509.SerializedSCT{{Val: raw}}})
	if err != nil {
		t.Fatal(err)
	}
	ext := sctList
	ext.Value = append([]byte{4, byte(len(list))}, list...)
	if len(list) > 127 {
		ext.Value = append([]byte{4, 0x81, byte(len(list))}, list...)
	}
	tmpl.ExtraExtensions[0] = ext
	final := makeCert(t, tmpl, s.ca.Intermediate, key.Public(), s.ca.IntermediateKey)
	chain := []*ctx509.Certificate{}
	for _, c := range []*x509.Certificate{final, s.ca.Intermediate} {
		p, err := ctx509.ParseCertificate(c.Raw)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, p)
	}
	if err := ctutil.VerifySCT(s.key.Public(), chain, &sct, true); err != nil {
		t.Fatal(err)
	}
	if err := ctutil.VerifySCT(s.ca.RootKey.Public(), chain, &sct, true); err == nil {
		t.Fatal("verifies under any key: the check shows nothing")
	}
}

// TestTreeHeadIsOfTheTree: one signature per head, none before the head moves.
func TestTreeHeadIsOfTheTree(t *testing.T) {
	s := newStack(t)
	_, empty := s.get(t, "/ct/v1/get-sth")
	_, again := s.get(t, "/ct/v1/get-sth")
	if empty != again {
		t.Error("two signatures for one head")
	}
	s.seed(t)
	if _, moved := s.get(t, "/ct/v1/get-sth"); moved == empty {
		t.Error("the head did not move with the log")
	}
	sth, err := s.client(t).GetSTH(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if cp, timeMS, _ := s.log.Head(t.Context()); sth.TreeSize != uint64(cp.Size) || sth.SHA256RootHash != ct.SHA256Hash(cp.Root) || sth.Timestamp != uint64(timeMS) {
		t.Errorf("signed head %v, log's %v at %d", sth, cp.Checkpoint, timeMS)
	}
}

func TestGetRootsEncoding(t *testing.T) {
	s := newStack(t)
	status, body := s.get(t, "/ct/v1/get-roots?x=1")
	want := `{"certificates":["` + base64.StdEncoding.EncodeToString(s.ca.Root.Raw) + `"]}` + "\n"
	if status != 200 || body != want {
		t.Errorf("%d %s", status, body)
	}
}

func TestNewRefuses(t *testing.T) {
	s := newStack(t)
	good := ctlog.Config{Log: s.log, Signer: s.key, Roots: []*x509.Certificate{s.ca.Root}, Clock: s.clock, Logger: discard()}
	for name, change := range map[string]func(*ctlog.Config){
		"no log":                func(c *ctlog.Config) { c.Log = nil },
		"no clock":              func(c *ctlog.Config) { c.Clock = nil },
		"P-384 key":             func(c *ctlog.Config) { c.Signer = p384(t) },
		"no roots":              func(c *ctlog.Config) { c.Roots = nil },
		"intermediate for root": func(c *ctlog.Config) { c.Roots = []*x509.Certificate{s.ca.Intermediate} },
		"the root's own key":    func(c *ctlog.Config) { c.Signer = s.ca.RootKey },
	} {
		cfg := good
		change(&cfg)
		if _, err := ctlog.New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := ctlog.New(good); err != nil {
		t.Error(err)
	}
}

// versioned is a certificate as if it had been read with another version.
func versioned(c *x509.Certificate, version int) *x509.Certificate {
	other := *c
	other.Version = version
	return &other
}

// TestVouched: an authority in the same process gets the promise that others get. Below issuers that the log
// knows it leaves the signature of the precertificate to the authority, and nothing else.
func TestVouched(t *testing.T) {
	s := newStack(t)
	add := func(chain ...*x509.Certificate) ([]byte, error) {
		sct, shown, err := ca.Submit(t.Context(), s.server.Vouched(), chain)
		if err != nil {
			return sct, err
		}
		return sct, shown(t.Context())
	}
	pre := s.leaf(t, with(poison))
	want, err := s.server.AddPreChain(t.Context(), ders(pre, s.ca.Intermediate))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := add(pre, s.ca.Intermediate); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x, %v; want the promise of the first submission", got, err)
	}
	der := bytes.Clone(s.leaf(t, with(poison)).Raw)
	der[len(der)-1] ^= 1
	broken, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	foreign := newStack(t)
	for _, tc := range []struct {
		name  string
		chain []*x509.Certificate
		taken bool
	}{
		{"a signature that the authority verifies", []*x509.Certificate{broken, s.ca.Intermediate}, true},
		{"the same below issuers that are new", []*x509.Certificate{broken, s.ca.Intermediate, s.ca.Root}, false},
		{"a leaf alone", []*x509.Certificate{pre}, false},
		{"no poison", []*x509.Certificate{s.leaf(t), s.ca.Intermediate}, false},
		{"expired", []*x509.Certificate{s.leaf(t, with(poison), func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = c.NotBefore.Add(-48*time.Hour), c.NotBefore.Add(-24*time.Hour)
		}), s.ca.Intermediate}, false},
		{"another authority", []*x509.Certificate{foreign.leaf(t, with(poison)), foreign.ca.Intermediate}, false},
		{"another issuer's", []*x509.Certificate{makeCert(t, s.template(with(poison)), s.ca.Root, newKey(t).Public(), s.ca.RootKey), s.ca.Intermediate}, false},
		{"another version", []*x509.Certificate{versioned(pre, 1), s.ca.Intermediate}, false},
	} {
		if sct, err := add(tc.chain...); (err == nil) != tc.taken || (sct != nil) != tc.taken {
			t.Errorf("%s: %v, want taken = %t", tc.name, err, tc.taken)
		}
		if _, err := add(pre, s.ca.Intermediate); err != nil { // the last known issuers again
			t.Fatal(err)
		}
	}
}
