package tuf

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// File is one file as clients see it.
type File struct {
	Path      string // below the repository's base, no leading slash
	Bytes     []byte // not to be changed
	SHA256    [32]byte
	Immutable bool // the path will never hold other bytes
}

// Published is one complete repository: the current set and every older file that clients may
// still ask for. It does not change.
type Published struct {
	set     Release
	files   map[string]File
	order   []string
	targets map[string]File
	expires map[string]time.Time
}

// newPublished checks that the current set is whole (its expiry aside: what is expired is still
// served, clients judge it) and lays out its files.
func newPublished(a Archive) (*Published, error) {
	s := a.Current
	if !s.Created() {
		return nil, ErrNotCreated
	}
	tm, err := walk(Release{}, s, s.Timestamp.SignedAt)
	if err != nil {
		return nil, fmt.Errorf("tuf: stored set: %w", err)
	}
	if err := checkWhole(s, s.Timestamp.SignedAt); err != nil {
		return nil, fmt.Errorf("tuf: stored set: %w", err)
	}
	p := &Published{set: s, files: map[string]File{}, targets: map[string]File{}, expires: expires(tm)}
	for _, b := range a.Blobs {
		p.add(targetPath(b.Name, b.Content), b.Content, true)
	}
	for _, b := range s.Contents {
		p.targets[b.Name] = p.add(targetPath(b.Name, b.Content), b.Content, true)
	}
	for _, m := range a.Old {
		p.add(versioned(m), m.Bytes, true)
	}
	p.add(versioned(s.Targets), s.Targets.Bytes, true)
	p.add(versioned(s.Snapshot), s.Snapshot.Bytes, true)
	for _, r := range s.Roots {
		p.add(versioned(r), r.Bytes, true)
	}
	p.add("root.json", s.Roots[len(s.Roots)-1].Bytes, false)
	p.add("timestamp.json", s.Timestamp.Bytes, false)
	return p, nil
}

func expires(tm *trustedmetadata.TrustedMetadata) map[string]time.Time {
	return map[string]time.Time{
		Root: tm.Root.Signed.Expires, Targets: tm.Targets[metadata.TARGETS].Signed.Expires,
		Snapshot: tm.Snapshot.Signed.Expires, Timestamp: tm.Timestamp.Signed.Expires,
	}
}

func versioned(m Metadata) string { return fmt.Sprintf("%d.%s.json", m.Version, m.Role) }

func (p *Published) add(path string, content []byte, immutable bool) File {
	f, ok := p.files[path]
	if !ok {
		f = File{Path: path, Bytes: content, SHA256: sha256.Sum256(content), Immutable: immutable}
		p.files[path] = f
		p.order = append(p.order, path)
	}
	return f
}

// File returns the file at a path below the repository's base, for example "1.root.json".
func (p *Published) File(path string) (File, bool) {
	f, ok := p.files[path]
	return f, ok
}

// Target returns the current content of a target by its plain name, for example
// "trusted_root.json".
func (p *Published) Target(name string) (File, bool) {
	f, ok := p.targets[name]
	return f, ok
}

// Targets returns the plain names of the current targets, sorted.
func (p *Published) Targets() []string { return slices.Sorted(maps.Keys(p.targets)) }

// Files returns all files in the order in which they may be written one after another: whatever
// a file refers to comes before it, and the timestamp is last.
func (p *Published) Files() []File {
	out := make([]File, 0, len(p.order))
	for _, path := range p.order {
		out = append(out, p.files[path])
	}
	return out
}

// Versions returns the versions of the current set.
func (p *Published) Versions() Versions { return p.set.Versions() }

// Expires returns when a role's current metadata expires; the zero time for an unknown role.
func (p *Published) Expires(role string) time.Time { return p.expires[role] }
