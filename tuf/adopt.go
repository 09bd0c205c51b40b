package tuf

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrNotNamed says that a carried root does not name the keys that are to sign snapshot and timestamp here.
var ErrNotNamed = errors.New("tuf: root does not name this mirror's keys")

// Carried is a set of another repository that somebody brought: all of it, as it was published there.
type Carried struct {
	Roots                        [][]byte // versions 1 to N
	Targets, Snapshot, Timestamp []byte
	Contents                     []Blob // sorted by name

	Made  time.Time // when it was taken there, and its snapshot and timestamp were fresh
	Until time.Time // how long it may be shown here (Lifetimes.Until)
}

// Release returns the carried set. A new client would have accepted all of it when it was made, from the
// first root on, and its root and targets are good at the time now. The error wraps ErrRejected.
func (c Carried) Release(now time.Time) (Release, error) {
	made := c.Made.UTC().Truncate(time.Second)
	s := Release{Contents: c.Contents}
	for i, raw := range c.Roots {
		s.Roots = append(s.Roots, Metadata{Role: Root, Version: int64(i + 1), SignedAt: made, Bytes: raw})
	}
	for _, f := range []struct {
		role string
		raw  []byte
		to   *Metadata
	}{{Targets, c.Targets, &s.Targets}, {Snapshot, c.Snapshot, &s.Snapshot}, {Timestamp, c.Timestamp, &s.Timestamp}} {
		*f.to = Metadata{Role: f.role, Version: versionIn(f.raw), SignedAt: made, Bytes: f.raw}
	}
	if err := checkForms(s, Development(), made); err != nil {
		return Release{}, fmt.Errorf("%w: %w", ErrRejected, err)
	}
	if err := checkWhole(s, made); err != nil {
		return Release{}, fmt.Errorf("%w: %w", ErrRejected, err)
	}
	for _, m := range []Metadata{s.Roots[len(s.Roots)-1], s.Targets} {
		if remaining(m, now) <= 0 {
			return Release{}, fmt.Errorf("%w: %s version %d has expired", ErrRejected, m.Role, m.Version)
		}
	}
	return s, nil
}

// GoodUntil says how long a set could be shown by a mirror that signs its snapshot and timestamp again: until
// its root or its targets expire, and which of them is the first.
func GoodUntil(s Release) (at time.Time, role string) {
	for _, m := range []Metadata{s.Roots[len(s.Roots)-1], s.Targets} {
		if expires := expiresIn(m); role == "" || expires.Before(at) {
			at, role = expires, m.Role
		}
	}
	return at, role
}

// versionIn is 0 for what has none; the client workflow refuses that.
func versionIn(raw []byte) int64 {
	var m struct {
		Signed struct {
			Version int64 `json:"version"`
		} `json:"signed"`
	}
	if json.Unmarshal(raw, &m) != nil {
		return 0
	}
	return m.Signed.Version
}

// Adopt publishes a carried set with a snapshot and a timestamp of this repository's own keys, which its
// newest root must name (ErrNotNamed). Their versions are above those that were carried and those that were
// published here. What would go back, or differ from what was published here, is ErrRejected, and nothing is
// written.
func (r *Repository) Adopt(ctx context.Context, c Carried) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	life := r.cfg.Lifetimes
	life.Until = c.Until
	err := r.updateFor(ctx, life, func(cur Release, now time.Time) (Release, error) {
		next, err := c.Release(now)
		if err != nil {
			return Release{}, err
		}
		if err := checkHistory(Release{Roots: cur.Roots, Targets: cur.Targets}, next); err != nil {
			return Release{}, fmt.Errorf("%w: %w", ErrRejected, err)
		}
		if err := r.checkNamed(next); err != nil {
			return Release{}, err
		}
		next.Snapshot.Version = max(next.Snapshot.Version, cur.Snapshot.Version)
		next.Timestamp.Version = max(next.Timestamp.Version, cur.Timestamp.Version)
		return withSnapshot(next, r.cfg.Keys, life, now)
	})
	if err != nil {
		return fmt.Errorf("take over a carried set: %w", err)
	}
	return r.show(ctx)
}

func (r *Repository) checkNamed(s Release) error {
	newest := s.Roots[len(s.Roots)-1]
	named, err := SignersOf(newest.Bytes)
	if err != nil {
		return err
	}
	for _, role := range []struct {
		name  string
		own   crypto.Signer
		named Signers
	}{{Snapshot, r.cfg.Keys.Snapshot, named.Snapshot}, {Timestamp, r.cfg.Keys.Timestamp, named.Timestamp}} {
		if role.own == nil {
			return fmt.Errorf("%w: %s", ErrNoKey, role.name)
		}
		if !role.named.Names(role.own.Public()) {
			return fmt.Errorf("%w: %s of root version %d", ErrNotNamed, role.name, newest.Version)
		}
	}
	return nil
}
