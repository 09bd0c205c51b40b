package stack

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
)

// identity is a certificate with its key, and for peers the authorities of the others. It can be
// replaced while connections are made with it.
type identity struct {
	pair        atomic.Pointer[tls.Certificate]
	authorities atomic.Pointer[x509.CertPool]       // nil: not of a peer
	trusted     atomic.Pointer[[]*x509.Certificate] // authorities, one by one
	paths       atomic.Pointer[identityPaths]
}

// identityPaths are the files that an identity was read from last.
type identityPaths struct{ certificate, authorities config.File }

// load reads and takes over the certificate, its key and, unless authorities is "", the authorities.
func (i *identity) load(certificate config.File, key config.KeyFile, authorities config.File) error {
	apply, err := i.read(certificate, key, authorities)
	if err == nil {
		apply()
	}
	return err
}

// read reads what load does, and returns what takes it over.
func (i *identity) read(certificate config.File, key config.KeyFile, authorities config.File) (apply func(), err error) {
	pair, _, err := loadPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", certificate, err)
	}
	var pool *x509.CertPool
	var trusted []*x509.Certificate
	if authorities != "" {
		if pool, err = readPool(string(authorities)); err != nil {
			return nil, err
		}
		if trusted, err = readChain(string(authorities)); err != nil {
			return nil, err
		}
	}
	return func() {
		i.paths.Store(&identityPaths{certificate, authorities})
		i.authorities.Store(pool)
		i.trusted.Store(&trusted)
		i.pair.Store(&pair)
	}, nil
}

// server is for a listener that everybody may connect to.
func (i *identity) server() *tls.Config {
	if i == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.pair.Load(), nil },
	}
}

// peerServer is for a listener that only peers may connect to.
func (i *identity) peerServer() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{
				MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*i.pair.Load()},
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: i.authorities.Load(), NextProtos: []string{"h2"},
				SessionTicketsDisabled: true, // a resumed session would outlive a change of authorities
			}, nil
		},
	}
}

// peerClient is for connections to a service.
func (i *identity) peerClient(service string) *tls.Config {
	return i.peerClientOf(func(cert *x509.Certificate) error {
		if !isPeer(cert, service) {
			return fmt.Errorf("the other end is no %s: its certificate does not name %s", service, peerName(service))
		}
		return nil
	})
}

// peerClientOf is for connections to a service whose certificate is accepted.
func (i *identity) peerClientOf(accept func(*x509.Certificate) error) *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.pair.Load(), nil },
		InsecureSkipVerify:   true, // in favour of the same check below, against authorities that may change
		VerifyConnection: func(c tls.ConnectionState) error {
			between := x509.NewCertPool()
			for _, cert := range c.PeerCertificates[1:] {
				between.AddCert(cert)
			}
			leaf := c.PeerCertificates[0] // a server always shows one
			if _, err := leaf.Verify(x509.VerifyOptions{
				Roots: i.authorities.Load(), Intermediates: between, DNSName: c.ServerName, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			}); err != nil {
				return err
			}
			return accept(leaf)
		},
	}
}

func isPeer(cert *x509.Certificate, service string) bool {
	return slices.Contains(cert.DNSNames, peerName(service))
}

var errExpired = errors.New("has expired")

// valid says whether the certificate is valid at a time.
func (i *identity) valid(now time.Time) error {
	switch leaf := i.pair.Load().Leaf; {
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("is valid from %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	case now.After(leaf.NotAfter):
		return errExpired
	}
	return nil
}
