package foreign_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/foreign"
	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// world is somebody's TUF repository, of which everything can be wrong.
type world struct {
	t     testing.TB
	keys  map[string]crypto.Signer // by role
	files map[string][]byte

	root, timestamp, snapshot, targets int64
	life                               map[string]time.Duration
	content, config                    []byte // config: nil for none
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, keys: map[string]crypto.Signer{}, files: map[string][]byte{}, root: 1, timestamp: 1, snapshot: 1, targets: 1}
	for _, role := range []string{tuf.Root, tuf.Targets, tuf.Snapshot, tuf.Timestamp} {
		w.keys[role] = tuftest.Key(t)
	}
	w.life = map[string]time.Duration{tuf.Root: 365 * day, tuf.Targets: 100 * day, tuf.Snapshot: 30 * day, tuf.Timestamp: 7 * day}
	w.content, w.config = targetsOf(t, "https://foreign.example")
	w.publish(w.keys[tuf.Root])
	return w
}

// targetsOf are the trusted root and the signing configuration of a new instance.
func targetsOf(t testing.TB, url string) (trusted, config []byte) {
	t.Helper()
	for _, target := range tuftest.Compose(t, tuftest.Material(t, url, now)) {
		switch target.Name {
		case trustroot.TrustedRootName:
			trusted = target.Content
		case trustroot.SigningConfigName:
			config = target.Content
		}
	}
	return trusted, config
}

// Fetch implements foreign.Source.
func (w *world) Fetch(_ context.Context, path string, max int64) ([]byte, error) {
	raw, ok := w.files[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	if int64(len(raw)) > max {
		return nil, fmt.Errorf("%s is too large", path)
	}
	return raw, nil
}

func (w *world) expires(role string) time.Time { return now.Add(w.life[role]).Truncate(time.Second) }

// publish signs everything, root with the keys that are given.
func (w *world) publish(rootKeys ...crypto.Signer) {
	w.t.Helper()
	root := metadata.Root(w.expires(tuf.Root))
	root.Signed.Version = w.root
	for role, key := range w.keys {
		k, err := metadata.KeyFromPublicKey(key.Public())
		if err != nil {
			w.t.Fatal(err)
		}
		id, err := k.ID()
		if err != nil {
			w.t.Fatal(err)
		}
		root.Signed.Keys[id] = k
		root.Signed.Roles[role] = &metadata.Role{KeyIDs: []string{id}, Threshold: 1}
	}
	if path := fmt.Sprintf("%d.root.json", w.root); w.files[path] == nil {
		w.files[path] = signed(w.t, root, rootKeys...)
	}

	targets := metadata.Targets(w.expires(tuf.Targets))
	targets.Signed.Version = w.targets
	for name, content := range map[string][]byte{trustroot.TrustedRootName: w.content, trustroot.SigningConfigName: w.config} {
		if content == nil {
			continue
		}
		sum := sha256.Sum256(content)
		targets.Signed.Targets[name] = &metadata.TargetFiles{Length: int64(len(content)), Hashes: metadata.Hashes{"sha256": sum[:]}, Path: name}
		w.files[fmt.Sprintf("targets/%x.%s", sum, name)] = content
	}
	w.files[fmt.Sprintf("%d.targets.json", w.targets)] = signed(w.t, targets, w.keys[tuf.Targets])

	snapshot := metadata.Snapshot(w.expires(tuf.Snapshot))
	snapshot.Signed.Version = w.snapshot
	snapshot.Signed.Meta = map[string]*metadata.MetaFiles{"targets.json": {Version: w.targets}}
	w.files[fmt.Sprintf("%d.snapshot.json", w.snapshot)] = signed(w.t, snapshot, w.keys[tuf.Snapshot])

	timestamp := metadata.Timestamp(w.expires(tuf.Timestamp))
	timestamp.Signed.Version = w.timestamp
	timestamp.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": {Version: w.snapshot}}
	w.files["timestamp.json"] = signed(w.t, timestamp, w.keys[tuf.Timestamp])
}

func signed[T metadata.Roles](t testing.TB, m *metadata.Metadata[T], keys ...crypto.Signer) []byte {
	t.Helper()
	payload, err := cjson.EncodeCanonical(m.Signed)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(payload)
	for _, key := range keys {
		k, err := metadata.KeyFromPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		id, err := k.ID()
		if err != nil {
			t.Fatal(err)
		}
		sig, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		m.Signatures = append(m.Signatures, metadata.Signature{KeyID: id, Signature: sig})
	}
	raw, err := m.ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// next publishes newer versions of everything below root.
func (w *world) next() {
	w.timestamp, w.snapshot, w.targets = w.timestamp+1, w.snapshot+1, w.targets+1
	w.publish(w.keys[tuf.Root])
}

// another replaces the keys of a role, in a new root.
func (w *world) another(role string) {
	before := w.keys[tuf.Root]
	w.keys[role] = tuftest.Key(w.t)
	w.root++
	signers := []crypto.Signer{before}
	if role == tuf.Root {
		signers = append(signers, w.keys[tuf.Root])
	}
	w.publish(signers...)
}

// taken is the root as it is taken first.
func (w *world) taken() foreign.Root {
	w.t.Helper()
	r, err := foreign.Take(w.t.Context(), w, foreign.Root{Name: "acme", Repository: "https://foreign.example/tuf"}, w.files["1.root.json"], now)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}
