package stack

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/private"
	"github.com/sigbox/sigbox/keys"
)

// peers checks how the services of this process are known to others.
func (c *fileCheck) peers() {
	for _, service := range c.cfg.Services() {
		p, key := c.cfg.Peers(service), service+".peers"
		if p == nil {
			continue
		}
		authorities, err := readPool(string(p.Authorities))
		if err != nil {
			c.add(key+".authorities", err)
		}
		pair, where, err := loadPair(p.Certificate, p.Key)
		if err != nil {
			c.add(key+"."+where, err)
			continue
		}
		c.own(key+".key", key, pair.PrivateKey.(crypto.Signer).Public())
		if err := checkPeerCertificate(pair.Leaf, service); err != nil {
			c.add(key+".certificate", fmt.Errorf("%s %w", p.Certificate, err))
		} else if authorities != nil {
			if err := issuedBy(pair, authorities); err != nil {
				c.add(key+".certificate", fmt.Errorf("%s is of none of the authorities in %s, so that no other service takes it: %w", p.Certificate, p.Authorities, err))
			}
		}
	}
	c.peersApart()
}

// peersApart refuses one address for two services with certificates of their own.
func (c *fileCheck) peersApart() {
	seen := map[config.Address]string{}
	for _, service := range c.cfg.Services() {
		p := c.cfg.Peers(service)
		if p == nil || p.Listen == "" {
			continue
		}
		if other, taken := seen[p.Listen]; taken {
			c.add(service+".peers.listen", fmt.Errorf("is the address of %s.peers too, in the same process, and each has a certificate of its own: choose another port", other))
		}
		seen[p.Listen] = service
	}
}

// loadPair reads a certificate with its key. where is the key of the configuration that an error is
// about.
func loadPair(certificate config.File, key config.KeyFile) (pair tls.Certificate, where string, err error) {
	path, err := key.Path()
	if err != nil {
		return pair, "key", err
	}
	st, err := os.Stat(path)
	if err == nil {
		err = private.Check(path, st)
	}
	if err != nil {
		return pair, "key", err
	}
	if _, err := keys.Reference(path); err == nil {
		return pair, "key", fmt.Errorf("%s names a key on a token: keys of TLS and of peers are files (docs/hsm.md)", path)
	}
	if pair, err = tls.LoadX509KeyPair(string(certificate), path); err != nil {
		return pair, "certificate", fmt.Errorf("with its key: %w", err)
	}
	return pair, "", nil
}

// peerName is how a certificate names a service.
func peerName(service string) string { return service + ".sigbox.internal" }

// checkPeerCertificate says how a certificate is not fit for a service to show to others.
func checkPeerCertificate(cert *x509.Certificate, service string) error {
	if !slices.Contains(cert.DNSNames, peerName(service)) {
		return fmt.Errorf("does not name the service: want the DNS name %s in it", peerName(service))
	}
	for _, usage := range []struct {
		usage x509.ExtKeyUsage
		name  string
	}{{x509.ExtKeyUsageServerAuth, "serverAuth"}, {x509.ExtKeyUsageClientAuth, "clientAuth"}} {
		if !slices.Contains(cert.ExtKeyUsage, usage.usage) && !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny) {
			return fmt.Errorf("lacks the extended key usage %s", usage.name)
		}
	}
	return nil
}

func issuedBy(pair tls.Certificate, authorities *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(cert)
		}
	}
	_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: authorities, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return nil // a new one may be on its way, and is taken while the service runs
	}
	return err
}

// readPool reads authorities.
func readPool(path string) (*x509.CertPool, error) {
	list, err := readChain(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, cert := range list {
		if !cert.IsCA {
			return nil, fmt.Errorf("%s: %q is not an authority", path, cert.Subject)
		}
		pool.AddCert(cert)
	}
	return pool, nil
}

// ctKey checks the key that promises of the CT log are verified with.
func (c *fileCheck) ctKey(ct *config.CTClient) {
	pub, err := keys.LoadPublic(string(ct.Key))
	if err != nil {
		c.add("ca.ct.key", err)
		return
	}
	if c.cfg.LocalCT() == nil {
		c.own("ca.ct.key", "tlog."+config.FaceCT, pub)
		return
	}
	here, _ := c.cfg.TLog.CTNamed(ct.Log) // config.Load has looked whether it is there
	path, err := here.Key.Path()
	if err != nil || slices.ContainsFunc(c.problems, func(p config.Problem) bool { return p.Key == here.Section+".key" }) {
		return // said already
	}
	if k, err := keys.Load(path); err == nil && !keys.Equal(pub, k.Public()) {
		c.add("ca.ct.key", fmt.Errorf("%s is not the key of the log: %s.key is another one", ct.Key, here.Section))
	}
}

// sources checks the directories that statements come from.
func (c *fileCheck) sources(t *config.TUF) {
	for i, s := range t.Sources {
		if !s.Dir() {
			continue
		}
		st, err := os.Stat(string(s))
		if err == nil && !st.IsDir() {
			err = fmt.Errorf("%s is not a directory", s)
		}
		if err != nil {
			c.add(fmt.Sprintf("tuf.sources[%d]", i), fmt.Errorf("%w; if an address is meant, write HOST:PORT", err))
		}
	}
}
