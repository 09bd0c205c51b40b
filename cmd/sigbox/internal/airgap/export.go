package airgap

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox/tuf"
	format "github.com/sigbox/sigbox/tuf/airgap"
	"github.com/sigbox/sigbox/tuf/clientcache"
)

// ExportOptions say what is exported, and from where.
type ExportOptions struct {
	URL     string
	Root    []byte      // a root.json that is known; nil: trust the ones that the instance serves
	TLS     *tls.Config // nil: the system's certificate roots
	LogURLs []string    // where the logs are read; nil: the addresses in the trusted root

	After   *format.Envelope // of the export before; nil for the first
	GoodFor time.Duration
	Entries bool
	Bundles []string // files
	Keys    []crypto.Signer

	Out string // file; it must not exist
	Now time.Time
}

// Exported says what was written.
type Exported struct {
	File     *format.File
	FirstUse bool   // the root was taken from the instance itself
	Limit    string // the role that ends it before GoodFor does; "" for none
}

// content is a part with where its bytes are.
type content struct {
	format.Part
	raw  []byte
	file string // where raw is nil
}

func inMemory(name string, raw []byte) content {
	sum := sha256.Sum256(raw)
	return content{Part: format.Part{Name: name, Size: int64(len(raw)), SHA256: hex.EncodeToString(sum[:])}, raw: raw}
}

// onDisk is a part whose bytes are in a file.
func onDisk(name, file string) (content, error) {
	f, err := os.Open(file)
	if err != nil {
		return content{}, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return content{}, fmt.Errorf("%s is not a file", file)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	return content{Part: format.Part{Name: name, Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, file: file}, err
}

func (c content) open() (io.ReadCloser, error) {
	if c.raw != nil {
		return io.NopCloser(bytes.NewReader(c.raw)), nil
	}
	return os.Open(c.file)
}

// Export writes an export to a file, after it has read it as an import would.
func Export(ctx context.Context, o ExportOptions) (_ Exported, err error) {
	if _, err := os.Lstat(o.Out); err == nil {
		return Exported{}, fmt.Errorf("%s is there already, and an export is not written over: name another file", o.Out)
	}
	got, err := clientcache.FetchAll(ctx, clientcache.ExportOptions{URL: o.URL, Root: o.Root, TLS: o.TLS})
	if err != nil {
		return Exported{}, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(o.Out), ".sigbox-export-")
	if err != nil {
		return Exported{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()

	now := o.Now.UTC().Truncate(time.Second)
	m := format.Manifest{Mirror: got.Mirror, Number: 1, Made: now, GoodUntil: now.Add(o.GoodFor)}
	if o.After != nil {
		m.Number = o.After.Manifest.Number + 1
		if m.After, err = o.After.Manifest.ID(); err != nil {
			return Exported{}, err
		}
	}
	parts, set, err := repository(got, now)
	if err != nil {
		return Exported{}, err
	}
	m.Versions = set.Versions()
	limit := ""
	if at, role := tuf.GoodUntil(set); at.Before(m.GoodUntil) {
		m.GoodUntil, limit = at.UTC(), role
	}
	logs, entries, err := heads(ctx, o, got, tmp)
	if err != nil {
		return Exported{}, err
	}
	m.Logs = logs
	bundles, err := bundleParts(o.Bundles)
	if err != nil {
		return Exported{}, err
	}
	parts = slices.Concat(parts, entries, bundles)
	f, err := write(m, parts, o, filepath.Join(tmp, "export"))
	return Exported{File: f, FirstUse: got.FirstUse, Limit: limit}, err
}

// write seals, signs and writes, and gives the file its name once it was read again.
func write(m format.Manifest, parts []content, o ExportOptions, tmp string) (*format.File, error) {
	var large int64
	byName := map[string]content{}
	for _, p := range parts {
		m.Parts, byName[p.Name], large = append(m.Parts, p.Part), p, large+p.Size
	}
	e, err := m.Seal()
	if err != nil {
		return nil, err
	}
	newest := byName[fmt.Sprintf("tuf/%d.root.json", m.Versions.Root)].raw
	for _, key := range o.Keys {
		if err := e.Sign(key, newest); err != nil {
			return nil, err
		}
	}
	f, err := replace(tmp, o.Out, func(w io.Writer) error {
		return format.Write(w, e, func(p format.Part) (io.ReadCloser, error) { return byName[p.Name].open() })
	}, format.ReadOptions{Now: o.Now, Root: o.Root, Unsigned: true, Max: large})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// replace writes a file at tmp, reads it as whoever gets it would, and gives it its name.
func replace(tmp, path string, write func(io.Writer) error, o format.ReadOptions) (f *format.File, err error) {
	w, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := write(w); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	if err := w.Sync(); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	if _, err := w.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if f, err = format.Read(w, o); err != nil {
		return nil, fmt.Errorf("what was written would be refused: %w", err)
	}
	return f, os.Rename(tmp, path)
}

// repository are the parts of the TUF repository, and what they are as a set.
func repository(got clientcache.Fetched, now time.Time) (parts []content, set tuf.Release, err error) {
	c := tuf.Carried{Made: now}
	add := func(name string, raw []byte) { parts = append(parts, inMemory(name, raw)) }
	for v := 1; got.Repository[fmt.Sprintf("%d.root.json", v)] != nil; v++ {
		raw := got.Repository[fmt.Sprintf("%d.root.json", v)]
		c.Roots = append(c.Roots, raw)
		add(fmt.Sprintf("tuf/%d.root.json", v), raw)
	}
	for _, role := range []struct {
		name string
		to   *[]byte
	}{{tuf.Targets, &c.Targets}, {tuf.Snapshot, &c.Snapshot}, {tuf.Timestamp, &c.Timestamp}} {
		for path, raw := range got.Repository {
			if path == role.name+".json" || strings.HasSuffix(path, "."+role.name+".json") && !strings.Contains(path, "/") {
				*role.to = raw
			}
		}
		add("tuf/"+role.name+".json", *role.to)
	}
	for _, name := range slices.Sorted(maps.Keys(got.Targets)) {
		c.Contents = append(c.Contents, tuf.Blob{Name: name, Content: got.Targets[name]})
		add("targets/"+name, got.Targets[name])
	}
	set, err = c.Release(now)
	return parts, set, err
}

func bundleParts(files []string) (parts []content, err error) {
	for _, file := range files {
		p, err := onDisk("bundles/"+filepath.Base(file), file)
		if err != nil {
			return nil, fmt.Errorf("bundle: %w", err)
		}
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b content) int { return strings.Compare(a.Name, b.Name) })
	return parts, nil
}

// SignOptions say who signs a file.
type SignOptions struct {
	File string
	Root []byte // known; nil for any
	Keys []crypto.Signer
	Now  time.Time
}

// maxLarge bounds entries and bundles of a file that is only looked at: it keeps none.
const maxLarge = 1 << 42

// Look reads a file that need not have all signatures.
func Look(path string, root []byte, now time.Time) (*format.File, error) {
	in, err := open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return format.Read(in, format.ReadOptions{Now: now, Root: root, Unsigned: true, Max: maxLarge})
}

// Sign adds signatures to a file, which is replaced as a whole.
func Sign(o SignOptions) (_ *format.File, err error) {
	f, err := Look(o.File, o.Root, o.Now)
	if err != nil {
		return nil, err
	}
	for _, key := range o.Keys {
		if err := f.Sign(key, f.Root()); err != nil {
			return nil, err
		}
	}
	in, err := open(o.File)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	tmp, err := os.MkdirTemp(filepath.Dir(o.File), ".sigbox-export-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	return replace(filepath.Join(tmp, "export"), o.File, func(w io.Writer) error { return format.Resigned(w, in, f.Envelope) },
		format.ReadOptions{Now: o.Now, Root: o.Root, Unsigned: true, Max: maxLarge})
}

// open opens a plain file: a pipe or a device has no end that anybody could wait for.
func open(path string) (*os.File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	return os.Open(path)
}

// ReadAfter reads the export before: its file, or the receipt of its import. Its signatures were verified when it
// was made, and are again by the mirror, which takes only what follows its own last import.
func ReadAfter(path string) (*format.Envelope, error) {
	in, err := open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return format.ReadEnvelope(in)
}
