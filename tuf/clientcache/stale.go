package clientcache

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	sigtuf "github.com/sigstore/sigstore-go/pkg/tuf"
)

// Stale is what a client on this machine remembers of another instance that ran at the same
// address. The client refuses the new one until it is made to forget.
type Stale struct {
	Where string // file or directory
	Says  string // what its user will see
	Mend  string // a command that mends it
}

// FindStale looks through the places where clients keep what they remember by URL: the TUF cache
// (DefaultDir), and rekor-cli's state for the log at url with the given origin. mirror must be
// reachable; what cannot be read is not reported.
func FindStale(ctx context.Context, url, mirror, origin string) []Stale {
	var out []Stale
	if dir, err := DefaultDir(); err == nil {
		out = append(out, staleTUF(ctx, dir, mirror)...)
	}
	if home, err := os.UserHomeDir(); err == nil {
		out = append(out, staleRekor(filepath.Join(home, ".rekor", "state.json"), url, origin)...)
	}
	return out
}

func staleTUF(ctx context.Context, dir, mirror string) []Stale {
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

// staleRekor reads rekor-cli's state: a JSON object of signed checkpoints, by URL and by tree id.
func staleRekor(file, url, origin string) []Stale {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var state map[string]json.RawMessage
	if json.Unmarshal(raw, &state) != nil {
		return nil
	}
	var note string
	if json.Unmarshal(state[url], &note) != nil || note == "" || strings.HasPrefix(note, origin+"\n") {
		return nil
	}
	return []Stale{{
		Where: file,
		Says:  "rekor-cli loginfo: the log is inconsistent with its stored state",
		Mend:  "rm " + file,
	}}
}
