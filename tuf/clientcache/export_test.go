package clientcache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"crypto"
	"crypto/ecdsa"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// vars are the variables that a file sets, as sh sees them.
func vars(t *testing.T, file string) map[string]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "env", "-i", "sh", "-c", `. "$1" && /usr/bin/env -0`, "sh", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for line := range strings.SplitSeq(string(out), "\x00") {
		name, value, _ := strings.Cut(line, "=")
		m[name] = value
	}
	return m
}

// TestExport: what is written is what is published; the environment files name files that are
// there, and with them a client works that knows nothing else.
func TestExport(t *testing.T) {
	h, dir := newHost(t), filepath.Join(t.TempDir(), "a b", "trust")
	got, err := Export(t.Context(), ExportOptions{URL: h.URL + "/", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if got.Mirror != h.mirror() || !got.FirstUse || got.RootVersion != 1 || got.RootSHA256 != sha(h.root(t)) || got.Dir != dir {
		t.Errorf("%+v", got)
	}
	want := []string{
		"ctfe.pub", "env-cosign2.sh", "env-cosign3.sh", "env-legacy.sh", "fulcio.crt.pem", "rekor.pub", "rekor_v2.pub", "root.json",
		"signing_config.v0.2.json", "signing_config_rekor_v2.v0.2.json", "trusted_root.json", "tsa.crt.pem",
	}
	if !slices.Equal(got.Files, want) {
		t.Errorf("files %v", got.Files)
	}
	files := tree(t, dir)
	if len(files) != len(want) {
		t.Errorf("directory holds %d files", len(files))
	}
	for _, name := range want {
		switch {
		case name == "root.json":
			if files["/"+name] != string(h.root(t)) {
				t.Error("root.json differs")
			}
		case !strings.HasSuffix(name, ".sh"):
			if files["/"+name] != h.target(t, name) {
				t.Errorf("%s differs", name)
			}
		}
	}
	for _, file := range []string{trustroot.EnvCosign3Name, trustroot.EnvCosign2Name, trustroot.EnvLegacyName} {
		v := vars(t, filepath.Join(dir, file))
		tr, _, err := asCosign(v["TUF_ROOT"], v["TUF_MIRROR"], v["TUF_ROOT_JSON"])
		if err != nil || string(tr) != h.target(t, trustroot.TrustedRootName) {
			t.Errorf("%s: %v", file, err)
		}
		for name, value := range v {
			if strings.HasPrefix(name, "SIGSTORE_") {
				if _, err := os.Stat(value); err != nil {
					t.Errorf("%s: %s: %v", file, name, err)
				}
			}
			if strings.HasSuffix(name, "_URL") || strings.HasSuffix(name, "_ISSUER") {
				if value != h.URL {
					t.Errorf("%s: %s is %s", file, name, value)
				}
			}
		}
	}
}

// TestExportTar: the archive, unpacked where it was said to be, is what would have been written there.
func TestExportTar(t *testing.T) {
	h, dir := newHost(t), filepath.Join(t.TempDir(), "trust")
	var archive bytes.Buffer
	got, err := Export(t.Context(), ExportOptions{URL: h.URL, Dir: dir, Tar: &archive})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the directory was made: %v", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	unpack := exec.CommandContext(t.Context(), "tar", "-x", "-C", dir)
	unpack.Stdin = &archive
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	unpacked := tree(t, dir)
	again, err := Export(t.Context(), ExportOptions{URL: h.URL, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if written := tree(t, dir); !maps.Equal(unpacked, written) || len(written) != len(got.Files) || !slices.Equal(got.Files, again.Files) {
		t.Errorf("unpacked %d files, written %d, said %d; or they differ", len(unpacked), len(written), len(got.Files))
	}
}

// TestExportAgain: into the same directory, from the same instance and then from another that
// runs at its address. Caches of the first one do not confuse clients of the second.
func TestExportAgain(t *testing.T) {
	h, dir := newHost(t), t.TempDir()
	use := func(what string) {
		t.Helper()
		if _, err := Export(t.Context(), ExportOptions{URL: h.URL, Dir: dir}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for _, file := range []string{trustroot.EnvCosign3Name, trustroot.EnvCosign2Name} {
			v := vars(t, filepath.Join(dir, file))
			tr, _, err := asCosign(v["TUF_ROOT"], v["TUF_MIRROR"], v["TUF_ROOT_JSON"])
			if err != nil || string(tr) != h.target(t, trustroot.TrustedRootName) {
				t.Errorf("%s: %s: %v", what, file, err)
			}
		}
	}
	use("first")
	use("again")
	h.publish(t)
	h.publish(t)
	use("after publications")
	h.start(t) // its versions are lower than those in the caches
	use("another instance")
}

// TestExportAnchored: with a root given, nothing else is trusted.
func TestExportAnchored(t *testing.T) {
	h, other := newHost(t), newHost(t)
	got, err := Export(t.Context(), ExportOptions{URL: h.mirror(), Dir: t.TempDir(), Root: h.root(t)})
	if err != nil || got.FirstUse {
		t.Errorf("%+v, %v", got, err)
	}
	dir := filepath.Join(t.TempDir(), "out")
	_, err = Export(t.Context(), ExportOptions{URL: h.URL, Dir: dir, Root: other.root(t)})
	if err == nil || !strings.Contains(err.Error(), "is that the root.json of this instance") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error("something was written")
	}
}

func TestExportFails(t *testing.T) {
	h := newHost(t)
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "instance.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tc := range map[string]struct {
		ctx  context.Context
		o    ExportOptions
		want string
	}{
		"no URL":              {t.Context(), ExportOptions{URL: "localhost:8080", Dir: "x"}, "is not the URL of an instance"},
		"nobody there":        {t.Context(), ExportOptions{URL: "http://127.0.0.1:1", Dir: "x"}, "is the instance running"},
		"not an instance":     {t.Context(), ExportOptions{URL: h.URL + "/elsewhere", Dir: "x"}, "answers 404: is this the URL of a sigbox instance?"},
		"a data directory":    {t.Context(), ExportOptions{URL: h.URL, Dir: data}, "is the data directory of an instance"},
		"a file in the way":   {t.Context(), ExportOptions{URL: h.URL, Dir: filepath.Join(data, "instance.json")}, "not a directory"},
		"called off":          {ended, ExportOptions{URL: h.URL, Dir: "x"}, "context canceled"},
		"a root that is none": {t.Context(), ExportOptions{URL: h.URL, Dir: "x", Root: []byte("{}")}, "root.json to start from is not usable"},
	} {
		if _, err := Export(tc.ctx, tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("something was written")
	}
}

// TestHostileRepository: it is signed, and by the root that was trusted on first use; still its
// names become no paths, and its sizes no memory.
func TestHostileRepository(t *testing.T) {
	for name, tc := range map[string]struct {
		targets map[string]*metadata.TargetFiles
		want    string
	}{
		"a path upwards":   {map[string]*metadata.TargetFiles{"../../evil": file("x")}, "is not one of ours"},
		"an absolute path": {map[string]*metadata.TargetFiles{"/etc/evil": file("x")}, "is not one of ours"},
		"a hidden file":    {map[string]*metadata.TargetFiles{".profile": file("x")}, "is not one of ours"},
		"a huge target":    {map[string]*metadata.TargetFiles{"big": {Length: 1 << 40, Hashes: file("x").Hashes}}, "is not one of ours"},
		"too many targets": {many(300), "names 300 targets"},
		"another content":  {map[string]*metadata.TargetFiles{"a": file("y")}, "fetch target a"},
		"a foreign repository": {map[string]*metadata.TargetFiles{
			"a": file("x"),
		}, "target trusted_root.json"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "in", "out")
			srv := httptest.NewServer(hostile(t, tc.targets))
			defer srv.Close()
			if _, err := Export(t.Context(), ExportOptions{URL: srv.URL, Dir: dir}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
			if left := tree(t, filepath.Dir(filepath.Dir(dir))); len(left) != 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

func file(content string) *metadata.TargetFiles {
	m, err := metadata.TargetFile().FromBytes("x", []byte(content), "sha256")
	if err != nil {
		panic(err)
	}
	return m
}

func many(n int) map[string]*metadata.TargetFiles {
	out := map[string]*metadata.TargetFiles{}
	for i := range n {
		out[fmt.Sprint("t", i)] = file("x")
	}
	return out
}

// hostile serves a repository with these targets; each file's content is "x".
func hostile(t *testing.T, targets map[string]*metadata.TargetFiles) http.Handler {
	t.Helper()
	key := tuftest.Key(t)
	pub, err := metadata.KeyFromPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	r, ta, sn, ti := metadata.Root(expires), metadata.Targets(expires), metadata.Snapshot(expires), metadata.Timestamp(expires)
	for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
		if err := r.Signed.AddKey(pub, role); err != nil {
			t.Fatal(err)
		}
	}
	ta.Signed.Targets = targets
	files := map[string][]byte{
		"/tuf/root.json": signed(t, r, key), "/tuf/1.targets.json": signed(t, ta, key),
		"/tuf/1.snapshot.json": signed(t, sn, key), "/tuf/timestamp.json": signed(t, ti, key),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, ok := files[req.URL.Path]
		if !ok && strings.HasPrefix(req.URL.Path, "/tuf/targets/") {
			body, ok = []byte("x"), true
		}
		if !ok {
			http.NotFound(w, req)
			return
		}
		_, _ = w.Write(body)
	})
}

func signed[T metadata.Roles](t *testing.T, m *metadata.Metadata[T], key crypto.Signer) []byte {
	t.Helper()
	s, err := signature.LoadECDSASigner(key.(*ecdsa.PrivateKey), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Sign(s); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(m); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestMirrorURL(t *testing.T) {
	for raw, want := range map[string]string{
		"http://127.0.0.1:8080":        "http://127.0.0.1:8080/tuf",
		"http://127.0.0.1:8080/":       "http://127.0.0.1:8080/tuf",
		"http://127.0.0.1:8080/tuf":    "http://127.0.0.1:8080/tuf",
		"http://127.0.0.1:8080/tuf/":   "http://127.0.0.1:8080/tuf",
		"https://tuf.example.com/a":    "https://tuf.example.com/a/tuf",
		"":                             "",
		"127.0.0.1:8080":               "",
		"ftp://x":                      "",
		"https://user:pass@example.io": "",
		"https://example.io?x":         "",
		"http://":                      "",
	} {
		got, err := MirrorURL(raw)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", raw, got, err)
		}
	}
}
