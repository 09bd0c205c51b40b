package tuf

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox/keys"
)

// Signers are the keys of a role and how many of them must sign.
type Signers struct {
	Keys      []crypto.PublicKey // ECDSA P-256, each once
	Threshold int
}

// Names says whether a key is one of them; nil is none.
func (s Signers) Names(pub crypto.PublicKey) bool { return s.index(pub) >= 0 }

func (s Signers) index(pub crypto.PublicKey) int {
	return slices.IndexFunc(s.Keys, func(k crypto.PublicKey) bool { return keys.Equal(k, pub) })
}

// Replace returns the signers with one key in the place of another. The others stay, such as those of mirrors
// behind an air gap. It returns false where there is neither.
func (s Signers) Replace(old, next crypto.PublicKey) (Signers, bool) {
	at, there := s.index(old), s.index(next)
	s.Keys = slices.Clone(s.Keys)
	switch {
	case at < 0:
		return s, there >= 0
	case there >= 0:
		s.Keys = slices.Delete(s.Keys, at, at+1)
	default:
		s.Keys[at] = next
	}
	return s, true
}

// RootSigners are the signers of every role, as a root names them.
type RootSigners struct {
	Root, Targets       Signers // offline
	Snapshot, Timestamp Signers // online
}

// UnsignedRoot returns a version of root that nobody has signed yet. It is held to the rules that
// every root is held to: distinct P-256 keys, thresholds that mean what they say, no online key in an
// offline role.
func UnsignedRoot(s RootSigners, version int64, expires time.Time) ([]byte, error) {
	m := metadata.Root(expires.UTC().Truncate(time.Second))
	m.Signed.Version = version
	for role, signers := range map[string]Signers{Root: s.Root, Targets: s.Targets, Snapshot: s.Snapshot, Timestamp: s.Timestamp} {
		named := &metadata.Role{KeyIDs: []string{}, Threshold: signers.Threshold}
		for _, pub := range signers.Keys {
			key, id, err := tufKey(pub)
			if err != nil {
				return nil, fmt.Errorf("role %s: %w", role, err)
			}
			m.Signed.Keys[id] = key
			named.KeyIDs = append(named.KeyIDs, id)
		}
		m.Signed.Roles[role] = named
	}
	if err := checkRoot(m.Signed); err != nil {
		return nil, err
	}
	return m.ToBytes(false)
}

// UnsignedTargets returns a version of targets that nobody has signed yet, and the contents that it
// names.
func UnsignedTargets(targets []Target, version int64, expires time.Time) (unsigned []byte, contents []Blob, err error) {
	if err := checkTargets(targets); err != nil {
		return nil, nil, err
	}
	m := metadata.Targets(expires.UTC().Truncate(time.Second))
	m.Signed.Version = version
	contents = enter(targets, m)
	unsigned, err = m.ToBytes(false)
	return unsigned, contents, err
}

// SignersOf returns the signers that a root names, for the next one that keeps some of them.
func SignersOf(root []byte) (RootSigners, error) {
	m, err := metadata.Root().FromBytes(root)
	if err != nil {
		return RootSigners{}, fmt.Errorf("root: %w", err)
	}
	if err := checkRoot(m.Signed); err != nil {
		return RootSigners{}, err
	}
	var out RootSigners
	for role, to := range map[string]*Signers{Root: &out.Root, Targets: &out.Targets, Snapshot: &out.Snapshot, Timestamp: &out.Timestamp} {
		named := m.Signed.Roles[role]
		to.Threshold = named.Threshold
		for _, id := range named.KeyIDs {
			pub, err := m.Signed.Keys[id].ToPublicKey()
			if err != nil {
				return RootSigners{}, fmt.Errorf("root: key %.16s: %w", id, err)
			}
			to.Keys = append(to.Keys, pub)
		}
	}
	return out, nil
}

// KeyID returns the id by which TUF metadata names a key.
func KeyID(pub crypto.PublicKey) (string, error) {
	_, id, err := tufKey(pub)
	return id, err
}

func tufKey(pub crypto.PublicKey) (*metadata.Key, string, error) {
	p, ok := pub.(*ecdsa.PublicKey)
	if !ok || p.Curve != elliptic.P256() {
		return nil, "", fmt.Errorf("tuf: key is a %T: every client takes ECDSA P-256, and not every client anything else", pub)
	}
	key, err := metadata.KeyFromPublicKey(p)
	if err != nil {
		return nil, "", fmt.Errorf("tuf: encode key: %w", err)
	}
	id, err := key.ID()
	if err != nil {
		return nil, "", fmt.Errorf("tuf: key id: %w", err)
	}
	return key, id, nil
}

// Signed is what the holders of the offline keys have signed: a next root, next targets, or both.
type Signed struct {
	// FollowsRoot and FollowsTargets are what was current when it was asked for, byte for byte; nil for
	// the first set. FollowsRecord is the record of those targets.
	FollowsRoot, FollowsTargets, FollowsRecord []byte

	Root    []byte // nil: the root stays
	Targets []byte // nil: targets, contents and record stay

	Contents   []Blob // of Targets, sorted by name
	Record     []byte // Release.Record
	Transcript []byte // Release.Transcript
}

// Install publishes what was signed offline; the keys of snapshot and timestamp must be here. It
// reports whether there was anything to do: what is current already stays as it is. It fails with
// ErrStale where another set has become current since, and with ErrRejected where a client would
// refuse it, for want of signatures for example. Nothing is written then.
func (r *Repository) Install(ctx context.Context, s Signed) (changed bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err = r.update(ctx, func(cur Release, now time.Time) (Release, error) {
		changed = false
		next, err := s.follow(cur, now)
		if err != nil || next.Versions() == cur.Versions() {
			return next, err
		}
		changed = true
		return withSnapshot(next, r.cfg.Keys, r.cfg.Lifetimes, now)
	})
	if err != nil {
		return false, fmt.Errorf("publish what was signed: %w", err)
	}
	return changed, r.show(ctx)
}

// follow returns cur with the root and targets that were signed, or cur itself if it has them.
func (s Signed) follow(cur Release, now time.Time) (Release, error) {
	var root Metadata
	if cur.Created() {
		root = cur.Roots[len(cur.Roots)-1]
	}
	if s.Current(cur) {
		return cur, nil
	}
	if !bytes.Equal(root.Bytes, s.FollowsRoot) || !bytes.Equal(cur.Targets.Bytes, s.FollowsTargets) {
		return Release{}, fmt.Errorf("%w: root version %d and targets version %d are current", ErrStale, root.Version, cur.Targets.Version)
	}
	if !bytes.Equal(cur.Record, s.FollowsRecord) {
		return Release{}, fmt.Errorf("%w: its record is not the one that targets version %d was composed from", ErrStale, cur.Targets.Version)
	}
	next := cur
	if s.Root != nil {
		version := root.Version + 1
		next.Roots = append(cur.Roots[:len(cur.Roots):len(cur.Roots)], Metadata{Role: Root, Version: version, SignedAt: now, Bytes: s.Root})
	}
	if s.Targets != nil {
		next.Targets = Metadata{Role: Targets, Version: cur.Targets.Version + 1, SignedAt: now, Bytes: s.Targets}
		next.Contents, next.Record = s.Contents, s.Record
	}
	next.Transcript = s.Transcript
	if s.Root == nil && s.Targets == nil {
		return Release{}, errors.New("nothing was signed")
	}
	return next, nil
}

// Current says whether what was signed is the current set: it was published already, and nothing since.
func (s Signed) Current(cur Release) bool {
	if !cur.Created() || s.Root == nil && s.Targets == nil {
		return false
	}
	return (s.Root == nil || bytes.Equal(s.Root, cur.Roots[len(cur.Roots)-1].Bytes)) && (s.Targets == nil || bytes.Equal(s.Targets, cur.Targets.Bytes))
}

// Current returns what the store holds, the zero Release if that is nothing.
func (r *Repository) Current(ctx context.Context) (Release, error) {
	a, err := r.cfg.Store.Load(ctx)
	if errors.Is(err, ErrNotCreated) {
		return Release{}, nil
	}
	return a.Current, err
}
