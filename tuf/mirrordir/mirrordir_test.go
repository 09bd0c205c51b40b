package mirrordir

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

func list(a, b string) []tuf.Target {
	return []tuf.Target{{Name: "a", Content: []byte(a)}, {Name: "b", Content: []byte(b)}}
}

// read is a new client of a plain web server over the directory; it returns both targets.
func read(t *testing.T, url string, root []byte) (string, error) {
	t.Helper()
	cfg, err := config.New(url, root)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DisableLocalCache = true
	up, err := updater.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Refresh(); err != nil {
		return "", err
	}
	var out []string
	for _, name := range []string{"a", "b"} {
		info, err := up.GetTargetInfo(name)
		if err != nil {
			return "", err
		}
		info.Path = name
		_, data, err := up.DownloadTarget(info, name, "")
		if err != nil {
			return "", err
		}
		out = append(out, string(data))
	}
	return strings.Join(out, " "), nil
}

// B-207: writing stops before each file in turn. Every time, a client of the directory gets the
// old set or the new one, whole; and the next write finishes the work.
func TestStoppedBeforeEachFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "public")
	srv := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer srv.Close()
	cfg := tuftest.Config(t, clock.System{})
	r := tuf.New(cfg)
	if err := r.Create(t.Context(), list("old", "old")); err != nil {
		t.Fatal(err)
	}
	root, _ := r.Published().File("1.root.json")
	if err := New(dir).Write(t.Context(), r.Published()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Publish(t.Context(), list("new", "new")); err != nil {
		t.Fatal(err)
	}
	stop, seen := errors.New("stop"), map[string]int{}
	for _, at := range r.Published().Files() {
		d := New(dir)
		d.fault = func(path string) error {
			if path == at.Path {
				return stop
			}
			return nil
		}
		if err := d.Write(t.Context(), r.Published()); !errors.Is(err, stop) {
			t.Fatalf("%s: %v", at.Path, err)
		}
		got, err := read(t, srv.URL, root.Bytes)
		if err != nil || got != "old old" && got != "new new" {
			t.Errorf("stopped before %s: %q, %v", at.Path, got, err)
		}
		seen[got]++
	}
	if seen["old old"] != len(r.Published().Files()) {
		t.Errorf("%v: the timestamp is not the last file, which makes all others count", seen)
	}
	if err := New(dir).Write(t.Context(), r.Published()); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, srv.URL, root.Bytes); err != nil || got != "new new" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestFollowsARepository: the directory is written with each publication and renewal, is public,
// and holds nothing else.
func TestFollowsARepository(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "public")
	c := clock.NewManual(time.Now().Add(-3 * 24 * time.Hour))
	cfg := tuftest.Config(t, c)
	cfg.Mirror = New(dir)
	r := tuf.New(cfg)
	if err := r.Create(t.Context(), list("1", "1")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Publish(t.Context(), list("2", "1")); err != nil {
		t.Fatal(err)
	}
	c.Advance(2 * 24 * time.Hour)
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, f := range r.Published().Files() {
		want[f.Path] = true
		raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path)))
		if err != nil || string(raw) != string(f.Bytes) {
			t.Errorf("%s: %v", f.Path, err)
		}
	}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if !want[filepath.ToSlash(rel)] || info.Mode().Perm() != 0o644 {
			t.Errorf("%s, mode %v", rel, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestRepairs: a file that was damaged is put right by the next process that writes.
func TestRepairs(t *testing.T) {
	dir := t.TempDir()
	r := tuftest.Repository(t, tuftest.Config(t, clock.System{}), tuftest.Material(t, "http://127.0.0.1", time.Now()))
	if err := New(dir).Write(t.Context(), r.Published()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "1.targets.json")
	if err := os.WriteFile(path, []byte("torn"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := New(dir).Write(t.Context(), r.Published()); err != nil {
		t.Fatal(err)
	}
	want, _ := r.Published().File("1.targets.json")
	if got, err := os.ReadFile(path); err != nil || string(got) != string(want.Bytes) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCannotWrite(t *testing.T) {
	r := tuftest.Repository(t, tuftest.Config(t, clock.System{}), tuftest.Material(t, "http://127.0.0.1", time.Now()))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(file).Write(t.Context(), r.Published()); err == nil {
		t.Error("wrote into a file")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(t.TempDir()).Write(ctx, r.Published()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
