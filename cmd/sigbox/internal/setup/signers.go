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
	"slices"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/ceremony"
)

// Signers are those who sign root and targets: their public keys, as files, and how many must sign; 0 is
// more than half.
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
	if threshold == 0 {
		threshold = len(files)/2 + 1
	}
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

// checkSigners wants the signers of a first set to be those that init was told, and the online keys those of
// this instance. Signatures are counted by the keys that the set names itself: whoever carried the file could
// have brought one with keys of their own.
func (b *builder) checkSigners(r *ceremony.Request, online tuf.Keys) error {
	root, targets, err := b.signers()
	if err != nil {
		return err
	}
	if r.Root == nil || r.Base != nil {
		return fmt.Errorf("%s is not the request for a first set: remove it and run init again", b.path(requestFile))
	}
	named, err := tuf.SignersOf(r.Root)
	if err != nil {
		return fmt.Errorf("%s: %w", b.path(requestFile), err)
	}
	for _, role := range []struct {
		name     string
		has, may tuf.Signers
	}{
		{tuf.Root, named.Root, root}, {tuf.Targets, named.Targets, targets},
		{tuf.Snapshot, named.Snapshot, oneSigner(online.Snapshot)}, {tuf.Timestamp, named.Timestamp, oneSigner(online.Timestamp)},
	} {
		same, err := sameSigners(role.has, role.may)
		if err != nil {
			return fmt.Errorf("signers of %s: %w", role.name, err)
		}
		if !same {
			return fmt.Errorf("%s names other signers of %s than init was told: this is not the request that init wrote, or the signers were changed since. "+
				"Find out who changed it; then remove it and run init again", b.path(requestFile), role.name)
		}
	}
	return nil
}

func oneSigner(key crypto.Signer) tuf.Signers {
	return tuf.Signers{Keys: []crypto.PublicKey{key.Public()}, Threshold: 1}
}

// sameSigners compares keys, in whatever order, and how many of them must sign.
func sameSigners(a, b tuf.Signers) (bool, error) {
	ids := func(s tuf.Signers) (list []string, err error) {
		for _, k := range s.Keys {
			id, err := tuf.KeyID(k)
			if err != nil {
				return nil, err
			}
			list = append(list, id)
		}
		slices.Sort(list)
		return slices.Compact(list), nil
	}
	x, err := ids(a)
	if err != nil {
		return false, err
	}
	y, err := ids(b)
	return a.Threshold == b.Threshold && slices.Equal(x, y), err
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
