package tuf

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// Sizes that the most modest client takes (COMPAT.md 5.1).
var maxSize = map[string]int{Root: 99 << 10, Timestamp: 16 << 10, Snapshot: 99 << 10, Targets: 4 << 20}

// accept runs the client workflow over next at the time now: once from the first root, as a new
// client, and once as a client that holds prev. It also holds next against the rules that some
// clients keep and the reference does not. The error wraps ErrRejected.
func accept(prev, next Release, life Lifetimes, now time.Time) error {
	checks := []func() error{
		func() error { return checkForms(next, life, now) },
		func() error { return checkHistory(prev, next) },
		func() error { return checkWhole(next, now) },
		func() error {
			if !prev.Created() {
				return nil
			}
			_, err := walk(prev, next, now)
			return err
		},
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrRejected, err)
		}
	}
	return nil
}

// CheckRoots is the first steps of a client that has the first of these roots, versions 1 to N: each is signed
// as the one before it wants, and as it wants itself. The newest may have expired.
func CheckRoots(roots [][]byte) error {
	if len(roots) == 0 {
		return ErrNotCreated
	}
	tm, err := trustedmetadata.New(roots[0])
	if err != nil {
		return fmt.Errorf("first root: %w", err)
	}
	if tm.Root.Signed.Version != 1 {
		return fmt.Errorf("first root: it is version %d", tm.Root.Signed.Version)
	}
	for i, raw := range roots[1:] {
		if _, err := tm.UpdateRoot(raw); err != nil {
			return fmt.Errorf("root version %d: %w", i+2, err)
		}
	}
	return nil
}

// walk is a client that holds prev (the zero Release: only next's first root) and updates to next.
// The comments are the steps of the specification's detailed client workflow.
func walk(prev, next Release, now time.Time) (*trustedmetadata.TrustedMetadata, error) {
	held := prev
	if !held.Created() {
		if !next.Created() {
			return nil, ErrNotCreated
		}
		held.Roots = next.Roots[:1]
	}
	// 5.2: load the trusted root
	tm, err := trustedmetadata.New(held.Roots[len(held.Roots)-1].Bytes)
	if err != nil {
		return nil, fmt.Errorf("first root: %w", err)
	}
	tm.RefTime = now
	// 5.3: every newer root, one by one
	for _, r := range next.Roots[len(held.Roots):] {
		if _, err := tm.UpdateRoot(r.Bytes); err != nil {
			return nil, fmt.Errorf("root version %d: %w", r.Version, err)
		}
	}
	// 5.4: the timestamp; the held one counts for rollback unless its key was replaced
	if prev.Created() {
		if _, err := tm.UpdateTimestamp(prev.Timestamp.Bytes); err != nil && !errors.Is(err, &metadata.ErrRepository{}) {
			return nil, fmt.Errorf("held timestamp: %w", err)
		}
	}
	if _, err := tm.UpdateTimestamp(next.Timestamp.Bytes); err != nil {
		return nil, fmt.Errorf("timestamp version %d: %w", next.Timestamp.Version, err)
	}
	// 5.5: the snapshot, likewise
	if prev.Created() {
		if _, err := tm.UpdateSnapshot(prev.Snapshot.Bytes, true); err != nil && !errors.Is(err, &metadata.ErrRepository{}) {
			return nil, fmt.Errorf("held snapshot: %w", err)
		}
	}
	if _, err := tm.UpdateSnapshot(next.Snapshot.Bytes, false); err != nil {
		return nil, fmt.Errorf("snapshot version %d: %w", next.Snapshot.Version, err)
	}
	// 5.6: the targets
	if _, err := tm.UpdateTargets(next.Targets.Bytes); err != nil {
		return nil, fmt.Errorf("targets version %d: %w", next.Targets.Version, err)
	}
	return tm, nil
}

// checkHistory holds next against what was published: no version goes back, none is signed
// twice, and something is new.
func checkHistory(prev, next Release) error {
	if len(next.Roots) < len(prev.Roots) {
		return fmt.Errorf("root goes back from version %d to %d", len(prev.Roots), len(next.Roots))
	}
	for i, r := range prev.Roots {
		if !bytes.Equal(r.Bytes, next.Roots[i].Bytes) {
			return fmt.Errorf("root version %d differs from the one published", r.Version)
		}
	}
	for _, pair := range [][2]Metadata{{prev.Targets, next.Targets}, {prev.Snapshot, next.Snapshot}, {prev.Timestamp, next.Timestamp}} {
		old, m := pair[0], pair[1]
		if m.Version < old.Version {
			return fmt.Errorf("%s goes back from version %d to %d", m.Role, old.Version, m.Version)
		}
		if m.Version == old.Version && !bytes.Equal(m.Bytes, old.Bytes) {
			return fmt.Errorf("%s version %d differs from the one published", m.Role, m.Version)
		}
	}
	if prev.Created() && next.Timestamp.Version == prev.Timestamp.Version {
		return fmt.Errorf("timestamp version %d is published already: clients would not look further", next.Timestamp.Version)
	}
	return nil
}

// checkWhole is a new client: it wants a way from the first root to the content of every target,
// and no other content.
func checkWhole(next Release, now time.Time) error {
	tm, err := walk(Release{}, next, now)
	if err != nil {
		return err
	}
	entries := tm.Targets[Targets].Signed.Targets
	if len(entries) != len(next.Contents) {
		return fmt.Errorf("targets names %d files, there are %d", len(entries), len(next.Contents))
	}
	for _, b := range next.Contents {
		e, ok := entries[b.Name]
		if !ok {
			return fmt.Errorf("content of %s, which targets does not name", b.Name)
		}
		if len(e.Hashes) != 1 || len(e.Hashes["sha256"]) == 0 {
			return fmt.Errorf("target %s: want sha256 and no other hash", b.Name)
		}
		if err := e.VerifyLengthHashes(b.Content); err != nil {
			return fmt.Errorf("target %s: %w", b.Name, err)
		}
	}
	return nil
}
