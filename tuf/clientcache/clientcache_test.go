package clientcache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sigstore/sigstore-go/pkg/root"
	sigtuf "github.com/sigstore/sigstore-go/pkg/tuf"
	//lint:ignore SA1019 gitsign, Kyverno and policy-controller still read their caches with it
	legacy "github.com/sigstore/sigstore/pkg/tuf"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
	"github.com/sigbox/sigbox/tuf/web"
)

// TestMain lets the test binary be a legacy client: sigstore/pkg/tuf keeps one client in a
// process, so each look into a cache takes a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv("CLIENTCACHE_TEST_LEGACY") != "" {
		if err := beLegacyClient(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// legacyView is what a legacy client gets from its cache.
type legacyView struct {
	Mirror string
	Usage  map[string][]string // contents by usage
	Root   string              // trusted_root.json, as Kyverno reads it
}

func beLegacyClient() error {
	c, err := legacy.NewFromEnv(context.Background())
	if err != nil {
		return err
	}
	view := legacyView{Mirror: c.Mirror(), Usage: map[string][]string{}}
	for name, usage := range map[string]legacy.UsageKind{"Fulcio": legacy.Fulcio, "Rekor": legacy.Rekor, "CTFE": legacy.CTFE, "TSA": legacy.TSA} {
		targets, err := c.GetTargetsByMeta(usage, nil)
		if err != nil {
			return err
		}
		for _, t := range targets {
			view.Usage[name] = append(view.Usage[name], string(t.Target))
		}
	}
	tr, err := c.GetTarget("trusted_root.json")
	if err != nil {
		return err
	}
	view.Root = string(tr)
	return json.NewEncoder(os.Stdout).Encode(view)
}

// asLegacyClient is gitsign, Kyverno's command line or policy-controller's tester on the cache.
func asLegacyClient(t *testing.T, dir string) (legacyView, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = []string{"CLIENTCACHE_TEST_LEGACY=1", "TUF_ROOT=" + dir, "HOME=" + t.TempDir()}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return legacyView{}, fmt.Errorf("%w: %s", err, stderr.String())
	}
	var v legacyView
	return v, json.Unmarshal(out, &v)
}

// asCosign reads a cache as cosign 2 and 3 do: mirror and root from the environment, else what
// the cache says (COMPAT.md 5.4).
func asCosign(dir, mirror, rootFile string) (trustedRoot, signingConfig []byte, err error) {
	if mirror == "" {
		m, ok := cachedMirror(dir)
		if !ok {
			return nil, nil, errors.New("no remote.json: cosign would go to the public instance")
		}
		mirror = m
	}
	if rootFile == "" {
		rootFile = filepath.Join(dir, sigtuf.URLToPath(mirror), "root.json")
	}
	raw, err := os.ReadFile(rootFile)
	if err != nil {
		return nil, nil, err
	}
	opts := sigtuf.DefaultOptions().WithCachePath(dir).WithRepositoryBaseURL(mirror).WithRoot(raw)
	c, err := sigtuf.New(opts)
	if err != nil {
		return nil, nil, err
	}
	if trustedRoot, err = c.GetTarget("trusted_root.json"); err != nil {
		return nil, nil, err
	}
	if _, err := root.NewTrustedRootFromJSON(trustedRoot); err != nil {
		return nil, nil, err
	}
	signingConfig, err = c.GetTarget("signing_config.v0.2.json")
	return trustedRoot, signingConfig, err
}

// host is one address at which instances can run, one after another.
type host struct {
	*httptest.Server
	repo atomic.Pointer[tuf.Repository]
	fail atomic.Int32 // status for everything; 0: none
	seen atomic.Int64 // requests
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{}
	mux := http.NewServeMux()
	web.New("/tuf", func() *tuf.Published {
		if r := h.repo.Load(); r != nil {
			return r.Published()
		}
		return nil
	}, nil).Register(mux)
	inner := httpx.Handler(mux, slog.New(slog.DiscardHandler), httpx.NewMetrics(prometheus.NewRegistry()))
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.seen.Add(1)
		if status := h.fail.Load(); status != 0 {
			w.WriteHeader(int(status))
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(h.Close)
	h.start(t)
	return h
}

func (h *host) mirror() string { return h.URL + "/tuf" }

// start runs a new instance at the address.
func (h *host) start(t *testing.T) *tuf.Repository {
	t.Helper()
	r := tuftest.Repository(t, tuftest.Config(t, clock.System{}), tuftest.Material(t, h.URL, time.Now()))
	h.repo.Store(r)
	return r
}

func (h *host) publish(t *testing.T) {
	t.Helper()
	if changed, err := h.repo.Load().Publish(t.Context(), tuftest.Compose(t, tuftest.Material(t, h.URL, time.Now()))); err != nil || !changed {
		t.Fatal(changed, err)
	}
}

func (h *host) root(t *testing.T) []byte {
	t.Helper()
	f, ok := h.repo.Load().Published().File("root.json")
	if !ok {
		t.Fatal("no root")
	}
	return f.Bytes
}

func (h *host) target(t *testing.T, name string) string {
	t.Helper()
	f, ok := h.repo.Load().Published().Target(name)
	if !ok {
		t.Fatalf("no target %s", name)
	}
	return string(f.Bytes)
}

func (h *host) init(t *testing.T, dir string) (Initialised, error) {
	t.Helper()
	return Init(t.Context(), InitOptions{Mirror: h.mirror(), Root: h.root(t), Dir: dir})
}

// checkCache looks into a cache with both generations of clients.
func (h *host) checkCache(t *testing.T, dir string) {
	t.Helper()
	tr, sc, err := asCosign(dir, "", "")
	if err != nil || string(tr) != h.target(t, trustroot.TrustedRootName) || string(sc) != h.target(t, trustroot.SigningConfigName) {
		t.Errorf("cosign: %v", err)
	}
	v, err := asLegacyClient(t, dir)
	if err != nil {
		t.Fatalf("legacy client: %v", err)
	}
	if v.Mirror != h.mirror() || v.Root != h.target(t, trustroot.TrustedRootName) {
		t.Errorf("legacy client: mirror %s", v.Mirror)
	}
	for usage, name := range map[string]string{"Fulcio": trustroot.FulcioName, "Rekor": trustroot.RekorName, "CTFE": trustroot.CTName, "TSA": trustroot.TSAName} {
		if want := h.target(t, name); !slices.Equal(v.Usage[usage], []string{want}) {
			t.Errorf("legacy client: %s: %d targets", usage, len(v.Usage[usage]))
		}
	}
}

// tree is every file below dir with its content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir)] = string(raw)
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return out
}

func sha(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
