package clientcache

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/trustroot"
)

// ExportOptions say what to fetch and where to put it.
type ExportOptions struct {
	URL  string // of the instance or of its TUF repository
	Dir  string // made if it is not there
	Root []byte // root.json to start from; nil: trust the one the instance serves

	TLS *tls.Config // nil: the system's certificate roots

	// Tar, if not nil, gets the files as a tar archive, and nothing is written to Dir: that is where whoever
	// unpacks it will have them, since environment files name their own directory.
	Tar io.Writer
}

// Exported says what was written.
type Exported struct {
	Dir         string // absolute
	Mirror      string
	RootVersion int64
	RootSHA256  string   // of root.json as written, in hex: what `cosign initialize --root-checksum` takes
	FirstUse    bool     // root.json was taken from the instance itself
	Files       []string // names in Dir, sorted
}

// Export fetches the current trust material and writes it to a directory, with one environment
// file for each family of clients.
func Export(ctx context.Context, o ExportOptions) (Exported, error) {
	mirror, err := MirrorURL(o.URL)
	if err != nil {
		return Exported{}, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return Exported{}, fmt.Errorf("export trust to %s: %w", o.Dir, err)
	}
	m, err := fetch(ctx, mirror, o.Root, o.TLS)
	if err != nil {
		return Exported{}, err
	}
	files, err := m.files(dir)
	if err != nil {
		return Exported{}, err
	}
	if o.Tar != nil {
		err = writeTar(o.Tar, files)
	} else {
		err = writeAll(dir, files)
	}
	if err != nil {
		return Exported{}, fmt.Errorf("export trust to %s: %w", dir, err)
	}
	sum := sha256.Sum256(m.root)
	return Exported{
		Dir: dir, Mirror: mirror, RootVersion: m.rootVersion, RootSHA256: hex.EncodeToString(sum[:]),
		FirstUse: o.Root == nil, Files: slices.Sorted(maps.Keys(files)),
	}, nil
}

// Fetched is the trust material of an instance, verified.
type Fetched struct {
	Mirror  string
	Root    []byte            // root.json, the newest
	Targets map[string][]byte // by plain name
	// Repository is the files of the repository that a client needs which starts from Root, by path: its
	// metadata and targets/DIGEST.NAME.
	Repository map[string][]byte
	FirstUse   bool // root.json was taken from the instance itself
}

// Fetch fetches the current trust material without writing anything; Dir and Tar are not looked at.
func Fetch(ctx context.Context, o ExportOptions) (Fetched, error) {
	mirror, err := MirrorURL(o.URL)
	if err != nil {
		return Fetched{}, err
	}
	m, err := fetch(ctx, mirror, o.Root, o.TLS)
	if err != nil {
		return Fetched{}, err
	}
	return Fetched{Mirror: mirror, Root: m.root, Targets: m.targets, Repository: m.repository, FirstUse: o.Root == nil}, nil
}

// FetchAll is Fetch from the first root on, so that Repository has all of them. Where a Root is given, it must
// be one of them.
func FetchAll(ctx context.Context, o ExportOptions) (Fetched, error) {
	mirror, err := MirrorURL(o.URL)
	if err != nil {
		return Fetched{}, err
	}
	f := newFetcher(ctx)
	if o.TLS != nil {
		f.client.Transport = &http.Transport{TLSClientConfig: o.TLS}
	}
	first, err := f.DownloadFile(mirror+"/1.root.json", maxRoot, 0)
	if err != nil {
		return Fetched{}, fmt.Errorf("fetch %s/1.root.json: %w: is the instance running, and the URL right?", mirror, err)
	}
	m, err := f.update(mirror, first)
	if err != nil {
		return Fetched{}, err
	}
	m.repository["1.root.json"] = first
	if o.Root != nil {
		same := false
		for name, raw := range m.repository {
			same = same || strings.HasSuffix(name, ".root.json") && bytes.Equal(raw, o.Root)
		}
		if !same {
			return Fetched{}, fmt.Errorf("the root.json to start from is not one of those of %s: is it of this instance?", mirror)
		}
	}
	return Fetched{Mirror: mirror, Root: m.root, Targets: m.targets, Repository: m.repository, FirstUse: o.Root == nil}, nil
}

// fetch runs an update from the root start, or, if that is nil, from the one that the instance serves.
func fetch(ctx context.Context, mirror string, start []byte, secure *tls.Config) (_ *material, err error) {
	f := newFetcher(ctx)
	if secure != nil {
		f.client.Transport = &http.Transport{TLSClientConfig: secure}
	}
	if start == nil {
		if start, err = f.firstRoot(mirror); err != nil {
			return nil, err
		}
	}
	return f.update(mirror, start)
}

// material is what one verified update brought.
type material struct {
	mirror      string
	root        []byte // the newest
	rootVersion int64
	targets     map[string][]byte
	repository  map[string][]byte // what was downloaded, by path below the mirror, and the newest root
}

// update runs a TUF client from the root start and fetches all targets.
func (f *fetcher) update(mirror string, start []byte) (*material, error) {
	cfg, err := config.New(mirror, start)
	if err != nil {
		return nil, fmt.Errorf("TUF repository %s: %w", mirror, err)
	}
	rec := &recorder{fetcher: f, mirror: mirror, newest: start, files: map[string][]byte{}}
	cfg.DisableLocalCache, cfg.Fetcher = true, rec
	cfg.TargetsMaxLength = tuf.MaxTargetSize * 4
	up, err := updater.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("root.json to start from is not usable: %w", err)
	}
	if err := up.Refresh(); err != nil {
		return nil, explain(mirror, err)
	}
	trusted := up.GetTrustedMetadataSet()
	m := &material{mirror: mirror, root: rec.newest, rootVersion: trusted.Root.Signed.Version, targets: map[string][]byte{}, repository: rec.files}
	rec.files[fmt.Sprintf("%d.root.json", m.rootVersion)] = rec.newest
	infos := up.GetTopLevelTargets()
	if len(infos) > tuf.MaxTargets {
		return nil, fmt.Errorf("TUF repository %s names %d targets, want at most %d", mirror, len(infos), tuf.MaxTargets)
	}
	for name, info := range infos {
		if !tuf.ValidTargetName(name) || info.Length > tuf.MaxTargetSize {
			return nil, fmt.Errorf("TUF repository %s names the target %.80q of %d bytes, which is not one of ours", mirror, name, info.Length)
		}
		info.Path = name
		if _, m.targets[name], err = up.DownloadTarget(info, name, ""); err != nil {
			return nil, fmt.Errorf("fetch target %s of %s: %w", name, mirror, err)
		}
	}
	return m, nil
}

// files are the targets, the root and the environment files, by name.
func (m *material) files(dir string) (map[string][]byte, error) {
	files := maps.Clone(m.targets)
	if _, err := root.NewTrustedRootFromJSON(files[trustroot.TrustedRootName]); err != nil {
		return nil, fmt.Errorf("TUF repository %s: target %s: %w", m.mirror, trustroot.TrustedRootName, err)
	}
	sc, err := root.NewSigningConfigFromJSON(files[trustroot.SigningConfigName])
	if err != nil {
		return nil, fmt.Errorf("TUF repository %s: target %s: %w", m.mirror, trustroot.SigningConfigName, err)
	}
	if files[trustroot.FulcioName] == nil || files[trustroot.RekorName] == nil || files[trustroot.CTName] == nil {
		return nil, fmt.Errorf("TUF repository %s lacks one of %s, %s, %s: is it of a sigbox instance?",
			m.mirror, trustroot.FulcioName, trustroot.RekorName, trustroot.CTName)
	}
	files["root.json"] = m.root
	env := trustroot.Environment{Dir: dir, Mirror: m.mirror, TSA: files[trustroot.TSAName] != nil}
	for _, u := range []struct {
		to       *string
		services []root.Service
	}{{&env.FulcioURL, sc.FulcioCertificateAuthorityURLs()}, {&env.RekorURL, sc.RekorLogURLs()}, {&env.IssuerURL, sc.OIDCProviderURLs()}} {
		if len(u.services) == 0 {
			return nil, fmt.Errorf("TUF repository %s: target %s names no CA, no log or no issuer", m.mirror, trustroot.SigningConfigName)
		}
		*u.to = u.services[0].URL
	}
	maps.Copy(files, env.Files())
	return files, nil
}

// writeAll writes root.json last: with it there, the directory is complete.
func writeAll(dir string, files map[string][]byte) error {
	if isInstance(dir) {
		return errors.New("it is the data directory of an instance: name a directory of its own with --out")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range inOrder(files) {
		if err := writeFile(filepath.Join(dir, name), files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeTar writes what writeAll would, as a tar archive.
func writeTar(w io.Writer, files map[string][]byte) error {
	out := tar.NewWriter(w)
	for _, name := range inOrder(files) {
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			return err
		}
		if _, err := out.Write(files[name]); err != nil {
			return err
		}
	}
	return out.Close()
}

// inOrder returns the names with root.json last.
func inOrder(files map[string][]byte) []string {
	names := slices.Sorted(maps.Keys(files))
	return append(slices.DeleteFunc(names, func(n string) bool { return n == "root.json" }), "root.json")
}
