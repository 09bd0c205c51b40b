package clientcache

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sigtuf "github.com/sigstore/sigstore-go/pkg/tuf"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
	"time"
)

// TestInit: one run serves both generations; so does the cache after a publication, after another
// run, and with the instance gone.
func TestInit(t *testing.T) {
	h, dir := newHost(t), filepath.Join(t.TempDir(), "new", "root")
	got, err := h.init(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if got != (Initialised{Dir: dir, Mirror: h.mirror(), RootVersion: 1}) {
		t.Errorf("%+v", got)
	}
	h.checkCache(t, dir)
	for _, path := range []string{"remote.json", "tuf.db", "targets/rekor.pub", sigtuf.URLToPath(h.mirror()) + "/targets/" + trustroot.SigningConfigV2Name} {
		st, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Error(err)
		} else if path == "remote.json" && st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, st.Mode())
		}
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 5 {
		t.Errorf("cache holds %v, %v", entries, err)
	}

	if _, err := h.init(t, dir); err != nil {
		t.Fatalf("again: %v", err)
	}
	h.checkCache(t, dir)

	h.publish(t)
	if tr, _, err := asCosign(dir, "", ""); err != nil || string(tr) != h.target(t, trustroot.TrustedRootName) {
		t.Errorf("cosign does not see the publication: %v", err)
	}
	if _, err := h.init(t, dir); err != nil { // legacy clients look only when their timestamp expires
		t.Fatalf("after a publication: %v", err)
	}
	h.checkCache(t, dir)

	h.fail.Store(500)
	if v, err := asLegacyClient(t, dir); err != nil || v.Root != h.target(t, trustroot.TrustedRootName) {
		t.Errorf("legacy client without the instance: %v", err)
	}
}

// TestInitAfterCosign: `cosign initialize` leaves legacy clients without a cache; Init beside it
// mends that, and files of others in the directory stay.
func TestInitAfterCosign(t *testing.T) {
	h, dir := newHost(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "remote.json"), []byte(`{"mirror":"`+h.mirror()+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	rootFile := filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(rootFile, h.root(t), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := asCosign(dir, h.mirror(), rootFile); err != nil {
		t.Fatal(err)
	}
	if _, err := asLegacyClient(t, dir); err == nil {
		t.Fatal("a legacy client works without Init: the test shows nothing")
	}
	if err := os.WriteFile(filepath.Join(dir, "mine.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.init(t, dir); err != nil {
		t.Fatal(err)
	}
	h.checkCache(t, dir)
	if _, err := os.Stat(filepath.Join(dir, "mine.txt")); err != nil {
		t.Error(err)
	}
}

// TestInitOtherInstance: a cache of another instance is not overwritten unasked, whichever
// generation filled it; the error says what it found and what mends it.
func TestInitOtherInstance(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, h *host, dir string)
		want  string
	}{
		{"another mirror", func(t *testing.T, h *host, dir string) {
			if _, err := newHost(t).init(t, dir); err != nil {
				t.Fatal(err)
			}
		}, "it was initialised for http://127.0.0.1:"},
		{"the public instance", func(t *testing.T, h *host, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "remote.json"), []byte(`{"mirror":"https://tuf-repo-cdn.sigstore.dev"}`), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "it was initialised for https://tuf-repo-cdn.sigstore.dev"},
		{"an instance that ran there before", func(t *testing.T, h *host, dir string) {
			if _, err := h.init(t, dir); err != nil {
				t.Fatal(err)
			}
			h.start(t)
		}, "is not one that " /* the mirror serves */},
		{"a cosign cache of one that ran there before", func(t *testing.T, h *host, dir string) {
			if _, err := h.init(t, dir); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"tuf.db", "targets", "remote.json"} {
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			h.start(t)
		}, "the root.json it has for this mirror is not one that "},
		{"a legacy cache of another instance", func(t *testing.T, h *host, dir string) {
			if _, err := newHost(t).init(t, dir); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, "remote.json")); err != nil {
				t.Fatal(err)
			}
		}, "the root.json in its tuf.db is not one that "},
		{"a tuf.db that is none", func(t *testing.T, h *host, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "tuf.db"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "its tuf.db cannot be read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, dir := newHost(t), t.TempDir()
			tc.spoil(t, h, dir)
			before := tree(t, dir)
			_, err := h.init(t, dir)
			if !errors.Is(err, ErrOtherInstance) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "rm -r "+dir) {
				t.Fatalf("error %v\nwant one that says %q", err, tc.want)
			}
			if after := tree(t, dir); !sameCache(before, after) {
				t.Error("a refused Init changed the cache")
			}
			got, err := Init(t.Context(), InitOptions{Mirror: h.mirror() + "/", Root: h.root(t), Dir: dir, Replace: true})
			if err != nil || !got.Replaced {
				t.Fatalf("replace: %+v, %v", got, err)
			}
			h.checkCache(t, dir)
		})
	}
}

// sameCache compares trees, apart from the log and lock that opening a leveldb writes.
func sameCache(a, b map[string]string) bool {
	strip := func(m map[string]string) map[string]string {
		out := maps.Clone(m)
		maps.DeleteFunc(out, func(name, _ string) bool { return strings.HasPrefix(name, "/tuf.db/") })
		return out
	}
	return maps.Equal(strip(a), strip(b))
}

// TestInitFails: nothing is left behind, and a cache that worked still works.
func TestInitFails(t *testing.T) {
	h, dir := newHost(t), t.TempDir()
	other := newHost(t)
	if _, err := h.init(t, dir); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	for name, tc := range map[string]struct {
		do   func() error
		want string
	}{
		"the root of another instance": {func() error {
			_, err := Init(t.Context(), InitOptions{Mirror: h.mirror(), Root: other.root(t), Dir: dir})
			return err
		}, "is that the root.json of this instance"},
		"no root": {func() error {
			_, err := Init(t.Context(), InitOptions{Mirror: h.mirror(), Root: []byte("x"), Dir: dir})
			return err
		}, "root.json to start from is not usable"},
		"the instance's URL for the mirror's": {func() error {
			_, err := Init(t.Context(), InitOptions{Mirror: h.URL, Root: h.root(t), Dir: dir})
			return err
		}, "ends in /tuf"},
		"no URL": {func() error {
			_, err := Init(t.Context(), InitOptions{Mirror: "file:///x", Root: h.root(t), Dir: dir})
			return err
		}, "is not the URL"},
		"the instance down": {func() error {
			h.fail.Store(503)
			defer h.fail.Store(0)
			_, err := h.init(t, dir)
			return err
		}, "503"},
		"nobody there": {func() error {
			_, err := Init(t.Context(), InitOptions{Mirror: "http://127.0.0.1:1/tuf", Root: h.root(t), Dir: dir})
			return err
		}, "is the instance running"},
	} {
		if err := tc.do(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		if !maps.Equal(tree(t, dir), before) {
			t.Errorf("%s: the cache changed", name)
		}
	}
	h.checkCache(t, dir)
}

// TestInitRollback: an instance restored from a backup serves less than the cache has seen.
func TestInitRollback(t *testing.T) {
	h, dir := newHost(t), t.TempDir()
	cfg := tuftest.Config(t, clock.System{})
	m := tuftest.Material(t, h.URL, time.Now())
	h.repo.Store(tuftest.Repository(t, cfg, m))
	backup := h.repo.Load()
	ahead := tuf.New(cfg)
	if _, err := ahead.Publish(t.Context(), tuftest.Compose(t, tuftest.Material(t, h.URL, time.Now()))); err != nil {
		t.Fatal(err)
	}
	h.repo.Store(ahead)
	if _, err := h.init(t, dir); err != nil {
		t.Fatal(err)
	}
	h.repo.Store(backup)
	if _, err := h.init(t, dir); !errors.Is(err, ErrRollback) {
		t.Errorf("%v", err)
	}
}

// TestInitRefusesData: a directory that cosign will empty must hold no instance.
func TestInitRefusesData(t *testing.T) {
	h := newHost(t)
	for _, at := range []string{"", "sigbox-data"} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, at, "instance.json"), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		before := tree(t, dir)
		if _, err := h.init(t, dir); err == nil || !strings.Contains(err.Error(), "holds the data of an instance") {
			t.Errorf("%q: %v", at, err)
		}
		if !maps.Equal(tree(t, dir), before) {
			t.Error("something was written")
		}
	}
}

func TestDefaultDir(t *testing.T) {
	t.Setenv("TUF_ROOT", "/tmp/x")
	if dir, err := DefaultDir(); err != nil || dir != "/tmp/x" {
		t.Error(dir, err)
	}
	t.Setenv("TUF_ROOT", "")
	t.Setenv("HOME", "/home/u")
	if dir, err := DefaultDir(); err != nil || dir != "/home/u/.sigstore/root" {
		t.Error(dir, err)
	}
}
