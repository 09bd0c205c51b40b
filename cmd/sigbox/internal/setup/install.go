package setup

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sigbox/sigbox/ca/pki"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
)

// Installed is what InstallChain did.
type Installed struct {
	Purpose pki.Purpose
	Chain   []*x509.Certificate
	Written []string // files; none where all was there
}

// place is an authority of a configuration: whose key, and where the chain belongs.
type place struct {
	purpose pki.Purpose
	key     crypto.Signer
	file    string // the chain
	roots   string // of the CT log, which has chains one after the other; "" for none here
}

func places(cfg *config.Config) (list []place, err error) {
	if cfg.CA == nil {
		return nil, fmt.Errorf("%s has no section ca, and so no chain", cfg.File())
	}
	add := func(p pki.Purpose, key config.KeyFile, file, roots string) error {
		path, err := key.Path()
		if err != nil {
			return err
		}
		signer, err := keys.Load(path)
		list = append(list, place{p, signer, file, roots})
		return err
	}
	roots := ""
	if cfg.TLog != nil && cfg.TLog.CT != nil {
		roots = string(cfg.TLog.CT.Roots)
	}
	if err := add(pki.CA, cfg.CA.Key, string(cfg.CA.Chain), roots); err != nil {
		return nil, fmt.Errorf("ca.key: %w", err)
	}
	if cfg.CA.TSA != nil {
		if err := add(pki.TSA, cfg.CA.TSA.Key, string(cfg.CA.TSA.Chain), ""); err != nil {
			return nil, fmt.Errorf("ca.tsa.key: %w", err)
		}
	}
	return list, nil
}

// InstallChain checks the chain in a file and puts it to where a configuration says, for the authority
// whose key it is for. What is there already is not written over.
func InstallChain(cfg *config.Config, file string, c clock.Clock) (Installed, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return Installed{}, err
	}
	chain, err := pki.ParseChain(raw)
	if err != nil {
		return Installed{}, fmt.Errorf("%s: %w", file, err)
	}
	all, err := places(cfg)
	if err != nil {
		return Installed{}, err
	}
	p, err := owner(all, chain)
	if err == nil {
		err = pki.Check(p.purpose, chain, p.key, c)
	}
	if err != nil {
		return Installed{}, fmt.Errorf("%s: %w", file, err)
	}
	done := Installed{Purpose: p.purpose, Chain: chain}
	text := pki.ChainPEM(chain)
	wrote, err := putChain(p.file, text)
	if err != nil {
		return done, err
	}
	if wrote {
		done.Written = append(done.Written, p.file)
	}
	if p.roots == "" {
		return done, nil
	}
	if wrote, err = addRoots(p.roots, text); wrote {
		done.Written = append(done.Written, p.roots)
	}
	return done, err
}

// owner finds the authority that a chain is for.
func owner(all []place, chain []*x509.Certificate) (place, error) {
	ids := ""
	for _, p := range all {
		for _, c := range chain {
			if keys.Equal(c.PublicKey, p.key.Public()) {
				return p, nil
			}
		}
		id, err := keys.ID(p.key.Public())
		if err != nil {
			return place{}, err
		}
		ids += fmt.Sprintf("\n  %s: %s", p.purpose.Title(), hex.EncodeToString(id[:]))
	}
	if len(chain) == 0 {
		return all[0], nil // pki.Check says so
	}
	return place{}, fmt.Errorf("no certificate in it is for a key of this instance: have its own requests signed, and compare the SHA-256 of the keys:%s", ids)
}

// addRoots adds a chain to those that the CT log takes certificates of. It returns false where it is
// among them already.
func addRoots(name string, text []byte) (bool, error) {
	have, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return true, instance.WriteFile(name, text, open)
	}
	if err != nil || bytes.Contains(have, text) {
		return false, err
	}
	if len(have) > 0 && have[len(have)-1] != '\n' {
		have = append(have, '\n')
	}
	return true, instance.WriteFile(name, append(have, text...), open)
}

// putChain writes a chain to where there is none. It returns false where it is there already.
func putChain(name string, text []byte) (bool, error) {
	have, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, instance.WriteFile(name, text, open)
	case err != nil:
		return false, err
	case !bytes.Equal(have, text):
		return false, fmt.Errorf("%s holds another chain already, and what it was published for stays trusted: "+
			"to change over to a new one is a rotation; where nothing was ever published with it, remove the file first", name)
	}
	return false, nil
}
