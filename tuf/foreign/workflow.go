package foreign

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/trustroot"
)

// Source is where the files of a TUF repository come from.
type Source interface {
	// Fetch returns a file by its path below the repository's base, such as "timestamp.json", of at most max
	// bytes; fs.ErrNotExist where it is not there.
	Fetch(ctx context.Context, path string, max int64) ([]byte, error)
}

// Sizes that clients take.
var maxSize = map[string]int64{tuf.Root: 512 << 10, tuf.Timestamp: 16 << 10, tuf.Snapshot: 2 << 20, tuf.Targets: 5 << 20}

// maxNewRoots bounds how many roots one refresh follows.
const maxNewRoots = 64

// Take is the trust root that a TUF repository publishes as a target, verified from a root that is known to be
// its own: pinned. issuers are what is known of its authorities; those that its signing configuration names are
// added.
func Take(ctx context.Context, src Source, r Root, pinned []byte, now time.Time) (Root, error) {
	if err := CheckName(r.Name); err != nil {
		return Root{}, err
	}
	if r.Target == "" {
		r.Target = trustroot.TrustedRootName
	}
	if !tuf.ValidTargetName(r.Target) {
		return Root{}, fmt.Errorf("%w: %s: target %.80q: want one path segment", ErrForeign, r.Name, r.Target)
	}
	r.Roots, r.Timestamp, r.Snapshot = [][]byte{pinned}, 0, 0
	return r.update(ctx, src, now)
}

// Refresh is what the repository publishes now, from the newest root on that is known. It is refused where it
// is older than r.
func (r Root) Refresh(ctx context.Context, src Source, now time.Time) (Root, error) {
	if !r.FromRepository() {
		return Root{}, fmt.Errorf("%w: %s was taken from a file: bring a newer file", ErrForeign, r.Name)
	}
	next, err := r.update(ctx, src, now)
	if err != nil {
		return Root{}, err
	}
	return next, next.Follows(r)
}

// Same says whether it is what is known already, but for the time when it was seen.
func (r Root) Same(o Root) bool {
	return r.Name == o.Name && r.Repository == o.Repository && r.Target == o.Target && len(r.Roots) == len(o.Roots) &&
		string(r.Targets) == string(o.Targets) && string(r.Content) == string(o.Content) && slices.Equal(r.Issuers, o.Issuers) && r.Expires.Equal(o.Expires)
}

// update runs the client workflow; the comments are the steps of the specification.
func (r Root) update(ctx context.Context, src Source, now time.Time) (Root, error) {
	c := &client{ctx: ctx, src: src, name: r.Name}
	next := r
	next.Roots = slices.Clone(r.Roots)
	for _, step := range []func() error{
		func() error { return c.roots(&next, now) }, // 5.2, 5.3
		c.timestamp, c.snapshot, // 5.4, 5.5
		func() (err error) { next.Targets, err = c.targets(); return err },               // 5.6
		func() (err error) { next.Content, err = c.content(r.Target, true); return err }, // 5.7
	} {
		if err := step(); err != nil {
			return Root{}, err
		}
	}
	next.Timestamp, next.Snapshot = c.tm.Timestamp.Signed.Version, c.tm.Snapshot.Signed.Version
	next.Taken, next.Expires = stamp(now), first(c.tm.Root.Signed.Expires, c.tm.Targets[tuf.Targets].Signed.Expires)
	named, err := c.issuers()
	if err != nil {
		return Root{}, err
	}
	next.Issuers = sorted(slices.Concat(r.Issuers, named))
	return checked(next)
}

// client is one run of the workflow.
type client struct {
	ctx  context.Context // of the one call it lives in
	src  Source
	name string
	tm   *trustedmetadata.TrustedMetadata
}

// refuse says what is wrong, and what it means.
func (c *client) refuse(what string, err error) error {
	var expired *metadata.ErrExpiredMetadata
	if errors.As(err, &expired) {
		return fmt.Errorf("%w: %s: %s: %w: its repository is not renewed, or this copy of it is old, or a clock is wrong", ErrExpired, c.name, what, err)
	}
	return fmt.Errorf("%w: %s: %s: %w", ErrForeign, c.name, what, err)
}

func (c *client) fetch(path, role string) ([]byte, error) {
	raw, err := c.src.Fetch(c.ctx, path, maxSize[role])
	if err != nil {
		return nil, fmt.Errorf("repository of %s: %w", c.name, err)
	}
	return raw, nil
}

func (c *client) roots(r *Root, now time.Time) (err error) {
	if c.tm, err = trustedmetadata.New(r.Roots[0]); err != nil {
		return c.refuse("the root to start from is not usable", err)
	}
	c.tm.RefTime = now
	for _, raw := range r.Roots[1:] {
		if _, err := c.tm.UpdateRoot(raw); err != nil {
			return c.refuse("a root that is known", err)
		}
	}
	for range maxNewRoots {
		version := c.tm.Root.Signed.Version + 1
		raw, err := c.src.Fetch(c.ctx, fmt.Sprintf("%d.root.json", version), maxSize[tuf.Root])
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("repository of %s: %w", c.name, err)
		}
		if _, err := c.tm.UpdateRoot(raw); err != nil {
			return c.refuse(fmt.Sprintf("root version %d", version), err)
		}
		r.Roots = append(r.Roots, raw)
	}
	return fmt.Errorf("%w: %s: more than %d new roots: start from a newer one", ErrForeign, c.name, maxNewRoots)
}

func (c *client) timestamp() error {
	raw, err := c.fetch("timestamp.json", tuf.Timestamp)
	if err != nil {
		return err
	}
	if _, err := c.tm.UpdateTimestamp(raw); err != nil {
		return c.refuse("timestamp", err)
	}
	return nil
}

// versioned is the path of metadata: with its version in front where the repository keeps old ones.
func (c *client) versioned(role string, version int64) string {
	if c.tm.Root.Signed.ConsistentSnapshot {
		return fmt.Sprintf("%d.%s.json", version, role)
	}
	return role + ".json"
}

func (c *client) snapshot() error {
	meta := c.tm.Timestamp.Signed.Meta["snapshot.json"]
	if meta == nil {
		return c.refuse("timestamp", errors.New("it names no snapshot"))
	}
	raw, err := c.fetch(c.versioned(tuf.Snapshot, meta.Version), tuf.Snapshot)
	if err != nil {
		return err
	}
	if _, err := c.tm.UpdateSnapshot(raw, false); err != nil {
		return c.refuse("snapshot", err)
	}
	return nil
}

func (c *client) targets() ([]byte, error) {
	meta := c.tm.Snapshot.Signed.Meta["targets.json"]
	if meta == nil {
		return nil, c.refuse("snapshot", errors.New("it names no targets"))
	}
	raw, err := c.fetch(c.versioned(tuf.Targets, meta.Version), tuf.Targets)
	if err != nil {
		return nil, err
	}
	if _, err := c.tm.UpdateTargets(raw); err != nil {
		return nil, c.refuse("targets", err)
	}
	return raw, nil
}

// content is the bytes of a target; nil where it is not there and not wanted.
func (c *client) content(target string, wanted bool) ([]byte, error) {
	entry := c.tm.Targets[tuf.Targets].Signed.Targets[target]
	if entry == nil && !wanted {
		return nil, nil
	}
	if entry == nil {
		return nil, fmt.Errorf("%w: %s: its repository has no target %s", ErrForeign, c.name, target)
	}
	if entry.Length > MaxContent {
		return nil, fmt.Errorf("%w: %s: target %s has %d bytes, want at most %d", ErrForeign, c.name, target, entry.Length, MaxContent)
	}
	paths := []string{"targets/" + target}
	if c.tm.Root.Signed.ConsistentSnapshot {
		paths = nil
		for _, kind := range slices.Sorted(maps.Keys(entry.Hashes)) { // a repository may have it under any of them
			paths = append(paths, "targets/"+hex.EncodeToString(entry.Hashes[kind])+"."+target)
		}
	}
	err := fmt.Errorf("target %s: %w", target, fs.ErrNotExist)
	for _, path := range paths {
		var raw []byte
		if raw, err = c.src.Fetch(c.ctx, path, entry.Length); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			break
		}
		if err := entry.VerifyLengthHashes(raw); err != nil {
			return nil, c.refuse("target "+target, err)
		}
		return raw, nil
	}
	return nil, fmt.Errorf("repository of %s: %w", c.name, err)
}

// issuers are those that the repository's signing configuration sends people to.
func (c *client) issuers() (urls []string, err error) {
	raw, err := c.content(trustroot.SigningConfigName, false)
	if raw == nil || err != nil {
		return nil, err
	}
	services, err := trustroot.ReadSigningConfig(raw)
	if err != nil {
		return nil, nil // it is not needed: what is not known is said to be unknown
	}
	for _, s := range services {
		if s.Kind == "issuer" {
			urls = append(urls, s.URL)
		}
	}
	return urls, nil
}

// CleanURL is the base URL of a TUF repository without a slash at the end.
func CleanURL(raw string) (string, error) {
	clean := strings.TrimRight(raw, "/")
	u, err := url.Parse(clean)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%w: %.200q is not the URL of a TUF repository: want http or https, a host, and nothing secret", ErrForeign, raw)
	}
	return clean, nil
}
