package setup

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/sigbox/sigbox/ca/pki"
	"github.com/sigbox/sigbox/keys"
)

// The chains of the two authorities, and what the CT log takes certificates of.
const (
	caChain  = "ca/chain.pem"
	tsaChain = "ca/tsa-chain.pem"
	ctRoots  = "tlog/ca-roots.pem"

	rootKey = "offline/ca-root.key"
	rootPEM = "offline/ca-root.pem"
)

// authority is one of the two that need a chain.
type authority struct {
	purpose             pki.Purpose
	key, chain, request string
}

var authorities = []authority{
	{pki.CA, caKey, caChain, "requests/ca.csr"},
	{pki.TSA, tsaKey, tsaChain, "requests/tsa.csr"},
}

// makeChains makes the chains with a root of its own, or asks for them.
func (b *builder) makeChains(context.Context) error {
	var err error
	if b.plan.Production {
		err = b.askForChains()
	} else {
		err = b.signChains()
	}
	if err != nil {
		return err
	}
	return b.make(ctRoots, open, func() ([]byte, error) { return os.ReadFile(b.path(caChain)) })
}

// request asks for the certificate of an authority.
func (b *builder) request(a authority) ([]byte, error) {
	key, err := b.key(a.key)
	if err != nil {
		return nil, err
	}
	return pki.Request(key, a.purpose, pki.Subject(a.purpose, b.plan.Organization))
}

// signChains does on this machine what --production leaves to the holder of the root.
func (b *builder) signChains() error {
	if err := b.makeKey(rootKey, keys.NewECDSA); err != nil {
		return err
	}
	err := b.make(rootPEM, open, func() ([]byte, error) {
		key, err := b.key(rootKey)
		if err != nil {
			return nil, err
		}
		root, err := pki.Root(b.clock, b.plan.Organization, key)
		return pki.ChainPEM([]*x509.Certificate{root}), err
	})
	if err != nil {
		return err
	}
	for _, a := range authorities {
		if err := b.make(a.chain, open, func() ([]byte, error) { return b.sign(a) }); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) sign(a authority) ([]byte, error) {
	request, err := b.request(a)
	if err != nil {
		return nil, err
	}
	asked, err := pki.ParseRequest(request)
	if err != nil {
		return nil, err
	}
	key, err := b.key(rootKey)
	if err != nil {
		return nil, err
	}
	root, err := b.certificates(rootPEM)
	if err != nil {
		return nil, err
	}
	chain, err := pki.Sign(b.clock, asked, root, key)
	return pki.ChainPEM(chain), err
}

// askForChains writes the requests for the chains that are not there.
func (b *builder) askForChains() error {
	var wanted []authority
	for _, a := range authorities {
		is, err := b.there(a.chain)
		if err != nil {
			return err
		}
		if is {
			continue
		}
		wanted = append(wanted, a)
		if err := b.make(a.request, open, func() ([]byte, error) { return b.request(a) }); err != nil {
			return err
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	return b.waitForChains(wanted)
}

func (b *builder) waitForChains(wanted []authority) error {
	var t strings.Builder
	fmt.Fprintf(&t, "The certificates of the authorities are to be signed by a root whose key is kept elsewhere.\n")
	fmt.Fprintf(&t, "Take these requests there, and compare the SHA-256 of the keys on both sides:\n\n")
	for _, a := range wanted {
		key, err := b.key(a.key)
		if err != nil {
			return err
		}
		id, err := keys.ID(key.Public())
		if err != nil {
			return err
		}
		fmt.Fprintf(&t, "  %s   %s, key SHA-256 %s\n", b.relative(a.request), a.purpose.Title(), hex.EncodeToString(id[:]))
	}
	fmt.Fprintf(&t, "\nWith an offline root of sigbox (made once, there: sigbox ca root --out ROOT):\n\n")
	for _, a := range wanted {
		fmt.Fprintf(&t, "  sigbox ca sign-csr %s.csr --root ROOT --out %s-chain.pem\n", a.purpose, a.purpose)
	}
	fmt.Fprintf(&t, "\nOr have your PKI sign them, as what the requests ask for, and put the certificate, its issuers and\nthe root into one file each. Then, here:\n\n")
	for _, a := range wanted {
		fmt.Fprintf(&t, "  sigbox ca install-chain --config %s %s-chain.pem\n", b.relative(configFile), a.purpose)
	}
	fmt.Fprintf(&t, "  sigbox init --dir %s\n", b.relative("."))
	return &Waiting{For: "the chains of the authorities", Todo: t.String()}
}

// certificates reads a PEM file of the directory.
func (b *builder) certificates(name string) ([]*x509.Certificate, error) {
	raw, err := os.ReadFile(b.path(name))
	if err != nil {
		return nil, err
	}
	chain, err := pki.ParseChain(raw)
	if err == nil && len(chain) == 0 {
		err = fmt.Errorf("%s has no certificate in it", b.path(name))
	}
	return chain, err
}
