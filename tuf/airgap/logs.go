package airgap

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/transparency-dev/merkle/compact"

	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tuf/trustroot"
)

// Verifier opens checkpoints of the log by its key. The names are those in its own checkpoint: with another
// origin it is another log, and the one before is missing.
func (l Log) Verifier(key crypto.PublicKey) (*checkpoint.Verifier, error) {
	_, sig, _ := strings.Cut(string(l.Checkpoint), "\n\n")
	name, _, _ := strings.Cut(strings.TrimPrefix(sig, "— "), " ")
	return checkpoint.NewVerifier(name, l.origin(), key)
}

// Head opens the checkpoint of a log by its key.
func (l Log) Head(key crypto.PublicKey) (checkpoint.Signed, error) {
	v, err := l.Verifier(key)
	if err != nil {
		return checkpoint.Signed{}, err
	}
	return v.Open(l.Checkpoint)
}

// Head is the head of a log in a file, for people to read.
type Head struct {
	Origin        string
	Size, Carried int64 // entries of the log, and those that the file has
}

// Heads are the heads of all logs.
func (f *File) Heads() (list []Head) {
	for _, l := range f.Manifest.Logs {
		list = append(list, Head{f.heads[l.ID].Origin, f.heads[l.ID].Size, l.Held - l.First})
	}
	return list
}

// Bundles are the names of the bundles.
func (f *File) Bundles() (names []string) {
	for _, p := range f.Manifest.Parts {
		if kindOf(p.Name) == kindBundle {
			names = append(names, plain(p.Name))
		}
	}
	return names
}

// checkLogs opens every checkpoint, and holds what the manifest says of entries against it.
func (f *File) checkLogs() error {
	keys, err := trustroot.LogKeys(f.target(trustroot.TrustedRootName))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLog, err)
	}
	f.heads, f.trees = map[string]checkpoint.Signed{}, map[string]*compact.Range{}
	for _, l := range f.Manifest.Logs {
		bad := func(format string, args ...any) error {
			return fmt.Errorf("%w: log %.40q (%s): %w", ErrLog, l.Name, l.KeyID, fmt.Errorf(format, args...))
		}
		id, err := hex.DecodeString(l.KeyID)
		if err != nil || keys[[32]byte(id)] == nil {
			return bad("%s has no such key", trustroot.TrustedRootName)
		}
		head, err := l.Head(keys[[32]byte(id)])
		if err != nil {
			return bad("%w", err)
		}
		if head.Size < l.From || head.Size < l.Held || l.Held > l.First && l.Held != head.Size {
			return bad("its checkpoint has size %d", head.Size)
		}
		carried := slices.ContainsFunc(f.Manifest.Parts, func(p Part) bool { return p.Name == "entries/"+l.ID })
		if carried != (l.Held > l.First) || !carried && !sameHashes(l.FirstRange, l.Range) {
			return bad("entries [%d, %d) are not what the file has", l.First, l.Held)
		}
		tree, err := newRange(l.First, l.FirstRange)
		if err != nil {
			return bad("range of the first %d entries: %w", l.First, err)
		}
		f.heads[l.ID], f.trees[l.ID] = head, tree
	}
	for _, p := range f.Manifest.Parts {
		if kindOf(p.Name) == kindEntries && f.trees[plain(p.Name)] == nil {
			return fmt.Errorf("%w: %s is of no log in the file", ErrLog, p.Name)
		}
	}
	return nil
}

// checkEntries says whether the leaves that were read are those of the signed tree.
func (f *File) checkEntries(id string, read *leaves) error {
	i := slices.IndexFunc(f.Manifest.Logs, func(l Log) bool { return l.ID == id })
	l, head := f.Manifest.Logs[i], f.heads[id]
	root, err := rootOf(read.tree)
	if err != nil || !read.whole() || int64(read.tree.End()) != l.Held || !sameHashes(read.tree.Hashes(), l.Range) || !bytes.Equal(root, head.Root[:]) {
		return fmt.Errorf("%w: log %.40q: its entries [%d, %d) are not those of its checkpoint", ErrLog, l.Name, l.First, l.Held)
	}
	return nil
}

func sameHashes(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

// Follows says whether the file may be taken in after the last one: nil is nothing yet.
func (f *File) Follows(last *Envelope) error {
	if last == nil {
		if f.Manifest.Number != 1 {
			return fmt.Errorf("%w: it is export %d, and nothing was imported yet: begin with the first, or make a new first one (sigbox airgap export without --after)", ErrGap, f.Manifest.Number)
		}
		return f.extend(Manifest{}, nil)
	}
	before := last.Manifest
	id, err := before.ID()
	if err != nil {
		return err
	}
	m := f.Manifest
	switch {
	case m.Number <= before.Number:
		return fmt.Errorf("%w: it is export %d, made %s, and export %d of %s was imported", ErrOld, m.Number, stamp(m.Made), before.Number, stamp(before.Made))
	case m.Number > before.Number+1:
		return fmt.Errorf("%w: it is export %d, and the last that was imported is %d: bring those between, or make one that follows it (sigbox airgap export --after, with its file or the mirror's receipt)", ErrGap, m.Number, before.Number)
	case m.After != id:
		return fmt.Errorf("%w: it follows another export %d than the one that was imported (%.16s, not %.16s)", ErrFork, before.Number, m.After, id)
	case m.Made.Before(before.Made):
		return fmt.Errorf("%w: it was made %s, before the last one of %s", ErrOld, stamp(m.Made), stamp(before.Made))
	case m.Versions.Root < before.Versions.Root, m.Versions.Targets < before.Versions.Targets,
		m.Versions.Snapshot < before.Versions.Snapshot, m.Versions.Timestamp < before.Versions.Timestamp:
		return fmt.Errorf("%w: its TUF repository has versions %+v after %+v", ErrOld, m.Versions, before.Versions)
	}
	return f.extend(before, last)
}

// extend wants every log to go on from where it was.
func (f *File) extend(before Manifest, last *Envelope) error {
	was := map[string]Log{}
	for _, l := range before.Logs {
		was[l.ID] = l
	}
	for _, l := range f.Manifest.Logs {
		bad := func(reason error, format string, args ...any) error {
			return fmt.Errorf("%w: log %.40q: %s", reason, l.Name, fmt.Sprintf(format, args...))
		}
		old := was[l.ID]
		delete(was, l.ID)
		head, oldHead, err := f.heads[l.ID], checkpoint.Checkpoint{}, error(nil)
		if old.ID != "" {
			if oldHead, err = parseNote(old.Checkpoint); err != nil {
				return err
			}
		}
		switch {
		case head.Size < oldHead.Size:
			return bad(ErrOld, "it has %d entries, and had %d", head.Size, oldHead.Size)
		case l.From != oldHead.Size:
			return bad(ErrGap, "it goes on from %d entries, and had %d", l.From, oldHead.Size)
		case l.First != old.Held || !sameHashes(l.FirstRange, old.Range):
			return bad(ErrGap, "its entries go on from %d, and %d were imported", l.First, old.Held)
		}
		if old.ID != "" {
			if err := consistent(oldHead.Size, head.Size, l.Proof, oldHead.Root, head.Root); err != nil {
				return bad(ErrFork, "the tree of %d entries does not extend the one of %d that was imported: %v", head.Size, oldHead.Size, err)
			}
		}
	}
	for _, l := range was {
		return fmt.Errorf("%w: log %.40q (%s), which was imported, is not in it", ErrGap, l.Name, l.KeyID)
	}
	return nil
}

// parseNote reads a checkpoint that was verified when it was imported.
func parseNote(note []byte) (checkpoint.Checkpoint, error) {
	text, _, _ := bytes.Cut(note, []byte("\n\n"))
	return checkpoint.Parse(append(bytes.Clone(text), '\n'))
}
