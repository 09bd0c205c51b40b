package setup

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/sigbox/sigbox/ca/pki"
	"github.com/sigbox/sigbox/keys"
)

// The certificates that services show each other, and their authority.
const (
	peersKey = "peers/ca.key"
	peersPEM = "public/peers.pem"
	// peerYears is how long both are valid. Nobody outside sees them; a new one is made by removing
	// SERVICE/peer.crt and running init again.
	peerYears = 10
)

var peerServices = []string{"ca", "tlog", "tuf"}

// makePeers makes an authority for the services alone, and a certificate for each.
func (b *builder) makePeers(context.Context) error {
	if err := b.makeKey(peersKey, keys.NewECDSA); err != nil {
		return err
	}
	if err := b.make(peersPEM, open, b.peerAuthority); err != nil {
		return err
	}
	for _, service := range peerServices {
		if err := b.makeKey(service+"/peer.key", keys.NewECDSA); err != nil {
			return err
		}
		if err := b.make(service+"/peer.crt", open, func() ([]byte, error) { return b.peerCertificate(service) }); err != nil {
			return err
		}
	}
	return nil
}

// peerTemplate is what all of them have; x509 draws the serial number.
func (b *builder) peerTemplate(name string) *x509.Certificate {
	start := b.clock.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	return &x509.Certificate{
		Subject:   pkix.Name{Organization: []string{b.plan.Organization}, CommonName: name},
		NotBefore: start, NotAfter: start.AddDate(peerYears, 0, 0),
	}
}

func (b *builder) peerAuthority() ([]byte, error) {
	key, err := b.key(peersKey)
	if err != nil {
		return nil, err
	}
	t := b.peerTemplate("peers of " + b.plan.Instance)
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero, t.KeyUsage = true, true, true, x509.KeyUsageCertSign
	return certificatePEM(t, t, key.Public(), key)
}

// peerCertificate makes the certificate of a service: it says which one it is, and where it is reached.
func (b *builder) peerCertificate(service string) ([]byte, error) {
	authority, err := b.certificates(peersPEM)
	if err != nil {
		return nil, err
	}
	signer, err := b.key(peersKey)
	if err != nil {
		return nil, err
	}
	key, err := b.key(service + "/peer.key")
	if err != nil {
		return nil, err
	}
	t := b.peerTemplate(service + ".sigbox.internal")
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	t.NotAfter = authority[0].NotAfter
	t.DNSNames = []string{service + ".sigbox.internal"}
	for _, name := range b.peerHosts(service) {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	return certificatePEM(t, authority[0], key.Public(), signer)
}

// peerHosts are the names that other services reach a service by.
func (b *builder) peerHosts(service string) (names []string) {
	address := map[string]string{"ca": b.plan.CAPeer, "tlog": b.plan.TLogPeer}[service]
	if host, _, err := net.SplitHostPort(address); err == nil {
		names = append(names, host)
	}
	for _, n := range b.plan.PeerNames {
		if of, name, _ := strings.Cut(n, "="); of == service {
			names = append(names, name)
		}
	}
	return names
}

func certificatePEM(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return pki.ChainPEM([]*x509.Certificate{cert}), nil
}
