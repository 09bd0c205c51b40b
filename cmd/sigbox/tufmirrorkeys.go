package main

import (
	"crypto"
	"errors"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
)

// mirrorKeys are the keys of mirrors behind an air gap that a root names beside the instance's own.
type mirrorKeys struct {
	snapshot, timestamp []string // files
	none                bool
}

func (m *mirrorKeys) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&m.snapshot, "mirror-snapshot-key", nil, "public key (PEM) with which a mirror behind an air gap signs snapshot; repeat for each mirror")
	cmd.Flags().StringArrayVar(&m.timestamp, "mirror-timestamp-key", nil, "public key (PEM) with which it signs timestamp; repeat for each mirror")
	cmd.Flags().BoolVar(&m.none, "no-mirrors", false, "a root that names no mirror's keys any more")
	cmd.MarkFlagsRequiredTogether("mirror-snapshot-key", "mirror-timestamp-key")
	cmd.MarkFlagsMutuallyExclusive("no-mirrors", "mirror-snapshot-key")
}

func (m *mirrorKeys) given() bool { return m.none || len(m.snapshot) > 0 }

// name has a root name the instance's own online keys, and those of mirrors. Where the flags say nothing of them,
// those that the root before names stay, as long as it names the instance's own key too.
func (m *mirrorKeys) name(root *tuf.RootSigners, own tuf.Keys) error {
	if len(m.snapshot) != len(m.timestamp) {
		return errors.New("each mirror has two keys: --mirror-snapshot-key and --mirror-timestamp-key are to be given equally often")
	}
	for _, role := range []struct {
		own   crypto.PublicKey
		files []string
		to    *tuf.Signers
	}{{own.Snapshot.Public(), m.snapshot, &root.Snapshot}, {own.Timestamp.Public(), m.timestamp, &root.Timestamp}} {
		if !m.given() && role.to.Names(role.own) {
			continue
		}
		if !m.given() && len(role.to.Keys) > 1 {
			return errors.New("the root names the keys of mirrors, and not the key of this configuration, so that nobody can tell which of them was replaced: name those of all mirrors (--mirror-snapshot-key, --mirror-timestamp-key), or none (--no-mirrors)")
		}
		*role.to = tuf.Signers{Keys: []crypto.PublicKey{role.own}, Threshold: 1}
		for _, file := range role.files {
			pub, err := keys.LoadPublic(file)
			if err != nil {
				return err
			}
			role.to.Keys = append(role.to.Keys, pub)
		}
	}
	return nil
}
