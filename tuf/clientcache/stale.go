package clientcache

import (
	"context"
	"os"
	"path/filepath"

	sigtuf "github.com/sigstore/sigstore-go/pkg/tuf"
)

// Stale is what a client on this machine remembers of another instance that ran at the same
// address. The client refuses the new one until it is made to forget.
type Stale struct {
	Where string // file or directory
	Says  string // what its user will see
	Mend  string // a command that mends it
}

// FindStale looks into the TUF cache that clients share (DefaultDir). mirror must be reachable;
// what cannot be read is not reported. rekor-cli needs no look: it keys what it remembers by tree
// id, which a new instance draws at random.
func FindStale(ctx context.Context, mirror string) []Stale {
	dir, err := DefaultDir()
	if err != nil {
		return nil
	}
	root, err := os.ReadFile(filepath.Join(dir, sigtuf.URLToPath(mirror), "root.json"))
	if err != nil {
		return nil
	}
	if same, err := newFetcher(ctx).serves(mirror, root); err != nil || same {
		return nil
	}
	return []Stale{{
		Where: dir,
		Says:  "cosign: Verifying timestamp failed, not enough signatures",
		Mend:  "sigbox trust init --replace --mirror " + mirror + " --root ROOT.JSON",
	}}
}
