package pki_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	fulcioca "github.com/sigstore/fulcio/pkg/ca"
	"github.com/sigstore/sigstore-go/pkg/root"
	tsaverify "github.com/sigstore/timestamp-authority/v2/pkg/verification"

	"github.com/sigbox/sigbox/ca/pki"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tsa"
)

// clientsTake shows an accepted chain to those who will see it: Fulcio's own check, and sigstore-go
// with a certificate, or a timestamp, that was made under it.
func clientsTake(t *testing.T, p pki.Purpose, chain []*x509.Certificate, key crypto.Signer) {
	t.Helper()
	if p == pki.CA {
		if err := fulcioca.VerifyCertChain(chain, key); err != nil {
			t.Errorf("Fulcio refuses the chain: %v", err)
		}
		signingCertificate(t, chain, key)
		return
	}
	stamp(t, chain, key)
}

func signingCertificate(t *testing.T, chain []*x509.Certificate, key crypto.Signer) {
	t.Helper()
	u, err := url.Parse("https://github.com/org/repo/.github/workflows/release.yml@refs/heads/main")
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(7), URIs: []*url.URL{u}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(9 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, chain[0], signer(t).Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	last := len(chain) - 1
	authority := &root.FulcioCertificateAuthority{Root: chain[last], Intermediates: chain[:last], ValidityPeriodStart: chain[0].NotBefore}
	if _, err := authority.Verify(leaf, time.Now()); err != nil {
		t.Errorf("sigstore-go refuses a certificate under the chain: %v", err)
	}
}

func stamp(t *testing.T, chain []*x509.Certificate, key crypto.Signer) {
	t.Helper()
	a, err := tsa.New(tsa.Config{Key: key, Chain: chain, Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	content := []byte("hello")
	digest := sha256.Sum256(content)
	reply, err := a.Stamp(t.Context(), tsa.Request{Hash: crypto.SHA256, Digest: digest[:], Nonce: big.NewInt(7), Certificates: true})
	if err != nil {
		t.Fatal(err)
	}
	last := len(chain) - 1
	authority := &root.SigstoreTimestampingAuthority{Root: chain[last], Intermediates: chain[1:last], Leaf: chain[0], ValidityPeriodStart: chain[0].NotBefore}
	if _, err := authority.Verify(reply, content); err != nil {
		t.Errorf("sigstore-go refuses a timestamp under the chain: %v", err)
	}
	// As cosign does, with the chain beside and not in the token.
	if _, err := tsaverify.VerifyTimestampResponse(reply, bytes.NewReader(content), tsaverify.VerifyOpts{
		TSACertificate: chain[0], Intermediates: chain[1:last], Roots: chain[last:],
	}); err != nil {
		t.Errorf("the timestamp authority's own verifier refuses: %v", err)
	}
	if _, err := timestamp.ParseResponse(reply); err != nil {
		t.Error(err)
	}
}
