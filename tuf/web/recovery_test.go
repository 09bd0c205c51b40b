package web_test

import (
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// TestConformanceExpired: test_root_expired, test_targets_expired, test_snapshot_expired, test_timestamp_expired and
// test_expired_local_root, test_expired_local_timestamp. Clients that hold an expired set, and new ones, refuse it,
// and take the next.
func TestConformanceExpired(t *testing.T) {
	for _, role := range []string{tuf.Root, tuf.Targets, tuf.Snapshot, tuf.Timestamp} {
		t.Run(role, func(t *testing.T) {
			c := newConformant(t)
			c.first()
			kept := c.walkers()
			c.got(kept, "file", "1")
			c.expire(role)
			for _, all := range []map[string]client{kept, c.walkers()} {
				for generation, cl := range all {
					if _, err := cl.fetch("file"); err == nil || !strings.Contains(err.Error(), "expired") {
						t.Errorf("%s takes a set whose %s has expired: %v", generation, role, err)
					}
				}
			}
			c.clock.Set(time.Now().UTC().Add(time.Minute))
			if err := c.repo.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			delete(c.lives, role)
			root := &c.root
			if err := c.install(root, c.signers([]int{1}), files("3"), c.targetsKeys()); err != nil {
				t.Fatal(err)
			}
			c.got(kept, "file", "3")
			c.got(c.walkers(), "file", "3")
		})
	}
}

// expire publishes a set, two hours ago, of which a role was good for an hour.
func (c *conformant) expire(role string) {
	c.t.Helper()
	c.clock.Set(time.Now().UTC().Add(-2 * time.Hour))
	c.lives[role] = time.Hour
	cfg := c.cfg
	cfg.AcceptClock = true
	for of, life := range map[string]*time.Duration{tuf.Snapshot: &cfg.Lifetimes.Snapshot, tuf.Timestamp: &cfg.Lifetimes.Timestamp} {
		if of == role {
			*life = time.Hour
		}
	}
	whole := c.repo
	c.repo = tuf.New(cfg)
	if err := c.install(&c.root, c.signers([]int{1}), files("2"), c.targetsKeys()); err != nil {
		c.t.Fatal(err)
	}
	c.repo = whole
	if err := c.repo.Open(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

// TestConformanceFastForward: test_new_timestamp_fast_forward_recovery, test_new_snapshot_fast_forward_recovery and
// test_targets_fast_forward_recovery. Who stole online keys has clients take versions that are far ahead; once the
// root names other keys, which here is a rotation, they take what is published, whose versions are lower.
func TestConformanceFastForward(t *testing.T) {
	for _, tc := range []struct {
		name      string
		forge     func(c *conformant) // with the keys of snapshot and timestamp
		recovered func(k *tuf.Keys, t *testing.T)
	}{
		{"timestamp", func(c *conformant) { c.forgeTimestamp(1) }, func(k *tuf.Keys, t *testing.T) { k.Timestamp = tuftest.Key(t) }},
		{"snapshot", func(c *conformant) {
			m := metadata.Snapshot(time.Now().Add(time.Hour).UTC().Truncate(time.Second))
			m.Signed.Version = 1000
			m.Signed.Meta = map[string]*metadata.MetaFiles{"targets.json": {Version: 1}}
			raw, err := m.ToBytes(false)
			if err != nil {
				c.t.Fatal(err)
			}
			c.serve("1000.snapshot.json", signedBy(c.t, metadata.Snapshot(), raw, c.cfg.Keys.Snapshot))
			c.forgeTimestamp(1000)
		}, func(k *tuf.Keys, t *testing.T) { k.Snapshot, k.Timestamp = tuftest.Key(t), tuftest.Key(t) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newConformant(t)
			c.first()
			kept := c.walkers()
			tc.forge(c)
			c.got(kept, "file", "1")
			c.mu.Lock()
			clear(c.forged)
			c.mu.Unlock()
			for generation, cl := range kept {
				if _, err := cl.fetch("file"); err == nil {
					t.Errorf("%s goes back by itself", generation)
				}
			}
			tc.recovered(&c.cfg.Keys, t)
			c.root.Snapshot.Keys[0], c.root.Timestamp.Keys[0] = c.cfg.Keys.Snapshot.Public(), c.cfg.Keys.Timestamp.Public()
			c.repo.UseKeys(c.cfg.Keys)
			if err := c.install(&c.root, c.signers([]int{1}), files("2"), c.targetsKeys()); err != nil {
				t.Fatal(err)
			}
			kept["go-tuf 0.7"].(*older).again() // one that runs on goes by the version that it has in memory
			c.got(kept, "file", "2")
		})
	}
}

func (c *conformant) serve(path string, raw []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forged[path] = raw
}

// forgeTimestamp has version 1000 of the timestamp name a version of the snapshot.
func (c *conformant) forgeTimestamp(snapshot int64) {
	c.t.Helper()
	m := metadata.Timestamp(time.Now().Add(time.Hour).UTC().Truncate(time.Second))
	m.Signed.Version = 1000
	m.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": {Version: snapshot}}
	raw, err := m.ToBytes(false)
	if err != nil {
		c.t.Fatal(err)
	}
	c.serve("timestamp.json", signedBy(c.t, metadata.Timestamp(), raw, c.cfg.Keys.Timestamp))
}
