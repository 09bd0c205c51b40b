// Package peertest makes the certificates that services of an instance show each other, good ones and
// bad ones, for tests.
package peertest

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigbox/sigbox/keys"
)

// Authority issues certificates of peers.
type Authority struct {
	Certificate *x509.Certificate
	key         crypto.Signer
}

// New makes an authority.
func New(t testing.TB, name string) *Authority {
	t.Helper()
	template := template(name)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	template.ExtKeyUsage = nil
	a := &Authority{key: newKey(t)}
	a.Certificate = a.sign(t, template, template, a.key.Public())
	return a
}

// Change is something about a certificate that is to be otherwise.
type Change func(*x509.Certificate)

// Issue writes DIR/NAME.crt and DIR/NAME.key, of the service and for this machine's loopback address.
func (a *Authority) Issue(t testing.TB, dir, name, service string, changes ...Change) {
	t.Helper()
	template := template(name)
	template.DNSNames = []string{service + ".sigbox.internal", "localhost"}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	for _, change := range changes {
		change(template)
	}
	key := newKey(t)
	cert := a.sign(t, template, a.Certificate, key.Public())
	_ = os.Remove(filepath.Join(dir, name+".key"))
	if err := keys.Save(filepath.Join(dir, name+".key"), key); err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, name+".crt"), cert)
}

// Write writes the authority's certificate.
func (a *Authority) Write(t testing.TB, path string) { writePEM(t, path, a.Certificate) }

func template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func (a *Authority) sign(t testing.TB, template, parent *x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t testing.TB, path string, cert *x509.Certificate) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
}
