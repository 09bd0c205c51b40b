package setup

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
)

// Signers are those who sign root and targets: their public keys, as files, and how many must sign.
type Signers struct {
	RootKeys, TargetsKeys           []string
	RootThreshold, TargetsThreshold int
}

// signersFile keeps them from the run that they are named in to the one that asks for their signatures.
const signersFile = "requests/signers.json"

// signerGroup is one role in signersFile.
type signerGroup struct {
	Keys      []string `json:"keys"` // PEM
	Threshold int      `json:"threshold"`
}

type signerGroups struct {
	Root    signerGroup `json:"root"`
	Targets signerGroup `json:"targets"`
}

// keepSigners saves the signers that this run names.
func (b *builder) keepSigners() error {
	if !b.plan.Production || len(b.tuf.RootKeys) == 0 && len(b.tuf.TargetsKeys) == 0 {
		return nil
	}
	if len(b.tuf.RootKeys) == 0 || len(b.tuf.TargetsKeys) == 0 {
		return errors.New("name the signers of both roles, with --tuf-root-key and --tuf-targets-key")
	}
	root, err := readGroup("root", b.tuf.RootKeys, b.tuf.RootThreshold)
	if err != nil {
		return err
	}
	targets, err := readGroup("targets", b.tuf.TargetsKeys, b.tuf.TargetsThreshold)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(signerGroups{root, targets}, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	have, err := os.ReadFile(b.path(signersFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b.make(signersFile, open, func() ([]byte, error) { return text, nil })
	case err == nil && string(have) != string(text):
		return fmt.Errorf("%s names other signers: remove it, and %s if it is there, to ask these", b.path(signersFile), b.path(requestFile))
	}
	return err
}

func readGroup(role string, files []string, threshold int) (g signerGroup, err error) {
	if threshold < 1 || threshold > len(files) {
		return g, fmt.Errorf("--tuf-%s-threshold %d: %d keys are named, so want 1 to %d", role, threshold, len(files), len(files))
	}
	g.Threshold = threshold
	for _, file := range files {
		pub, err := keys.LoadPublic(file)
		if err != nil {
			return g, fmt.Errorf("--tuf-%s-key: %w", role, err)
		}
		text, err := keys.PublicPEM(pub)
		if err != nil {
			return g, err
		}
		g.Keys = append(g.Keys, string(text))
	}
	return g, nil
}

// signers returns those that were saved; the error is fs.ErrNotExist where none were.
func (b *builder) signers() (root, targets tuf.Signers, err error) {
	raw, err := os.ReadFile(b.path(signersFile))
	if err != nil {
		return root, targets, err
	}
	var groups signerGroups
	if err := json.Unmarshal(raw, &groups); err != nil {
		return root, targets, fmt.Errorf("%s: %w", b.path(signersFile), err)
	}
	if root, err = groups.Root.signers(); err == nil {
		targets, err = groups.Targets.signers()
	}
	return root, targets, err
}

func (g signerGroup) signers() (s tuf.Signers, err error) {
	s.Threshold = g.Threshold
	for _, text := range g.Keys {
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			return s, fmt.Errorf("%s: a key is not PEM", signersFile)
		}
		pub, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return s, fmt.Errorf("%s: %w", signersFile, err)
		}
		s.Keys = append(s.Keys, crypto.PublicKey(pub))
	}
	return s, nil
}
