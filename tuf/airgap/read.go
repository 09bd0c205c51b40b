package airgap

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/transparency-dev/merkle/compact"

	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tuf"
)

// ManifestName is the first entry of the archive.
const ManifestName = "airgap.json"

// ReadOptions say what a file is held against.
type ReadOptions struct {
	Now time.Time
	// Root is a version of root that is known, byte for byte; nil for any first one.
	Root []byte
	// Unsigned takes a file that too few have signed so far.
	Unsigned bool
	// Max bounds entries and bundles together, in bytes; 0 takes none.
	Max int64
	// Save returns where a part of entries or a bundle goes; nil drops them.
	Save func(Part) (io.WriteCloser, error)
}

// File is a file that was verified.
type File struct {
	*Envelope
	Have, Want int // signatures

	parts map[string][]byte // of the repository
	heads map[string]checkpoint.Signed
	trees map[string]*compact.Range // of the entries before
}

// Read reads a file to its end and verifies it. What it gives to Save is not to be used before Read has
// returned without an error.
func Read(r io.Reader, o ReadOptions) (*File, error) {
	in := &counter{r: r}
	archive := tar.NewReader(in)
	raw, err := next(archive, ManifestName, -1)
	if err != nil {
		return nil, err
	}
	e, err := ParseEnvelope(raw)
	if err != nil {
		return nil, err
	}
	f := &File{Envelope: e, parts: map[string][]byte{}}
	if err := f.checkTime(o.Now); err != nil {
		return nil, err
	}
	m := e.Manifest
	split := slices.IndexFunc(m.Parts, func(p Part) bool { return kindOf(p.Name) >= kindContent })
	if split < 0 {
		return nil, fmt.Errorf("%w: the TUF repository has no targets", ErrForm)
	}
	if err := f.read(archive, m.Parts[:split]); err != nil {
		return nil, err
	}
	if err := f.checkRoots(o); err != nil { // nothing larger is read before somebody who is known has signed for it
		return nil, err
	}
	if err := f.readRest(archive, m.Parts[split:], o); err != nil {
		return nil, err
	}
	if _, err := archive.Next(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: there is more in it than the manifest names", ErrForm)
	}
	rest, err := io.CopyN(io.Discard, in, 1)
	if rest != 0 || !errors.Is(err, io.EOF) || in.n != sizeOf(len(raw), m.Parts) {
		return nil, fmt.Errorf("%w: it has %d bytes, the manifest makes %d", ErrForm, in.n, sizeOf(len(raw), m.Parts))
	}
	return f, nil
}

// checkTime refuses what is over, and what comes from a clock that is wrong.
func (f *File) checkTime(now time.Time) error {
	m := f.Manifest
	switch {
	case m.Made.After(now.Add(slack)):
		return fmt.Errorf("%w: it was made %s, and it is %s here: one of the clocks is wrong", ErrClock, stamp(m.Made), stamp(now))
	case !now.Before(m.GoodUntil):
		return fmt.Errorf("%w: it was good until %s, and it is %s", ErrExpired, stamp(m.GoodUntil), stamp(now))
	}
	return nil
}

// read reads parts of the repository.
func (f *File) read(archive *tar.Reader, parts []Part) error {
	for _, p := range parts {
		raw, err := next(archive, p.Name, p.Size)
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != p.SHA256 {
			return fmt.Errorf("%w: %s is not what was signed for", ErrForm, p.Name)
		}
		f.parts[p.Name] = raw
	}
	return nil
}

// readRest reads the targets, verifies the repository with them, and then what may be large.
func (f *File) readRest(archive *tar.Reader, parts []Part, o ReadOptions) error {
	split := slices.IndexFunc(parts, func(p Part) bool { return kindOf(p.Name) > kindContent })
	if split < 0 {
		split = len(parts)
	}
	if err := f.read(archive, parts[:split]); err != nil {
		return err
	}
	if err := f.checkRepository(o.Now); err != nil {
		return err
	}
	if err := f.checkLogs(); err != nil {
		return err
	}
	large := parts[split:]
	var sum int64
	for _, p := range large {
		sum += p.Size
	}
	if sum > o.Max {
		return fmt.Errorf("%w: %d bytes of entries and bundles, and %d are allowed", ErrTooLarge, sum, o.Max)
	}
	for _, p := range large {
		if err := f.save(archive, p, o); err != nil {
			return err
		}
	}
	return nil
}

// save passes a large part on, and verifies it on the way.
func (f *File) save(archive *tar.Reader, p Part, o ReadOptions) (err error) {
	if err := header(archive, p.Name, p.Size); err != nil {
		return err
	}
	sum := sha256.New()
	to := []io.Writer{sum}
	var read *leaves
	if kindOf(p.Name) == kindEntries {
		read = &leaves{tree: f.trees[plain(p.Name)]}
		to = append(to, read)
	}
	if o.Save != nil {
		w, failed := o.Save(p)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, w.Close()) }()
		to = append(to, w)
	}
	if _, err := io.Copy(io.MultiWriter(to...), archive); err != nil {
		return damaged(p.Name, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != p.SHA256 {
		return fmt.Errorf("%w: %s is not what was signed for", ErrForm, p.Name)
	}
	if read != nil {
		return f.checkEntries(plain(p.Name), read)
	}
	return nil
}

// checkRoots wants a chain of roots, from one that is known where one is, and the signatures of the targets
// keys that the newest names.
func (f *File) checkRoots(o ReadOptions) error {
	roots := f.roots()
	if o.Root != nil {
		known, err := metadata.Root().FromBytes(o.Root)
		if err != nil {
			return fmt.Errorf("the root that is known: %w", err)
		}
		if v := known.Signed.Version; v > int64(len(roots)) || !bytes.Equal(roots[v-1], o.Root) {
			return fmt.Errorf("%w: its root version %d is not the one that is known here", ErrRoot, v)
		}
	}
	if err := tuf.CheckRoots(roots); err != nil {
		return fmt.Errorf("%w: %w", ErrRepository, err)
	}
	var err error
	if f.Have, f.Want, err = f.Count(roots[len(roots)-1]); err != nil {
		return err
	}
	if f.Have < f.Want && !o.Unsigned {
		return fmt.Errorf("%w: %d of %d have signed it", ErrSignature, f.Have, f.Want)
	}
	return nil
}

func (f *File) checkRepository(now time.Time) error {
	s, err := f.Carried().Release(now)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRepository, err)
	}
	if until, _ := tuf.GoodUntil(s); f.Manifest.GoodUntil.After(until) {
		return fmt.Errorf("%w: it is said to be good until %s, and its root or targets expire %s", ErrRepository, stamp(f.Manifest.GoodUntil), stamp(until))
	}
	if s.Versions() != f.Manifest.Versions {
		return fmt.Errorf("%w: its versions are %+v, the manifest says %+v", ErrRepository, s.Versions(), f.Manifest.Versions)
	}
	return nil
}

func (f *File) roots() (list [][]byte) {
	for v := int64(1); f.parts[rootName(v)] != nil; v++ {
		list = append(list, f.parts[rootName(v)])
	}
	return list
}

// Root is the newest root.
func (f *File) Root() []byte {
	all := f.roots()
	return all[len(all)-1]
}

func (f *File) target(name string) []byte { return f.parts["targets/"+name] }

// Carried is the TUF repository in the file.
func (f *File) Carried() tuf.Carried {
	c := tuf.Carried{
		Roots: f.roots(), Targets: f.parts["tuf/targets.json"], Snapshot: f.parts["tuf/snapshot.json"], Timestamp: f.parts["tuf/timestamp.json"],
		Made: f.Manifest.Made, Until: f.Manifest.GoodUntil,
	}
	for name, raw := range f.parts {
		if kindOf(name) == kindContent {
			c.Contents = append(c.Contents, tuf.Blob{Name: plain(name), Content: raw})
		}
	}
	slices.SortFunc(c.Contents, func(a, b tuf.Blob) int { return strings.Compare(a.Name, b.Name) })
	return c
}

// next reads the next entry, which must have this name and, where it is not negative, this size.
func next(archive *tar.Reader, name string, size int64) ([]byte, error) {
	if err := header(archive, name, size); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(archive, maxManifest+1))
	if err != nil {
		return nil, damaged(name, err)
	}
	if len(raw) > maxManifest {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrTooLarge, name, maxManifest)
	}
	return raw, nil
}

// header wants a plain file of a name and a size: no link, no directory, no path of its own.
func header(archive *tar.Reader, name string, size int64) error {
	h, err := archive.Next()
	if err != nil {
		return damaged(name, err)
	}
	if h.Name != name || h.Typeflag != tar.TypeReg || size >= 0 && h.Size != size {
		return fmt.Errorf("%w: %.120q of type %q and %d bytes stands where %s of %d bytes is wanted", ErrForm, h.Name, h.Typeflag, h.Size, name, size)
	}
	return nil
}

func damaged(name string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends in or before %s: it was not copied whole", ErrForm, name)
	}
	if errors.Is(err, tar.ErrHeader) {
		return fmt.Errorf("%w: at %s: %w", ErrForm, name, err)
	}
	return fmt.Errorf("read %s: %w", name, err)
}

// counter counts what was read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// ReadEnvelope reads the envelope of a file, or a file that is one, and verifies no signature.
func ReadEnvelope(r io.ReadSeeker) (*Envelope, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > 0 && raw[0] == '{' {
		return ParseEnvelope(raw)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if raw, err = next(tar.NewReader(r), ManifestName, -1); err != nil {
		return nil, err
	}
	return ParseEnvelope(raw)
}
