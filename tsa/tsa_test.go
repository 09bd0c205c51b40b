package tsa_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/digitorus/timestamp"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/timestamp-authority/v2/pkg/verification"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tsa"
)

var artifact = []byte("what was signed")

func digest(h crypto.Hash) []byte {
	d := h.New()
	d.Write(artifact)
	return d.Sum(nil)
}

// newAuthority makes an authority on the machine's clock.
func newAuthority(t *testing.T, opts ...tsa.ChainOption) *tsa.Authority {
	t.Helper()
	chain, err := tsa.NewChain(clock.System{}, "sigbox", opts...)
	if err != nil {
		t.Fatal(err)
	}
	a, err := tsa.New(tsa.Config{Key: chain.Leaf.Key, Chain: chain.Certificates(), Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestTokensVerify holds tokens to the verifiers that clients carry: OpenSSL, sigstore-go and
// timestamp-authority (cosign).
func TestTokensVerify(t *testing.T) {
	two := func(exp uint, less int64) *big.Int {
		return new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), exp), big.NewInt(less))
	}
	chains := map[string][]tsa.ChainOption{"root and leaf": nil, "intermediate": {tsa.WithIntermediate()}}
	requests := map[string]tsa.Request{
		"sigstore-go: no nonce, no certificate": {Hash: crypto.SHA256},
		"cosign 2: nonce, certificate":          {Hash: crypto.SHA256, Nonce: two(63, 1), Certificates: true},
		"gitsign: 128-bit nonce":                {Hash: crypto.SHA256, Nonce: two(127, 3), Certificates: true},
		"SHA-384, nonce 0":                      {Hash: crypto.SHA384, Nonce: big.NewInt(0)},
		"SHA-512, nonce 1, policy":              {Hash: crypto.SHA512, Nonce: big.NewInt(1), Policy: tsa.DefaultPolicy, Certificates: true},
		"nonce 2^64":                            {Hash: crypto.SHA256, Nonce: two(64, 0)},
		"nonce of 160 bits":                     {Hash: crypto.SHA256, Nonce: two(160, 1), Certificates: true},
		"negative nonce":                        {Hash: crypto.SHA256, Nonce: big.NewInt(-5)},
	}
	for chainName, opts := range chains {
		a := newAuthority(t, opts...)
		for name, req := range requests {
			t.Run(chainName+"/"+name, func(t *testing.T) {
				req.Digest = digest(req.Hash)
				resp, err := a.Stamp(context.Background(), req)
				if err != nil {
					t.Fatal(err)
				}
				verifyUpstream(t, a, req, resp)
				verifySigstoreGo(t, a, resp)
				verifyOpenSSL(t, a, req, resp)
			})
		}
	}
}

func split(a *tsa.Authority) (leaf *x509.Certificate, middle []*x509.Certificate, anchor *x509.Certificate) {
	c := a.Chain()
	return c[0], c[1 : len(c)-1], c[len(c)-1]
}

func verifyUpstream(t *testing.T, a *tsa.Authority, req tsa.Request, resp []byte) {
	t.Helper()
	leaf, middle, anchor := split(a)
	opts := verification.VerifyOpts{
		OID: tsa.DefaultPolicy, Nonce: req.Nonce, CommonName: "sigbox Timestamp Authority",
		Intermediates: middle, Roots: []*x509.Certificate{anchor},
	}
	if !req.Certificates {
		opts.TSACertificate = leaf
	}
	ts, err := verification.VerifyTimestampResponse(resp, bytes.NewReader(artifact), opts)
	if err != nil {
		t.Fatalf("timestamp-authority: %v", err)
	}
	if got := len(ts.Certificates) == 1; got != req.Certificates || len(ts.Certificates) > 1 {
		t.Errorf("token has %d certificates, asked for: %v", len(ts.Certificates), req.Certificates)
	}
	if (ts.Nonce == nil) != (req.Nonce == nil) {
		t.Errorf("nonce %v echoed as %v", req.Nonce, ts.Nonce)
	}
	if bits := ts.SerialNumber.BitLen(); bits < 100 || bits > 160 {
		t.Errorf("serial number of %d bits", bits)
	}
}

func verifySigstoreGo(t *testing.T, a *tsa.Authority, resp []byte) {
	t.Helper()
	leaf, middle, anchor := split(a)
	ta := root.SigstoreTimestampingAuthority{Root: anchor, Intermediates: middle, Leaf: leaf, ValidityPeriodStart: leaf.NotBefore}
	if _, err := ta.Verify(resp, artifact); err != nil {
		t.Errorf("sigstore-go: %v", err)
	}
}

func verifyOpenSSL(t *testing.T, a *tsa.Authority, req tsa.Request, resp []byte) {
	t.Helper()
	bin, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is not installed: install the package openssl")
	}
	_, _, anchor := split(a)
	query, err := (&timestamp.Request{
		HashAlgorithm: req.Hash, HashedMessage: req.Digest, Nonce: req.Nonce,
		TSAPolicyOID: req.Policy, Certificates: req.Certificates,
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		return name // relative: openssl splits -untrusted at commas, which a test's name may hold
	}
	rootFile := write("root.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: anchor.Raw}))
	chainFile, respFile, queryFile := write("chain.pem", a.ChainPEM()), write("resp.tsr", resp), write("query.tsq", query)
	// Against the data, which needs no request, and against the request, which compares the nonce.
	for _, against := range [][]string{{"-data", write("artifact", artifact)}, {"-queryfile", queryFile}} {
		args := append([]string{"ts", "-verify", "-in", respFile, "-CAfile", rootFile, "-untrusted", chainFile}, against...)
		cmd := exec.Command(bin, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Verification: OK") {
			t.Errorf("openssl ts -verify %s: %v\n%s", against[0], err, out)
		}
	}
}

// TestTokensAreNotTransferable: what is verified above is verified for a reason.
func TestTokensAreNotTransferable(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	resp, err := a.Stamp(context.Background(), tsa.Request{Hash: crypto.SHA256, Digest: digest(crypto.SHA256), Certificates: true})
	if err != nil {
		t.Fatal(err)
	}
	_, _, anchor := split(b)
	_, err = verification.VerifyTimestampResponse(resp, bytes.NewReader(artifact), verification.VerifyOpts{Roots: []*x509.Certificate{anchor}})
	if err == nil {
		t.Error("a token of one authority verified under another's root")
	}
	_, _, anchor = split(a)
	_, err = verification.VerifyTimestampResponse(resp, strings.NewReader("something else"), verification.VerifyOpts{Roots: []*x509.Certificate{anchor}})
	if err == nil {
		t.Error("a token verified for another artifact")
	}
}

// TestSerialsAreUnique: replayed and parallel requests each get a token of their own, in an order
// of time that never goes back (B-197, B-202).
func TestSerialsAreUnique(t *testing.T) {
	a := newAuthority(t)
	sum := sha256.Sum256(artifact)
	const workers, each = 8, 40
	found := make(chan *timestamp.Timestamp, workers*each)
	errs := make(chan error, workers)
	for range workers {
		go func() {
			for range each {
				resp, err := a.Stamp(context.Background(), tsa.Request{Hash: crypto.SHA256, Digest: sum[:]})
				if err != nil {
					errs <- err
					return
				}
				ts, err := timestamp.ParseResponse(resp)
				if err != nil {
					errs <- err
					return
				}
				found <- ts
			}
			errs <- nil
		}()
	}
	for range workers {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	close(found)
	seen := map[string]bool{}
	for ts := range found {
		if s := ts.SerialNumber.String(); seen[s] {
			t.Fatalf("serial number %s twice", s)
		} else {
			seen[s] = true
		}
	}
	if len(seen) != workers*each {
		t.Fatal(fmt.Sprint(len(seen), " tokens"))
	}
}
