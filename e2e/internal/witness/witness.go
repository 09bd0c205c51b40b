// Package witness remembers what a log promised and holds it to that: entries that it
// acknowledged, and every head that it signed.
package witness

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	tilesnote "github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// Head is a tree head.
type Head struct {
	Origin string
	Size   uint64
	Root   []byte
}

// Entry is what a log acknowledged: a leaf at an index.
type Entry struct {
	ID    string // what the log calls it; "" where it has no name
	Index uint64 // of the leaf in its tree
	Leaf  []byte // Merkle leaf input
}

// Witness is safe for concurrent use.
type Witness struct {
	verifier note.Verifier

	mu      sync.Mutex
	heads   map[uint64]Head
	entries []Entry
}

// New returns a witness of the log with this key, whose notes are signed under name.
func New(name string, key crypto.PublicKey) (*Witness, error) {
	v, err := signature.LoadVerifier(key, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	nv, err := tilesnote.NewNoteVerifier(name, v)
	if err != nil {
		return nil, err
	}
	return &Witness{verifier: nv, heads: map[uint64]Head{}}, nil
}

// Head verifies a checkpoint's signature and remembers the head. Two roots of one size are a fork.
func (w *Witness) Head(checkpoint string) (Head, error) {
	n, err := note.Open([]byte(checkpoint), note.VerifierList(w.verifier))
	if err != nil {
		return Head{}, fmt.Errorf("checkpoint %q: %w", checkpoint, err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 3 {
		return Head{}, fmt.Errorf("checkpoint %q: too short", n.Text)
	}
	h := Head{Origin: lines[0]}
	if h.Size, err = strconv.ParseUint(lines[1], 10, 63); err != nil {
		return Head{}, fmt.Errorf("checkpoint %q: %w", n.Text, err)
	}
	if h.Root, err = base64.StdEncoding.DecodeString(lines[2]); err != nil {
		return Head{}, fmt.Errorf("checkpoint %q: %w", n.Text, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if old, ok := w.heads[h.Size]; ok && (!bytes.Equal(old.Root, h.Root) || old.Origin != h.Origin) {
		return Head{}, fmt.Errorf("FORK at size %d: roots %x and %x, origins %q and %q", h.Size, old.Root, h.Root, old.Origin, h.Origin)
	}
	w.heads[h.Size] = h
	return h, nil
}

// Acknowledged verifies the inclusion proof that came with an acknowledgement against its signed
// checkpoint, and remembers entry and head.
func (w *Witness) Acknowledged(e Entry, checkpoint string, hashes [][]byte) error {
	h, err := w.Head(checkpoint)
	if err != nil {
		return err
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(e.Leaf)
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, e.Index, h.Size, leaf, hashes, h.Root); err != nil {
		return fmt.Errorf("entry %d of %d: %w", e.Index, h.Size, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.entries = append(w.entries, e)
	return nil
}

// Entries returns what was acknowledged so far.
func (w *Witness) Entries() []Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.entries)
}

// Heads returns the heads seen so far, by size.
func (w *Witness) Heads() []Head {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Head
	for _, size := range slices.Sorted(maps.Keys(w.heads)) {
		out = append(out, w.heads[size])
	}
	return out
}
