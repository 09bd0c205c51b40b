package clientcache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	sigtuf "github.com/sigstore/sigstore-go/pkg/tuf"

	"github.com/sigbox/sigbox/tuf/trustroot"
)

// ErrOtherInstance says that a cache belongs to another instance, or to one that ran at the same
// address before.
var ErrOtherInstance = errors.New("the cache belongs to another instance")

// InitOptions say which mirror to trust and which cache to fill.
type InitOptions struct {
	Mirror string // base URL of the TUF repository, as clients will be given it
	Root   []byte // root.json to start from
	Dir    string // "": DefaultDir()

	// Replace takes over a cache of another instance: its files are removed, other files stay.
	Replace bool
}

// Initialised says what a cache now holds.
type Initialised struct {
	Dir         string // absolute
	Mirror      string
	RootVersion int64
	Replaced    bool // another instance's files were removed
}

// DefaultDir is where clients keep their cache: $TUF_ROOT, else ~/.sigstore/root.
func DefaultDir() (string, error) {
	if dir := os.Getenv("TUF_ROOT"); dir != "" {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory: %w: set TUF_ROOT", err)
	}
	return filepath.Join(home, ".sigstore", "root"), nil
}

// Init fills a client's TUF cache for both generations of clients. Everything is fetched and
// verified beside the cache first; a failure up to then leaves the cache as it was. A cache of
// another instance is refused with ErrOtherInstance unless Replace is set.
func Init(ctx context.Context, o InitOptions) (_ Initialised, err error) {
	if o.Mirror, err = cleanMirror(o.Mirror); err != nil {
		return Initialised{}, err
	}
	dir, err := cacheDir(o.Dir)
	if err != nil {
		return Initialised{}, err
	}
	if data, ok := holdsInstance(dir); ok {
		return Initialised{}, fmt.Errorf("cache directory %s holds the data of an instance (%s): name another one, for cosign empties its cache", dir, data)
	}
	f := newFetcher(ctx)
	m, err := f.update(o.Mirror, o.Root)
	if err != nil {
		return Initialised{}, err
	}
	other, err := f.foreign(dir, o.Mirror)
	if err != nil {
		return Initialised{}, err
	}
	if other != "" && !o.Replace {
		return Initialised{}, fmt.Errorf("cache directory %s: %w (%s): remove it with `rm -r %s`, or set TUF_ROOT to a directory of its own, and try again",
			dir, ErrOtherInstance, other, dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Initialised{}, fmt.Errorf("cache directory: %w", err)
	}
	stage, err := os.MkdirTemp(dir, ".sigbox-init-")
	if err != nil {
		return Initialised{}, fmt.Errorf("cache directory: %w", err)
	}
	defer os.RemoveAll(stage)
	if err := m.fill(f, stage, o.Root); err != nil {
		return Initialised{}, err
	}
	if other == "" {
		if err := checkRollback(stage, dir, o.Mirror); err != nil {
			return Initialised{}, err
		}
	}
	if err := install(stage, dir, o.Mirror); err != nil {
		return Initialised{}, fmt.Errorf("cache directory %s: %w", dir, err)
	}
	return Initialised{Dir: dir, Mirror: o.Mirror, RootVersion: m.rootVersion, Replaced: other != ""}, nil
}

func cacheDir(dir string) (string, error) {
	if dir == "" {
		var err error
		if dir, err = DefaultDir(); err != nil {
			return "", err
		}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("cache directory %s: %w", dir, err)
	}
	return abs, nil
}

// fill makes a complete cache in stage, with the libraries of the clients that will read it.
func (m *material) fill(f *fetcher, stage string, start []byte) error {
	client, err := sigtuf.New(&sigtuf.Options{RepositoryBaseURL: m.mirror, Root: start, CachePath: stage, Fetcher: f})
	if err != nil {
		return explain(m.mirror, err)
	}
	for _, name := range []string{trustroot.TrustedRootName, trustroot.SigningConfigName, trustroot.SigningConfigV2Name} {
		if m.targets[name] == nil && name == trustroot.SigningConfigV2Name {
			continue // an instance need not have a v2 log
		}
		if _, err := client.GetTarget(name); err != nil {
			return fmt.Errorf("TUF repository %s: %w", m.mirror, err)
		}
	}
	if err := fillLegacy(f, stage, m.mirror, start); err != nil {
		return fmt.Errorf("TUF repository %s: %w", m.mirror, err)
	}
	remote, err := json.Marshal(map[string]string{"mirror": m.mirror})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(stage, remoteName), remote, 0o600)
}

const (
	remoteName  = "remote.json" // both generations: which mirror the cache is of
	dbName      = "tuf.db"      // go-tuf 0.7
	targetsName = "targets"     // go-tuf 0.7
)

// install moves what was staged into the cache. remote.json, by which clients find the rest, is
// gone while that is under way.
func install(stage, dir, mirror string) error {
	of := sigtuf.URLToPath(mirror)
	for _, name := range []string{remoteName, dbName, targetsName, of, of + ".json"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for _, name := range []string{dbName, targetsName, of, of + ".json", remoteName} {
		if err := os.Rename(filepath.Join(stage, name), filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
