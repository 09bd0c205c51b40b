package tuf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Lifetimes say how long what is signed now stays valid, and when it is signed again.
type Lifetimes struct {
	Root, Targets, Snapshot, Timestamp time.Duration

	// A role that is valid for less than this is signed again.
	RenewTargets, RenewSnapshot, RenewTimestamp time.Duration

	// Until ends snapshot and timestamp however long they may live; zero for no such end. A mirror behind
	// an air gap has one: what the outside knew when it was carried in is good until then.
	Until time.Time
}

const day = 24 * time.Hour

// Production returns the lifetimes of DESIGN.md 6: a year for what is signed offline, thirty days
// and seven for the rest. The timestamp is signed daily, the snapshot when half its time is over.
func Production() Lifetimes {
	return Lifetimes{
		Root: 365 * day, Targets: 365 * day, Snapshot: 30 * day, Timestamp: 7 * day,
		RenewTargets: 90 * day, RenewSnapshot: 15 * day, RenewTimestamp: 6 * day,
	}
}

// Development is Production with ten years for root and targets, since nobody holds ceremonies
// for a development instance.
func Development() Lifetimes {
	l := Production()
	l.Root, l.Targets, l.RenewTargets = 3650*day, 3650*day, 365*day
	return l
}

// expiry is in whole seconds: clients sign-check what they re-encode, and some parse no fractions.
func expiry(now time.Time, life time.Duration) time.Time {
	return now.Add(life).UTC().Truncate(time.Second)
}

// online is the expiry of a snapshot or timestamp.
func (l Lifetimes) online(now time.Time, life time.Duration) time.Time {
	at := expiry(now, life)
	if !l.Until.IsZero() && at.After(l.Until) {
		return l.Until.UTC().Truncate(time.Second)
	}
	return at
}

// first builds version 1 of every role.
func first(e Edition, keys Keys, life Lifetimes, now time.Time) (Release, error) {
	root := metadata.Root(expiry(now, life.Root))
	for _, role := range []string{Root, Targets, Snapshot, Timestamp} {
		s, err := keys.of(role)
		if err != nil {
			return Release{}, err
		}
		key, id, err := publicKey(s)
		if err != nil {
			return Release{}, err
		}
		root.Signed.Keys[id] = key
		root.Signed.Roles[role] = &metadata.Role{KeyIDs: []string{id}, Threshold: 1}
	}
	signed, err := sign(root, Root, 1, now, keys)
	if err != nil {
		return Release{}, err
	}
	return withTargets(Release{Roots: []Metadata{signed}}, e, keys, life, now)
}

// withTargets builds the set that follows cur and holds this edition.
func withTargets(cur Release, e Edition, keys Keys, life Lifetimes, now time.Time) (Release, error) {
	next := cur
	version := cur.Targets.Version + 1
	m := metadata.Targets(expiry(now, life.Targets))
	m.Signed.Version = version
	next.Contents = enter(e.Targets, m)
	next.Record, next.Transcript = e.Record, nil
	var err error
	if next.Targets, err = sign(m, Targets, version, now, keys); err != nil {
		return Release{}, err
	}
	return withSnapshot(next, keys, life, now)
}

// enter names the targets in m, and returns their contents as a Release has them.
func enter(targets []Target, m *metadata.Metadata[metadata.TargetsType]) (contents []Blob) {
	for _, t := range targets {
		m.Signed.Targets[t.Name] = t.entry()
		contents = append(contents, Blob{Name: t.Name, Content: bytes.Clone(t.Content)})
	}
	slices.SortFunc(contents, func(a, b Blob) int { return strings.Compare(a.Name, b.Name) })
	return contents
}

// withSnapshot signs the next snapshot, and with it the next timestamp.
func withSnapshot(cur Release, keys Keys, life Lifetimes, now time.Time) (Release, error) {
	next, version := cur, cur.Snapshot.Version+1
	m := metadata.Snapshot(life.online(now, life.Snapshot))
	m.Signed.Version = version
	m.Signed.Meta = map[string]*metadata.MetaFiles{"targets.json": {Version: cur.Targets.Version}}
	var err error
	if next.Snapshot, err = sign(m, Snapshot, version, now, keys); err != nil {
		return Release{}, err
	}
	return withTimestamp(next, keys, life, now)
}

// withTimestamp signs the next timestamp.
func withTimestamp(cur Release, keys Keys, life Lifetimes, now time.Time) (Release, error) {
	next, version := cur, cur.Timestamp.Version+1
	m := metadata.Timestamp(life.online(now, life.Timestamp))
	m.Signed.Version = version
	m.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": {Version: cur.Snapshot.Version}}
	var err error
	if next.Timestamp, err = sign(m, Timestamp, version, now, keys); err != nil {
		return Release{}, err
	}
	return next, nil
}

// sameEdition reports whether cur holds exactly these targets, composed from the same record.
func sameEdition(cur Release, e Edition) (bool, error) {
	if !bytes.Equal(cur.Record, e.Record) {
		return false, nil
	}
	m, err := metadata.Targets().FromBytes(cur.Targets.Bytes)
	if err != nil {
		return false, fmt.Errorf("tuf: stored targets: %w", err)
	}
	if len(m.Signed.Targets) != len(e.Targets) {
		return false, nil
	}
	for _, t := range e.Targets {
		have, ok := m.Signed.Targets[t.Name]
		if !ok || !sameEntry(have, t.entry()) {
			return false, nil
		}
	}
	return true, nil
}

func sameEntry(a, b *metadata.TargetFiles) bool {
	if a.Length != b.Length || !bytes.Equal(a.Hashes["sha256"], b.Hashes["sha256"]) || (a.Custom == nil) != (b.Custom == nil) {
		return false
	}
	return a.Custom == nil || sameJSON(*a.Custom, *b.Custom)
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
