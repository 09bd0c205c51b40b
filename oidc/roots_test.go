package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
)

// overTLS has an issuer speak TLS with a certificate of a root of its own, which it returns in PEM.
func (i *issuer) overTLS(t *testing.T, highest uint16) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now() // of the connection, whose clock is the machine's
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: t.Name()}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, &x509.Certificate{Subject: pkix.Name{CommonName: t.Name()}}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	handler := i.Config.Handler
	i.Close()
	i.Server = httptest.NewUnstartedServer(handler)
	i.Config.ErrorLog = log.New(io.Discard, "", 0)
	i.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS10, MaxVersion: highest}
	i.StartTLS()
	t.Cleanup(i.Close)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// TestRoots: each row is who vouches for the certificate of an issuer: a bundle of its own, another issuer's, or
// that of all.
func TestRoots(t *testing.T) {
	other := newIssuer(t)
	others := other.overTLS(t, 0)
	pool := func(text string) *x509.CertPool {
		p := x509.NewCertPool()
		if !p.AppendCertsFromPEM([]byte(text)) {
			t.Fatal("no certificate")
		}
		return p
	}
	port := regexp.MustCompile(`:\d+$`)
	for _, tc := range []struct {
		name   string
		change func(i *Issuer, p *HTTPPolicy, own string)
		meta   bool
		tls    uint16 // the latest that the issuer speaks; 0 for today's
		want   Reason
	}{
		{"nobody", func(*Issuer, *HTTPPolicy, string) {}, false, 0, ReasonUnavailable},
		{"its own bundle", func(i *Issuer, _ *HTTPPolicy, own string) { i.CACert = own }, false, 0, ""},
		{"its own bundle among others", func(i *Issuer, _ *HTTPPolicy, own string) { i.CACert = others + own }, false, 0, ""},
		{"another issuer's bundle", func(i *Issuer, _ *HTTPPolicy, _ string) { i.CACert = others }, false, 0, ReasonUnavailable},
		{"the bundle of all", func(_ *Issuer, p *HTTPPolicy, own string) { p.Roots = pool(own) }, false, 0, ""},
		{"the bundle of all, beside one of its own", func(i *Issuer, p *HTTPPolicy, own string) { i.CACert, p.Roots = others, pool(own) }, false, 0, ""},
		{"its own, beside the bundle of all", func(i *Issuer, p *HTTPPolicy, own string) { i.CACert, p.Roots = own, pool(others) }, false, 0, ""},
		{"the bundle of a pattern", func(i *Issuer, _ *HTTPPolicy, own string) { i.CACert = own }, true, 0, ""},
		{"nobody for a pattern", func(*Issuer, *HTTPPolicy, string) {}, true, 0, ReasonUnavailable},
		{"its own bundle over TLS 1.1", func(i *Issuer, _ *HTTPPolicy, own string) { i.CACert = own }, false, tls.VersionTLS11, ReasonUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			i := newIssuer(t)
			own := i.overTLS(t, tc.tls)
			configured, opts := Issuer{URL: i.URL}, Options{Clock: clock.NewManual(start)}
			if tc.meta {
				configured = Issuer{URL: port.ReplaceAllString(i.URL, ":*"), Meta: true}
			}
			tc.change(&configured, &opts.HTTP, own)
			v := NewVerifier(config(t, configured, Issuer{URL: other.URL}), opts)
			if _, err := v.Verify(t.Context(), i.token(t, nil)); (err == nil) != (tc.want == "") || err != nil && reasonOf(err) != string(tc.want) {
				t.Errorf("%v, want reason %q", err, tc.want)
			} else if err != nil && !strings.Contains(err.Error(), "tls: ") {
				t.Errorf("refused for another cause: %v", err)
			}
			if _, err := v.Verify(t.Context(), other.token(t, nil)); opts.HTTP.Roots == nil && reasonOf(err) != string(ReasonUnavailable) {
				t.Errorf("the other issuer, for which nobody vouches: %v", err)
			}
		})
	}
}
