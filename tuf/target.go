package tuf

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Limits on what may be published. Clients download all targets and keep them.
const (
	MaxTargets    = 256
	MaxTargetSize = 1 << 20 // bytes
)

// ErrTarget says that a target cannot be published.
var ErrTarget = errors.New("tuf: target cannot be published")

// Target is one file that clients fetch through the repository.
type Target struct {
	Name    string          // one path segment: letters, digits, '.', '_', '-'
	Content []byte          // not empty, at most MaxTargetSize bytes
	Custom  json.RawMessage // nil, or {"sigstore": {"status": ..., "usage": ..., "uri": ...}}
}

// targetName leaves no room for path segments, escapes and files that start with a dot: the name
// becomes part of a URL here and of a file name in every client's cache.
var targetName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// ValidTargetName reports whether name may be published, and written to disk under its own name
// by those who fetch it.
func ValidTargetName(name string) bool {
	return targetName.MatchString(name)
}

// checkTargets refuses what a client could not fetch, or would trip over (COMPAT.md 5.1).
func checkTargets(targets []Target) error {
	if len(targets) == 0 || len(targets) > MaxTargets {
		return fmt.Errorf("%w: want 1 to %d targets, have %d", ErrTarget, MaxTargets, len(targets))
	}
	seen := map[string]bool{}
	for _, t := range targets {
		if !ValidTargetName(t.Name) {
			return fmt.Errorf("%w: name %q: want one path segment of letters, digits, '.', '_' and '-'", ErrTarget, t.Name)
		}
		if seen[t.Name] {
			return fmt.Errorf("%w: %s is given twice", ErrTarget, t.Name)
		}
		seen[t.Name] = true
		if len(t.Content) == 0 || len(t.Content) > MaxTargetSize {
			return fmt.Errorf("%w: %s has %d bytes, want 1 to %d", ErrTarget, t.Name, len(t.Content), MaxTargetSize)
		}
		if err := checkCustom(t); err != nil {
			return err
		}
	}
	return nil
}

// checkCustom wants status and usage wherever there is custom metadata: sigstore-java makes them
// mandatory, and a client that cannot read one target's refuses the whole role.
func checkCustom(t Target) error {
	if t.Custom == nil {
		return nil
	}
	var c struct {
		Sigstore struct {
			Status string `json:"status"`
			Usage  string `json:"usage"`
		} `json:"sigstore"`
	}
	if err := json.Unmarshal(t.Custom, &c); err != nil {
		return fmt.Errorf("%w: %s: custom metadata: %w", ErrTarget, t.Name, err)
	}
	if c.Sigstore.Status == "" || c.Sigstore.Usage == "" {
		return fmt.Errorf("%w: %s: custom metadata without sigstore.status and sigstore.usage", ErrTarget, t.Name)
	}
	return nil
}

// entry describes a target as targets metadata does.
func (t Target) entry() *metadata.TargetFiles {
	sum := sha256.Sum256(t.Content)
	e := &metadata.TargetFiles{
		Length: int64(len(t.Content)),
		Hashes: metadata.Hashes{"sha256": sum[:]}, // one only: clients pick any, and look for the file under it
		Path:   t.Name,
	}
	if t.Custom != nil {
		custom := t.Custom
		e.Custom = &custom
	}
	return e
}

// targetPath is where a target lies below the repository's base.
func targetPath(name string, content []byte) string {
	sum := sha256.Sum256(content)
	return "targets/" + hex.EncodeToString(sum[:]) + "." + name
}
