package web_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	legacy "github.com/theupdateframework/go-tuf/client"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// client is one generation of TUF client with a cache of its own.
type client interface {
	// fetch updates and returns a target.
	fetch(name string) ([]byte, error)
}

// modern is go-tuf v2, as sigstore-go uses it; every fetch is a process of its own.
type modern struct {
	mirror string
	root   []byte
	dir    string
}

func (c *modern) fetch(name string) ([]byte, error) {
	cfg, err := config.New(c.mirror, c.root)
	if err != nil {
		return nil, err
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = c.dir, c.dir+"/targets"
	up, err := updater.New(cfg)
	if err != nil {
		return nil, err
	}
	if err := up.Refresh(); err != nil {
		return nil, err
	}
	info, err := up.GetTargetInfo(name)
	if err != nil {
		return nil, err
	}
	info.Path = name
	_, data, err := up.DownloadTarget(info, "", "")
	return data, err
}

// older is go-tuf 0.7, as sigstore/pkg/tuf uses it.
type older struct {
	client *legacy.Client
	local  legacy.LocalStore
	remote legacy.RemoteStore
}

// again is another process with the same cache.
func (c *older) again() { c.client = legacy.NewClient(c.local, c.remote) }

func newOlder(t testing.TB, mirror string, root []byte) *older {
	t.Helper()
	remote, err := legacy.HTTPRemoteStore(mirror, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &older{local: legacy.MemoryLocalStore(), remote: remote}
	c.again()
	if err := c.client.Init(root); err != nil {
		t.Fatal(err)
	}
	return c
}

type buffer struct{ bytes.Buffer }

func (b *buffer) Delete() error { b.Reset(); return nil }

func (c *older) fetch(name string) ([]byte, error) {
	if _, err := c.client.Update(); err != nil {
		return nil, err
	}
	var out buffer
	err := c.client.Download(name, &out)
	return out.Bytes(), err
}

func clients(t testing.TB, mirror string, root []byte) map[string]client {
	return map[string]client{
		"go-tuf v2":  &modern{mirror: mirror, root: root, dir: t.TempDir()},
		"go-tuf 0.7": newOlder(t, mirror, root),
	}
}

func rootOf(t testing.TB, r *tuf.Repository) []byte {
	t.Helper()
	f, ok := r.Published().File("1.root.json")
	if !ok {
		t.Fatal("no root")
	}
	return f.Bytes
}

// TestBothGenerations: each client keeps its cache through first use, nothing new, a publication,
// a renewal of the timestamp and one of the snapshot.
func TestBothGenerations(t *testing.T) {
	c := clock.NewManual(time.Now().Add(-20 * 24 * time.Hour).UTC()) // so that time can pass, yet not beyond the clients' clock
	cfg := tuftest.Config(t, c)
	cfg.Lifetimes.Timestamp = 40 * 24 * time.Hour
	cfg.Lifetimes.RenewTimestamp = 39 * 24 * time.Hour
	r := tuf.New(cfg)
	srv := serve(t, r)
	m := tuftest.Material(t, srv.URL, time.Now())
	if err := r.Create(t.Context(), tuftest.Compose(t, m)); err != nil {
		t.Fatal(err)
	}
	all := clients(t, srv.URL+"/tuf", rootOf(t, r))
	step := func(name string, do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for generation, cl := range all {
			for _, target := range []string{trustroot.TrustedRootName, trustroot.SigningConfigName, trustroot.SigningConfigV2Name, trustroot.RekorName, trustroot.FulcioName} {
				want, _ := r.Published().Target(target)
				if got, err := cl.fetch(target); err != nil || !bytes.Equal(got, want.Bytes) {
					t.Errorf("%s: %s: %s: %v", name, generation, target, err)
				}
			}
		}
	}
	step("first use", func() error { return nil })
	step("nothing new", func() error { return r.Refresh(t.Context()) })
	step("a publication", func() error {
		changed, err := r.Publish(t.Context(), tuftest.Compose(t, tuftest.Material(t, srv.URL, time.Now())))
		if !changed {
			return errors.New("nothing was published")
		}
		return err
	})
	step("a renewal of the timestamp", func() error {
		c.Advance(2 * 24 * time.Hour)
		if err := r.Refresh(t.Context()); err != nil || r.Published().Versions() != (tuf.Versions{Root: 1, Targets: 2, Snapshot: 2, Timestamp: 3}) {
			return fmt.Errorf("%+v, %w", r.Published().Versions(), err)
		}
		return nil
	})
	step("a renewal of the snapshot", func() error {
		c.Advance(16 * 24 * time.Hour)
		if err := r.Refresh(t.Context()); err != nil || r.Published().Versions() != (tuf.Versions{Root: 1, Targets: 2, Snapshot: 3, Timestamp: 4}) {
			return fmt.Errorf("%+v, %w", r.Published().Versions(), err)
		}
		return nil
	})
}

// TestExpired: what is expired is served, and both generations refuse it.
func TestExpired(t *testing.T) {
	cfg := tuftest.Config(t, clock.NewManual(time.Now().Add(-8*24*time.Hour)))
	r := tuf.New(cfg)
	srv := serve(t, r)
	if err := r.Create(t.Context(), tuftest.Compose(t, tuftest.Material(t, srv.URL, time.Now()))); err != nil {
		t.Fatal(err)
	}
	for generation, c := range clients(t, srv.URL+"/tuf", rootOf(t, r)) {
		if _, err := c.fetch(trustroot.TrustedRootName); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("%s: %v", generation, err)
		}
	}
	cfg.Clock = clock.System{}
	renewed := tuf.New(cfg)
	if err := renewed.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for generation, c := range clients(t, serve(t, renewed).URL+"/tuf", rootOf(t, r)) {
		if _, err := c.fetch(trustroot.TrustedRootName); err != nil {
			t.Errorf("%s, once it is renewed: %v", generation, err)
		}
	}
}

// TestAnotherInstancesRoot: both generations refuse a repository that their root did not sign.
func TestAnotherInstancesRoot(t *testing.T) {
	srv, _, _ := instance(t)
	_, other, _ := instance(t)
	for generation, c := range clients(t, srv.URL+"/tuf", rootOf(t, other)) {
		if _, err := c.fetch(trustroot.TrustedRootName); err == nil {
			t.Errorf("%s takes it", generation)
		}
	}
}

// TestNextRootIsMissingFor404Only: why TestNotFound matters. A server that answers anything else
// for the next root stops go-tuf v2.
func TestNextRootIsMissingFor404Only(t *testing.T) {
	_, r, _ := instance(t)
	for status, ok := range map[int]bool{404: true, 403: false, 200: false, 301: false} {
		mux := http.NewServeMux()
		mux.HandleFunc("/tuf/2.root.json", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/tuf/1.root.json")
			w.WriteHeader(status)
		})
		mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
			f, found := r.Published().File(strings.TrimPrefix(req.URL.Path, "/tuf/"))
			if !found {
				http.NotFound(w, req)
				return
			}
			_, _ = w.Write(f.Bytes)
		})
		front := newServer(t, mux)
		c := &modern{mirror: front + "/tuf", root: rootOf(t, r), dir: t.TempDir()}
		if _, err := c.fetch(trustroot.TrustedRootName); (err == nil) != ok {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// B-206: readers of both generations, while publishers publish as fast as they can: every update
// succeeds, and what each reader sees only moves forward.
func TestReadersDuringPublications(t *testing.T) {
	srv, r, m := instance(t)
	ctx, cancel := context.WithCancel(t.Context())
	var publishers, readers sync.WaitGroup
	var published atomic.Int64
	publishers.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			next := m
			next.Operator = fmt.Sprint("operator-", i)
			if _, err := r.Publish(context.Background(), tuftest.Compose(t, next)); err != nil {
				t.Error(err)
				return
			}
			published.Add(1)
		}
	})
	root := rootOf(t, r)
	for range 2 {
		for generation, c := range clients(t, srv.URL+"/tuf", root) {
			readers.Go(func() {
				for range 15 {
					got, err := c.fetch(trustroot.SigningConfigName)
					// The legacy client loads targets only when they changed, so what it may ask for
					// next can be older than what is current: the old file must still be there.
					if err != nil || !bytes.Contains(got, []byte(`"operator"`)) {
						t.Errorf("%s: %v", generation, err)
						return
					}
				}
			})
		}
	}
	readers.Wait()
	cancel()
	publishers.Wait()
	if published.Load() < 3 {
		t.Errorf("only %d publications: the readers met none", published.Load())
	}
}
