package stack

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tsa"
)

// The roles that have a key of their own, and the names of their files.
const (
	roleCARoot         = "ca-root"
	roleCAIntermediate = "ca-intermediate"
	roleTSARoot        = "tsa-root"
	roleTSA            = "tsa"
	roleRekorV1        = "rekor-v1"
	roleRekorV2        = "rekor-v2"
	roleCT             = "ct"
	roleTUFRoot        = "tuf-root"
	roleTUFTargets     = "tuf-targets"
	roleTUFSnapshot    = "tuf-snapshot"
	roleTUFTimestamp   = "tuf-timestamp"
	roleIssuer         = "issuer"
)

func roles() []string {
	return []string{
		roleCARoot, roleCAIntermediate, roleTSARoot, roleTSA, roleRekorV1, roleRekorV2, roleCT,
		roleTUFRoot, roleTUFTargets, roleTUFSnapshot, roleTUFTimestamp, roleIssuer,
	}
}

// material is every key and chain of an instance.
type material struct {
	keys     map[string]crypto.Signer // those in use; of a log the one that the instance was made with
	caChain  []*x509.Certificate      // intermediate, root; those in use
	tsaChain []*x509.Certificate      // leaf, root; likewise
	numbered
}

// makeMaterial makes all keys and chains and saves them in d.
func makeMaterial(d *instance.Dir, c clock.Clock) (*material, error) {
	org := "sigbox " + d.Info.ID[:8]
	h, err := ca.NewHierarchy(c, org)
	if err != nil {
		return nil, err
	}
	t, err := tsa.NewChain(c, org)
	if err != nil {
		return nil, err
	}
	m := &material{
		keys: map[string]crypto.Signer{
			roleCARoot: h.RootKey, roleCAIntermediate: h.IntermediateKey, roleTSARoot: t.Root.Key, roleTSA: t.Leaf.Key,
		},
		caChain: h.Chain(), tsaChain: t.Certificates(),
	}
	for _, role := range []string{roleRekorV1, roleRekorV2, roleCT, roleTUFRoot, roleTUFTargets, roleTUFSnapshot, roleTUFTimestamp} {
		if m.keys[role], err = keys.NewECDSA(); err != nil {
			return nil, fmt.Errorf("%s: %w", role, err)
		}
	}
	if m.keys[roleIssuer], err = keys.NewRSA(); err != nil {
		return nil, fmt.Errorf("%s: %w", roleIssuer, err)
	}
	if err := m.save(d); err != nil {
		return nil, err
	}
	return loadMaterial(d)
}

func (m *material) save(d *instance.Dir) error {
	for role, key := range m.keys {
		if err := keys.Save(keyFile(d, role), key); err != nil {
			return err
		}
	}
	if err := os.Mkdir(d.File("certs"), 0o700); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	if err := instance.WriteFile(d.File("certs", "ca.pem"), chainPEM(m.caChain), 0o600); err != nil {
		return err
	}
	return instance.WriteFile(d.File("certs", "tsa.pem"), chainPEM(m.tsaChain), 0o600)
}

// loadMaterial reads what makeMaterial saved, and what rotations have made since. The keys of the two
// roots stay on disk: nothing in a running instance uses them.
func loadMaterial(d *instance.Dir) (*material, error) {
	m := &material{keys: map[string]crypto.Signer{}}
	var err error
	if m.numbered, err = loadNumbered(d); err != nil {
		return nil, err
	}
	for _, role := range []string{roleRekorV1, roleRekorV2, roleCT, roleIssuer} {
		if m.keys[role], err = keys.Load(keyFile(d, role)); err != nil {
			return nil, err
		}
	}
	for _, role := range tufRoles {
		if m.keys[role], err = keys.Load(numberedKey(d, role, m.journal.Kind(role).InUse)); err != nil {
			return nil, err
		}
	}
	m.keys[roleCAIntermediate], m.caChain = m.caOfUse.key, m.caOfUse.chain
	m.keys[roleTSA], m.tsaChain = m.tsaOfUse.key, m.tsaOfUse.chain
	return m, nil
}

func keyFile(d *instance.Dir, role string) string { return d.File("keys", role+".pem") }

func chainPEM(chain []*x509.Certificate) []byte {
	var out []byte
	for _, c := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

func readChain(path string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("certificate chain: %w", err)
	}
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate chain %s: %w", path, err)
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("certificate chain %s: no certificate in it", path)
	}
	return chain, nil
}
