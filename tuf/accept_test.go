package tuf

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

func key(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newKeys(t *testing.T) Keys {
	t.Helper()
	p := elliptic.P256()
	return Keys{Root: key(t, p), Targets: key(t, p), Snapshot: key(t, p), Timestamp: key(t, p)}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// bench is what the rows of TestAccept work on: a published set, and the one that may follow.
type bench struct {
	t          *testing.T
	keys       Keys
	prev, next Release
	now        time.Time
}

// root signs root again after change, with the keys given.
func (b *bench) root(version int64, change func(*metadata.RootType), signers ...crypto.Signer) Metadata {
	b.t.Helper()
	m := must[*metadata.Metadata[metadata.RootType]](b.t)(metadata.Root().FromBytes(b.prev.Roots[0].Bytes))
	m.ClearSignatures()
	m.Signed.Version = version
	change(&m.Signed)
	var out Metadata
	for _, s := range signers {
		out = must[Metadata](b.t)(sign(m, Root, version, b.now, Keys{Root: s}))
	}
	return out
}

// rotate makes next a set with a second root, which the other roles follow.
func (b *bench) rotate(change func(*metadata.RootType), signers ...crypto.Signer) {
	b.t.Helper()
	b.next.Roots = append(slices.Clone(b.prev.Roots), b.root(2, change, signers...))
}

// replaceRoot makes the published root itself another one: what only its form can be blamed for.
func (b *bench) replaceRoot(change func(*metadata.RootType)) {
	b.t.Helper()
	r := b.root(1, change, b.keys.Root)
	b.prev.Roots, b.next.Roots = []Metadata{r}, []Metadata{r}
}

// resign signs targets, snapshot and timestamp of next with the given lifetimes.
func (b *bench) resign(keys Keys, life Lifetimes) {
	b.t.Helper()
	b.next = must[Release](b.t)(withTargets(b.prev, Edition{Targets: b.targets()}, keys, life, b.now))
}

func (b *bench) targets() []Target {
	return []Target{{Name: "trusted_root.json", Content: []byte("new")}}
}

// B-208: each row is refused for a reason of its own; the first is accepted, so that the others
// cannot fail for what they share.
func TestAccept(t *testing.T) {
	life := Production()
	replace := func(s, old, new string) []byte { return []byte(strings.Replace(s, old, new, 1)) }
	for _, tc := range []struct {
		name string
		do   func(b *bench)
		want string // "" accepts
	}{
		{"the next set", func(*bench) {}, ""},
		{"a rotated root", func(b *bench) {
			k := key(t, elliptic.P256())
			b.rotate(func(r *metadata.RootType) { swapKey(t, r, Root, k) }, b.keys.Root, k)
		}, ""},
		{"a rotated timestamp key", func(b *bench) {
			keys := b.keys
			keys.Timestamp = key(t, elliptic.P256())
			b.resign(keys, life)
			b.rotate(func(r *metadata.RootType) { swapKey(t, r, Timestamp, keys.Timestamp) }, b.keys.Root)
		}, ""},
		{"no set", func(b *bench) { b.next = Release{} }, "no repository"},
		{"the same timestamp again", func(b *bench) { b.next = b.prev }, "published already"},
		{"an older set", func(b *bench) { b.prev, b.next = b.next, b.prev }, "goes back from version 2"},
		{"targets version with other bytes", func(b *bench) {
			again := b.prev
			again.Targets.Version, again.Snapshot.Version = 0, 1
			b.next = must[Release](t)(withTargets(again, Edition{Targets: b.targets()}, b.keys, life, b.now))
		}, "targets version 1 differs"},
		{"root version with other bytes", func(b *bench) {
			b.next.Roots = []Metadata{b.root(1, func(r *metadata.RootType) { r.Expires = r.Expires.Add(-time.Hour) }, b.keys.Root)}
		}, "root version 1 differs"},
		{"a root left out", func(b *bench) {
			r := b.root(3, func(*metadata.RootType) {}, b.keys.Root)
			b.next.Roots = append(slices.Clone(b.prev.Roots), r)
		}, "root version 3 stands where 2"},
		{"root not signed by the old quorum", func(b *bench) {
			k := key(t, elliptic.P256())
			b.rotate(func(r *metadata.RootType) { swapKey(t, r, Root, k) }, k)
		}, "not enough signatures"},
		{"root not signed by itself", func(b *bench) {
			k := key(t, elliptic.P256())
			b.rotate(func(r *metadata.RootType) { swapKey(t, r, Root, k) }, b.keys.Root)
		}, "not enough signatures"},
		{"targets by another key", func(b *bench) {
			keys := b.keys
			keys.Targets = key(t, elliptic.P256())
			b.resign(keys, life)
		}, "Verifying targets failed"},
		{"snapshot by another key", func(b *bench) {
			keys := b.keys
			keys.Snapshot = key(t, elliptic.P256())
			b.resign(keys, life)
		}, "Verifying snapshot failed"},
		{"timestamp by another key", func(b *bench) {
			keys := b.keys
			keys.Timestamp = key(t, elliptic.P256())
			b.resign(keys, life)
		}, "Verifying timestamp failed"},
		{"timestamp for another snapshot", func(b *bench) { b.next.Snapshot = b.prev.Snapshot }, "expected 2, got 1"},
		{"snapshot for other targets", func(b *bench) { b.next.Targets, b.next.Contents = b.prev.Targets, b.prev.Contents }, "targets version 1: "},
		{"a role that the snapshot names no more", func(b *bench) {
			m := metadata.Snapshot(expiry(b.now, life.Snapshot))
			m.Signed.Meta["extra.json"] = metadata.MetaFile(1)
			b.prev.Snapshot = must[Metadata](t)(sign(m, Snapshot, 1, b.now, b.keys))
		}, "missing info for extra.json"},
		{"expiry in the past", func(b *bench) {
			short := life
			short.Timestamp = -time.Hour
			b.resign(b.keys, short)
		}, "timestamp version 2: expired"},
		{"expiry beyond the policy", func(b *bench) {
			long := life
			long.Snapshot = life.Snapshot + time.Hour
			b.resign(b.keys, long)
		}, "snapshot version 2: expires"},
		{"expiry with a fraction", func(b *bench) {
			b.next.Timestamp.Bytes = replace(string(b.next.Timestamp.Bytes), `Z","meta"`, `.5Z","meta"`)
		}, "not of the form"},
		{"expiry with an offset", func(b *bench) {
			b.next.Timestamp.Bytes = replace(string(b.next.Timestamp.Bytes), `Z","meta"`, `+00:00","meta"`)
		}, "not of the form"},
		{"a timestamp that is too large", func(b *bench) {
			b.next.Timestamp.Bytes = append(b.next.Timestamp.Bytes, strings.Repeat(" ", 17<<10)...)
		}, "at most 16384"},
		{"another version in the file", func(b *bench) { b.next.Timestamp.Version++ }, "file says timestamp version 2"},
		{"another role in the file", func(b *bench) { b.next.Timestamp.Bytes = b.next.Snapshot.Bytes }, "file says snapshot"},
		{"no JSON", func(b *bench) { b.next.Timestamp.Bytes = []byte("{") }, "unexpected end"},
		{"null for signed", func(b *bench) { b.next.Timestamp.Bytes = []byte(`{"signed":null,"signatures":[]}`) }, "file says  version 0"},
		{"content missing", func(b *bench) { b.next.Contents = nil }, "names 1 files, there are 0"},
		{"content changed", func(b *bench) { b.next.Contents = []Blob{{Name: "trusted_root.json", Content: []byte("bad")}} }, "hash verification failed"},
		{"content under another name", func(b *bench) { b.next.Contents = []Blob{{Name: "other", Content: []byte("new")}} }, "does not name"},
		{"threshold 0", func(b *bench) { b.replaceRoot(func(r *metadata.RootType) { r.Roles[Targets].Threshold = 0 }) }, "threshold 0 of 1"},
		{"threshold above the keys", func(b *bench) { b.replaceRoot(func(r *metadata.RootType) { r.Roles[Targets].Threshold = 2 }) }, "threshold 2 of 1"},
		{"one key under two ids", func(b *bench) {
			b.replaceRoot(func(r *metadata.RootType) {
				twin := *r.Keys[r.Roles[Targets].KeyIDs[0]]
				twin.Type = metadata.KeyTypeECDSA_SHA2_P256_COMPAT
				r.Keys["twin"] = &twin
				r.Roles[Targets].KeyIDs = append(r.Roles[Targets].KeyIDs, "twin")
				r.Roles[Targets].Threshold = 2
			})
		}, "key twin: the id is not the digest"},
		{"one key id twice", func(b *bench) {
			b.replaceRoot(func(r *metadata.RootType) {
				r.Roles[Targets].KeyIDs = append(r.Roles[Targets].KeyIDs, r.Roles[Targets].KeyIDs[0])
			})
		}, "counts one key twice"},
		{"a key id without a key", func(b *bench) {
			b.replaceRoot(func(r *metadata.RootType) { r.Roles[Targets].KeyIDs = append(r.Roles[Targets].KeyIDs, "none") })
		}, "not in the list of keys"},
		{"an online key for targets", func(b *bench) {
			b.replaceRoot(func(r *metadata.RootType) { r.Roles[Targets] = r.Roles[Timestamp] })
		}, "also signs root or targets"},
		{"no consistent snapshots", func(b *bench) { b.replaceRoot(func(r *metadata.RootType) { r.ConsistentSnapshot = false }) }, "consistent_snapshot"},
		{"a role missing", func(b *bench) { b.replaceRoot(func(r *metadata.RootType) { delete(r.Roles, Snapshot) }) }, "no role snapshot"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := &bench{t: t, keys: newKeys(t), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
			b.prev = must[Release](t)(first(Edition{Targets: []Target{{Name: "trusted_root.json", Content: []byte("old")}}}, b.keys, life, b.now))
			b.resign(b.keys, life)
			tc.do(b)
			err := accept(b.prev, b.next, life, b.now)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v\nwant one that says %q", err, tc.want)
			}
		})
	}
}

func swapKey(t *testing.T, r *metadata.RootType, role string, k crypto.Signer) {
	t.Helper()
	pub, id, err := publicKey(k)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.RevokeKey(r.Roles[role].KeyIDs[0], role); err != nil {
		t.Fatal(err)
	}
	r.Keys[id] = pub
	r.Roles[role].KeyIDs = []string{id}
}

// TestKeys: what cannot sign for all clients is refused before anything is signed.
func TestKeys(t *testing.T) {
	list := []Target{{Name: "a", Content: []byte("x")}}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	t.Run("P-384", func(t *testing.T) {
		keys := newKeys(t)
		keys.Snapshot = key(t, elliptic.P384())
		if _, err := first(Edition{Targets: list}, keys, Production(), now); err == nil || !strings.Contains(err.Error(), "P-256") {
			t.Error(err)
		}
	})
	t.Run("missing", func(t *testing.T) {
		keys := newKeys(t)
		keys.Root = nil
		if _, err := first(Edition{Targets: list}, keys, Production(), now); !errors.Is(err, ErrNoKey) {
			t.Error(err)
		}
	})
	t.Run("shared by an online and an offline role", func(t *testing.T) {
		keys := newKeys(t)
		keys.Timestamp = keys.Root
		s := must[Release](t)(first(Edition{Targets: list}, keys, Production(), now))
		if err := accept(Release{}, s, Production(), now); !errors.Is(err, ErrRejected) {
			t.Error(err)
		}
	})
}

// TestServedBytes pins the forms that single clients depend on (COMPAT.md 5.1, 5.2).
func TestServedBytes(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 987654321, time.FixedZone("", 3600))
	custom := []byte(`{"sigstore":{"status":"Active","usage":"Rekor"}}`)
	s := must[Release](t)(first(Edition{Targets: []Target{{Name: "rekor.pub", Content: []byte("key"), Custom: custom}}}, newKeys(t), Development(), now))
	for _, tc := range []struct {
		m    Metadata
		want []string
	}{
		{s.Roots[0], []string{`"consistent_snapshot":true`, `"keytype":"ecdsa"`, `"scheme":"ecdsa-sha2-nistp256"`, `"public":"-----BEGIN PUBLIC KEY-----\n`, `"expires":"2036-02-27T11:00:00Z"`, `"spec_version":"1.0.31"`}},
		{s.Targets, []string{`"rekor.pub":{"custom":` + string(custom) + `,"hashes":{"sha256":"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"},"length":3}`}},
		{s.Snapshot, []string{`"meta":{"targets.json":{"version":1}}`, `"expires":"2026-03-31T11:00:00Z"`}},
		{s.Timestamp, []string{`"meta":{"snapshot.json":{"version":1}}`, `"expires":"2026-03-08T11:00:00Z"`}},
	} {
		for _, want := range tc.want {
			if !strings.Contains(string(tc.m.Bytes), want) {
				t.Errorf("%s lacks %s:\n%s", tc.m.Role, want, tc.m.Bytes)
			}
		}
	}
	if strings.Contains(string(s.Targets.Bytes), "delegations") {
		t.Error("targets names delegations")
	}
}
