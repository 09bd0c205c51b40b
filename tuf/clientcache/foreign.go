package clientcache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	sigtuf "github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// foreign looks for signs that the cache in dir is not of the instance at mirror, and says what
// it found; "" is a cache that may be filled. It compares the roots in the cache with those the
// mirror serves, and so fails where the mirror cannot be reached.
func (f *fetcher) foreign(dir, mirror string) (string, error) {
	if was, ok := cachedMirror(dir); ok && was != mirror {
		return "it was initialised for " + was, nil
	}
	roots := map[string][]byte{}
	if raw, err := os.ReadFile(filepath.Join(dir, sigtuf.URLToPath(mirror), "root.json")); err == nil {
		roots["the root.json it has for this mirror"] = raw
	}
	meta, err := readDB(filepath.Join(dir, dbName))
	if err != nil {
		return "its tuf.db cannot be read", nil
	}
	if raw := meta["root.json"]; raw != nil {
		roots["the root.json in its tuf.db"] = raw
	}
	for what, raw := range roots {
		same, err := f.serves(mirror, raw)
		if err != nil {
			return "", err
		}
		if !same {
			return what + " is not one that " + mirror + " serves", nil
		}
	}
	return "", nil
}

// serves reports whether the mirror serves exactly this version of root.
func (f *fetcher) serves(mirror string, root []byte) (bool, error) {
	m, err := metadata.Root().FromBytes(root)
	if err != nil {
		return false, nil
	}
	served, err := f.DownloadFile(fmt.Sprintf("%s/%d.root.json", mirror, m.Signed.Version), maxRoot, 0)
	var status *metadata.ErrDownloadHTTP
	if errors.As(err, &status) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("TUF repository %s: %w: is the instance running, and the URL right?", mirror, err)
	}
	return bytes.Equal(served, root), nil
}

func cachedMirror(dir string) (string, bool) {
	raw, err := os.ReadFile(filepath.Join(dir, remoteName))
	if err != nil {
		return "", false
	}
	var remote struct {
		Mirror string `json:"mirror"`
	}
	return remote.Mirror, json.Unmarshal(raw, &remote) == nil
}

// ErrRollback says that a mirror serves metadata that is older than what the cache has seen.
var ErrRollback = errors.New("the mirror serves older metadata than this cache has seen")

// checkRollback keeps what a client's cache is for: filling it anew must not forget the newest
// timestamp it has seen.
func checkRollback(stage, dir, mirror string) error {
	name := filepath.Join(sigtuf.URLToPath(mirror), "timestamp.json")
	seen, fresh := timestampVersion(filepath.Join(dir, name)), timestampVersion(filepath.Join(stage, name))
	if fresh < seen {
		return fmt.Errorf("cache directory %s: %w: timestamp version %d after %d: was the instance restored from a backup?", dir, ErrRollback, fresh, seen)
	}
	return nil
}

// timestampVersion returns 0 for a file that is missing or no timestamp.
func timestampVersion(path string) int64 {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	m, err := metadata.Timestamp().FromBytes(raw)
	if err != nil {
		return 0
	}
	return m.Signed.Version
}
