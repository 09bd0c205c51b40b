package web_test

import (
	"bytes"
	"cmp"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/tuftest"
	"github.com/sigbox/sigbox/tuf/web"
)

// The cases of tuf-conformance that concern repositories, by its names. That suite drives clients against a
// repository of its own; here what it has its repository do is asked of ours. Cases in which its repository
// attacks are those that ours must refuse to publish. Not here are the cases of delegations and of unusual role
// names, which this repository has not (package tuf), of files in directories, which it refuses, and those of what
// clients alone do (an initial root that is broken, a cache of targets, fields that are not known, keys that are
// not P-256).

// conformant is a repository with keys by number, and its mirror.
type conformant struct {
	t       *testing.T
	cfg     tuf.Config
	repo    *tuf.Repository
	mirror  string
	numbers []crypto.Signer
	root    tuf.RootSigners

	clock *clock.Manual
	lives map[string]time.Duration // of what people sign; a day where there is none

	mu     sync.Mutex
	asked  []string          // paths, in order
	forged map[string][]byte // what an attacker serves in the place of a path
}

func newConformant(t *testing.T) *conformant {
	t.Helper()
	c := &conformant{t: t, clock: clock.NewManual(time.Now().UTC()), lives: map[string]time.Duration{}, forged: map[string][]byte{}}
	c.cfg = tuftest.Config(t, c.clock)
	for range 10 {
		c.numbers = append(c.numbers, tuftest.Key(t))
	}
	one := func(k crypto.Signer) tuf.Signers {
		return tuf.Signers{Keys: []crypto.PublicKey{k.Public()}, Threshold: 1}
	}
	c.root = tuf.RootSigners{Root: one(c.numbers[1]), Targets: one(c.cfg.Keys.Targets), Snapshot: one(c.cfg.Keys.Snapshot), Timestamp: one(c.cfg.Keys.Timestamp)}
	c.repo = tuf.New(c.cfg)
	mux := http.NewServeMux()
	web.New("/tuf", c.repo.Published, nil).Register(mux)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		path := strings.TrimPrefix(r.URL.Path, "/tuf/")
		c.asked = append(c.asked, path)
		forged := c.forged[path]
		c.mu.Unlock()
		if forged != nil {
			_, _ = w.Write(forged)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	c.mirror = server.URL + "/tuf"
	return c
}

func (c *conformant) of(s rotationStep) tuf.Signers {
	signers := tuf.Signers{Threshold: s.threshold}
	for _, n := range s.keys {
		signers.Keys = append(signers.Keys, c.numbers[n].Public())
	}
	return signers
}

func (c *conformant) targetsKeys() []crypto.Signer { return []crypto.Signer{c.cfg.Keys.Targets} }

func (c *conformant) signers(numbers []int) (list []crypto.Signer) {
	for _, n := range numbers {
		list = append(list, c.numbers[n])
	}
	return list
}

// signedBy adds signatures to a version of a role, as holders of keys do that nobody checks.
func signedBy[T metadata.Roles](t *testing.T, m *metadata.Metadata[T], raw []byte, keys ...crypto.Signer) []byte {
	t.Helper()
	m, err := m.FromBytes(raw)
	for _, k := range keys {
		if err != nil {
			break
		}
		var s signature.Signer
		if s, err = signature.LoadSigner(k, crypto.SHA256); err == nil {
			_, err = m.Sign(s)
		}
	}
	if err == nil {
		raw, err = m.ToBytes(false)
	}
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// install publishes the next root and targets, each nil to stay as it is, that are signed by these.
func (c *conformant) install(root *tuf.RootSigners, byRoot []crypto.Signer, targets []tuf.Target, byTargets []crypto.Signer) error {
	c.t.Helper()
	cur, err := c.repo.Current(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	s := tuf.Signed{FollowsTargets: cur.Targets.Bytes, FollowsRecord: cur.Record}
	if n := len(cur.Roots); n > 0 {
		s.FollowsRoot = cur.Roots[n-1].Bytes
	}
	in := func(role string) time.Time { return c.clock.Now().Add(cmp.Or(c.lives[role], 24*time.Hour)) }
	if root != nil {
		raw, err := tuf.UnsignedRoot(*root, int64(len(cur.Roots)+1), in(tuf.Root))
		if err != nil {
			return err
		}
		s.Root = signedBy(c.t, metadata.Root(), raw, byRoot...)
	}
	if targets != nil {
		raw, contents, err := tuf.UnsignedTargets(targets, cur.Targets.Version+1, in(tuf.Targets))
		if err != nil {
			return err
		}
		s.Targets, s.Contents = signedBy(c.t, metadata.Targets(), raw, byTargets...), contents
	}
	_, err = c.repo.Install(c.t.Context(), s)
	return err
}

func files(content string) []tuf.Target {
	return []tuf.Target{{Name: "file", Content: []byte(content)}, {Name: "other", Content: []byte("other of " + content)}}
}

func (c *conformant) first() {
	c.t.Helper()
	if err := c.install(&c.root, c.signers([]int{1}), files("1"), c.targetsKeys()); err != nil {
		c.t.Fatal(err)
	}
}

// walkers are clients of both generations that begin with version 1 of the root.
func (c *conformant) walkers() map[string]client { return clients(c.t, c.mirror, rootOf(c.t, c.repo)) }

func (c *conformant) got(all map[string]client, name, want string) {
	c.t.Helper()
	for generation, cl := range all {
		if got, err := cl.fetch(name); err != nil || string(got) != want {
			c.t.Errorf("%s: %s is %q, want %q: %v", generation, name, got, want, err)
		}
	}
}

func TestConformanceRootRotation(t *testing.T) {
	for name, steps := range rootRotations {
		t.Run(name, func(t *testing.T) {
			c := newConformant(t)
			var kept map[string]client // since the first root
			for i, s := range steps {
				c.root.Root = c.of(s)
				var first []tuf.Target
				if i == 0 {
					first = files("1")
				}
				err := c.install(&c.root, c.signers(s.sigs), first, c.targetsKeys())
				if errors.Is(err, tuf.ErrRejected) != s.refused || err != nil && !s.refused {
					t.Fatalf("root %d: %v", i+1, err)
				}
				if i == 0 {
					kept = c.walkers()
				}
				c.got(kept, "file", "1")
			}
			c.got(c.walkers(), "file", "1")
		})
	}
}

func TestConformanceNonRootRotations(t *testing.T) {
	for name, s := range targetsRotations {
		t.Run(name, func(t *testing.T) {
			c := newConformant(t)
			c.root.Root.Keys[0] = c.cfg.Keys.Root.Public()
			c.root.Targets = tuf.Signers{Keys: []crypto.PublicKey{c.numbers[1].Public()}, Threshold: 1}
			if err := c.install(&c.root, []crypto.Signer{c.cfg.Keys.Root}, files("1"), c.signers([]int{1})); err != nil {
				t.Fatal(err)
			}
			kept, want := c.walkers(), "1"
			c.got(kept, "file", want)
			c.root.Targets = c.of(s)
			err := c.install(&c.root, []crypto.Signer{c.cfg.Keys.Root}, files("2"), c.signers(s.sigs))
			if errors.Is(err, tuf.ErrRejected) != s.refused || err != nil && !s.refused {
				t.Fatal(err)
			}
			if !s.refused {
				want = "2"
			}
			c.got(kept, "file", want)
			c.got(c.walkers(), "file", want)
		})
	}
}

// conformance are the other cases.
var conformance = map[string]func(c *conformant){
	"test_basic_refresh_requests": func(c *conformant) {
		c.got(map[string]client{"go-tuf v2": c.walkers()["go-tuf v2"]}, "file", "1")
		want := []string{"2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"}
		if len(c.asked) != 5 || !slices.Equal(c.asked[:4], want) || !strings.HasPrefix(c.asked[4], "targets/") || !strings.HasSuffix(c.asked[4], ".file") {
			c.t.Errorf("asked for %q, want %q and a target", c.asked, want)
		}
	},
	"test_basic_refresh_trusted_data, test_metadata_bytes_match": func(c *conformant) {
		cl := c.walkers()["go-tuf v2"].(*modern)
		c.got(map[string]client{"go-tuf v2": cl}, "file", "1")
		for kept, path := range map[string]string{"root.json": "1.root.json", "timestamp.json": "timestamp.json", "snapshot.json": "1.snapshot.json", "targets.json": "1.targets.json"} {
			raw, err := os.ReadFile(filepath.Join(cl.dir, kept))
			f, _ := c.repo.Published().File(path)
			if err != nil || !bytes.Equal(raw, f.Bytes) {
				c.t.Errorf("%s is not kept byte for byte: %v", kept, err)
			}
		}
	},
	"test_implicit_refresh": func(c *conformant) {
		for generation, cl := range c.walkers() {
			if _, err := cl.fetch("nonexistent"); err == nil {
				c.t.Errorf("%s found it", generation)
			}
		}
		if !slices.Contains(c.asked, "1.targets.json") {
			c.t.Errorf("asked for %q", c.asked)
		}
	},
	"test_timestamp_content_changes": func(c *conformant) {
		before, _ := c.repo.Published().File("timestamp.json")
		if err := c.repo.Refresh(c.t.Context()); err != nil {
			c.t.Fatal(err)
		}
		if after, _ := c.repo.Published().File("timestamp.json"); !bytes.Equal(before.Bytes, after.Bytes) {
			c.t.Error("the same version has other bytes")
		}
	},
	"test_unsigned_metadata[root]":      func(c *conformant) { c.refused(c.install(&c.root, nil, nil, nil)) },
	"test_unsigned_metadata[targets]":   func(c *conformant) { c.refused(c.install(nil, nil, files("2"), nil)) },
	"test_unsigned_metadata[snapshot]":  func(c *conformant) { c.withKeys(func(k *tuf.Keys) { k.Snapshot = c.numbers[2] }) },
	"test_unsigned_metadata[timestamp]": func(c *conformant) { c.withKeys(func(k *tuf.Keys) { k.Timestamp = c.numbers[2] }) },
	"test_snapshot_404, test_targets_404, test_timestamp_404": func(c *conformant) {
		for i := 2; i <= 4; i++ {
			c.publish(fmt.Sprint(i))
			for _, path := range []string{"timestamp.json", fmt.Sprintf("%d.snapshot.json", i), fmt.Sprintf("%d.targets.json", i)} {
				if _, there := c.repo.Published().File(path); !there {
					c.t.Errorf("%s is named, and not there", path)
				}
			}
		}
	},
	"test_client_downloads_expected_file, test_multiple_changes_to_target": func(c *conformant) {
		all := c.walkers()
		c.got(all, "file", "1")
		for _, content := range []string{"2", "3 is longer", "1"} {
			c.publish(content)
			c.got(all, "file", content)
			c.got(c.walkers(), "file", content)
		}
	},
	"test_repository_substitutes_target_file": func(c *conformant) {
		c.got(c.walkers(), "file", "1")
		c.got(c.walkers(), "other", "other of 1")
	},
	"test_client_downloads_expected_file_in_sub_dir": func(c *conformant) {
		if err := c.install(nil, nil, []tuf.Target{{Name: "dir/file", Content: []byte("x")}}, nil); !errors.Is(err, tuf.ErrTarget) {
			c.t.Errorf("it has no directories: %v", err)
		}
	},
	"test_snapshot_has_too_few_keys": func(c *conformant) {
		c.root.Snapshot.Threshold = 6
		if err := c.install(&c.root, c.signers([]int{1}), nil, nil); err == nil {
			c.t.Error("a threshold above the keys is published")
		}
	},
	"test_snapshot_does_not_meet_threshold": func(c *conformant) {
		c.root.Snapshot.Keys, c.root.Snapshot.Threshold = append(c.root.Snapshot.Keys, c.numbers[2].Public()), 2
		c.refused(c.install(&c.root, c.signers([]int{1}), nil, nil))
	},
	"test_duplicate_keys": func(c *conformant) {
		c.root.Targets.Keys = append(c.root.Targets.Keys, c.root.Targets.Keys[0])
		if err := c.install(&c.root, c.signers([]int{1}), nil, nil); err == nil {
			c.t.Error("one key twice in a role is published")
		}
	},
	"test_new_timestamp_version_rollback, test_snapshot_rollback, test_targets_rollback": func(c *conformant) {
		seen := c.repo.Published().Versions()
		for _, content := range []string{"2", "1", "2"} { // what was there before is a new version
			c.publish(content)
			v := c.repo.Published().Versions()
			if v.Targets <= seen.Targets || v.Snapshot <= seen.Snapshot || v.Timestamp <= seen.Timestamp {
				c.t.Errorf("%+v after %+v", v, seen)
			}
			seen = v
		}
	},
}

func (c *conformant) publish(content string) {
	c.t.Helper()
	if err := c.install(nil, nil, files(content), c.targetsKeys()); err != nil {
		c.t.Fatal(err)
	}
}

// refused wants that nothing was published, and that clients go on.
func (c *conformant) refused(err error) {
	c.t.Helper()
	if !errors.Is(err, tuf.ErrRejected) {
		c.t.Errorf("published: %v", err)
	}
	if v := c.repo.Published().Versions(); v != (tuf.Versions{Root: 1, Targets: 1, Snapshot: 1, Timestamp: 1}) {
		c.t.Errorf("versions %+v", v)
	}
	c.got(c.walkers(), "file", "1")
}

// withKeys publishes with another key than the one that the root names.
func (c *conformant) withKeys(change func(*tuf.Keys)) {
	c.t.Helper()
	k := c.cfg.Keys
	change(&k)
	c.repo.UseKeys(k)
	c.refused(c.install(nil, nil, files("2"), c.targetsKeys()))
}

func TestConformance(t *testing.T) {
	for name, do := range conformance {
		t.Run(name, func(t *testing.T) {
			c := newConformant(t)
			c.first()
			do(c)
		})
	}
}
