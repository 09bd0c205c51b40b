package foreign

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/trustroot"
)

// The reasons for which a foreign root is refused. Every error of the package wraps one of them, but those of a
// Source.
var (
	ErrForeign  = errors.New("foreign trust root refused")
	ErrRollback = errors.New("foreign trust root goes back")
	ErrExpired  = errors.New("foreign trust root has expired")
)

// Bounds.
const (
	MaxRoots   = 16        // foreign roots of one instance
	MaxContent = 128 << 10 // bytes of a trusted_root.json
	maxIssuers = 256
)

// Root is the trust root of another instance. Methods that change it return a new one.
type Root struct {
	Name string // ours for it: what TargetOf and the path are made of

	// Where it is refreshed from: the base URL of a TUF repository. "" where it was brought.
	Repository string
	Target     string   // its name there; "" where it is a file that somebody brought
	Roots      [][]byte // of that repository, from the pinned one to the newest without a gap
	Targets    []byte   // metadata that names Target
	// Versions of timestamp and snapshot under which Targets was seen.
	Timestamp, Snapshot int64

	Content []byte   // trusted_root.json, as its publisher made it
	Issuers []string // that its authorities are known to take tokens of; may have Fulcio's wildcards

	Taken   time.Time // whole seconds, UTC
	Expires time.Time // of Roots or Targets the first to expire; of a file what was said when it was brought
}

// name leaves no room for paths, and none for the names of other targets.
var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// CheckName refuses what is no name of a foreign root.
func CheckName(s string) error {
	if !name.MatchString(s) {
		return fmt.Errorf("%w: %.40q is no name for it: want 1 to 32 letters a to z, digits and hyphens, since it is part of a path and of a file name", ErrForeign, s)
	}
	return nil
}

// TargetOf is the name of the target that holds the foreign root of a name. It is one path segment, since
// there are clients that cannot fetch others, and none takes it for its own trusted_root.json.
func TargetOf(name string) string { return name + "." + trustroot.TrustedRootName }

// FromFile is a foreign root that somebody has brought as a file, and vouches for until a time.
func FromFile(name string, content []byte, issuers []string, now, until time.Time) (Root, error) {
	r := Root{Name: name, Content: content, Issuers: sorted(issuers), Taken: stamp(now), Expires: stamp(until)}
	if !r.Expires.After(r.Taken) {
		return Root{}, fmt.Errorf("%w: %s: it would be good until %s: that is over", ErrExpired, name, r.Expires.Format(time.RFC3339))
	}
	return checked(r)
}

// checked is r where it is sound, and nothing where it is not.
func checked(r Root) (Root, error) {
	if err := r.Check(); err != nil {
		return Root{}, err
	}
	return r, nil
}

// Again is r with a newer file: it must have everything that r has, since a file has no version that would show
// which one is older.
func (r Root) Again(content []byte, now, until time.Time) (Root, error) {
	next, err := FromFile(r.Name, content, r.Issuers, now, until)
	if err != nil {
		return Root{}, err
	}
	return next, next.Follows(r)
}

func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func sorted(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}

// FromRepository says whether it comes from a TUF repository.
func (r Root) FromRepository() bool { return r.Target != "" }

// Check verifies a foreign root as far as it can be without its repository: its name, that clients read it, and
// that the keys of the newest root have signed the targets that name it, each root signed as the one before
// wants. It does not ask what time it is.
func (r Root) Check() error {
	if err := CheckName(r.Name); err != nil {
		return err
	}
	if len(r.Content) == 0 || len(r.Content) > MaxContent || len(r.Issuers) > maxIssuers {
		return fmt.Errorf("%w: %s: %d bytes and %d issuers, want at most %d and %d", ErrForeign, r.Name, len(r.Content), len(r.Issuers), MaxContent, maxIssuers)
	}
	if _, err := trustroot.LintFile(r.Content); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrForeign, r.Name, err)
	}
	for _, i := range r.Issuers {
		if u, err := url.Parse(i); err != nil || u.Scheme != "https" && u.Scheme != "http" {
			return fmt.Errorf("%w: %s: issuer %.200q is no URL", ErrForeign, r.Name, i)
		}
	}
	if !r.FromRepository() {
		if r.Repository != "" || r.Roots != nil || r.Targets != nil || r.Timestamp != 0 || r.Snapshot != 0 {
			return fmt.Errorf("%w: %s: a file with parts of a repository", ErrForeign, r.Name)
		}
		return nil
	}
	return r.checkSigned()
}

func (r Root) checkSigned() error {
	fail := func(err error) error { return fmt.Errorf("%w: %s: %w", ErrForeign, r.Name, err) }
	if !tuf.ValidTargetName(r.Target) || len(r.Roots) == 0 || r.Timestamp < 1 || r.Snapshot < 1 {
		return fail(errors.New("it lacks its target's name, its roots, or their versions"))
	}
	if r.Repository != "" {
		if _, err := CleanURL(r.Repository); err != nil {
			return err
		}
	}
	root, err := chain(r.Roots)
	if err != nil {
		return fail(err)
	}
	targets, err := metadata.Targets().FromBytes(r.Targets)
	if err != nil {
		return fail(fmt.Errorf("targets: %w", err))
	}
	if err := root.VerifyDelegate(tuf.Targets, targets); err != nil {
		return fail(fmt.Errorf("targets are not signed by the keys of its root: %w", err))
	}
	entry := targets.Signed.Targets[r.Target]
	if entry == nil {
		return fail(fmt.Errorf("its repository has no target %s", r.Target))
	}
	if err := entry.VerifyLengthHashes(r.Content); err != nil {
		return fail(fmt.Errorf("it is not the target %s of its repository: %w", r.Target, err))
	}
	if want := first(root.Signed.Expires, targets.Signed.Expires); !r.Expires.Equal(want) {
		return fail(fmt.Errorf("it expires at %s, and says %s", want.Format(time.RFC3339), r.Expires.Format(time.RFC3339)))
	}
	return nil
}

// chain wants each root signed as the one before it wants, and as it wants itself, and returns the newest.
func chain(roots [][]byte) (*metadata.Metadata[metadata.RootType], error) {
	var newest *metadata.Metadata[metadata.RootType]
	for _, raw := range roots {
		next, err := metadata.Root().FromBytes(raw)
		if err != nil {
			return nil, fmt.Errorf("root: %w", err)
		}
		v := next.Signed.Version
		if newest != nil {
			if want := newest.Signed.Version + 1; v != want {
				return nil, fmt.Errorf("root version %d does not follow version %d", v, want-1)
			}
			if err := newest.VerifyDelegate(tuf.Root, next); err != nil {
				return nil, fmt.Errorf("root version %d is not signed by the keys of the one before: %w", v, err)
			}
		}
		if err := next.VerifyDelegate(tuf.Root, next); err != nil {
			return nil, fmt.Errorf("root version %d is not signed by its own keys: %w", v, err)
		}
		newest = next
	}
	return newest, nil
}

func first(a, b time.Time) time.Time {
	if b.Before(a) {
		a = b
	}
	return stamp(a)
}

// Versions are those of root and targets of its repository, zeros of a file.
func (r Root) Versions() (root, targets int64) {
	if !r.FromRepository() {
		return 0, 0
	}
	if m, err := metadata.Root().FromBytes(r.Roots[len(r.Roots)-1]); err == nil {
		root = m.Signed.Version
	}
	if m, err := metadata.Targets().FromBytes(r.Targets); err == nil {
		targets = m.Signed.Version
	}
	return root, targets
}

// Follows refuses to replace prev by what is older. Whoever means to begin anew removes prev, and takes it again.
func (r Root) Follows(prev Root) error {
	back := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s: %s. If that is meant, remove it (sigbox trust remove %s) and add it again", ErrRollback, r.Name, fmt.Sprintf(format, args...), r.Name)
	}
	switch {
	case r.Name != prev.Name:
		return fmt.Errorf("%w: %s does not follow %s", ErrForeign, r.Name, prev.Name)
	case r.FromRepository() != prev.FromRepository() || r.Target != prev.Target:
		return back("it came from a repository and comes from a file, or the other way round, or from another target")
	case r.Taken.Before(prev.Taken):
		return back("it was taken at %s, and the one that is here at %s", r.Taken.Format(time.RFC3339), prev.Taken.Format(time.RFC3339))
	case !prev.FromRepository():
		return r.keeps(prev, back)
	case len(r.Roots) < len(prev.Roots) || !slices.EqualFunc(r.Roots[:len(prev.Roots)], prev.Roots, bytes.Equal):
		return back("its roots are not those that were here, and newer ones")
	}
	_, have := prev.Versions()
	_, now := r.Versions()
	switch {
	case now < have:
		return back("targets version %d after %d", now, have)
	case now == have && !sameSigned(r.Targets, prev.Targets):
		return back("targets version %d is not what it was", now)
	case r.otherOnlineKeys(prev): // the specification's way back from versions that an attacker has driven up
		return nil
	case r.Timestamp < prev.Timestamp:
		return back("timestamp version %d after %d", r.Timestamp, prev.Timestamp)
	case r.Snapshot < prev.Snapshot:
		return back("snapshot version %d after %d", r.Snapshot, prev.Snapshot)
	}
	return nil
}

// sameSigned says whether two targets say the same, whoever has signed them.
func sameSigned(a, b []byte) bool {
	x, errX := metadata.Targets().FromBytes(a)
	y, errY := metadata.Targets().FromBytes(b)
	if errX != nil || errY != nil {
		return false
	}
	p, errX := cjson.EncodeCanonical(x.Signed)
	q, errY := cjson.EncodeCanonical(y.Signed)
	return errX == nil && errY == nil && bytes.Equal(p, q)
}

// keeps wants everything that a file had.
func (r Root) keeps(prev Root, back func(string, ...any) error) error {
	had, err := trustroot.ReadTrustedRoot(prev.Content)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	has, err := trustroot.ReadTrustedRoot(r.Content)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	for _, s := range had {
		if !slices.ContainsFunc(has, func(o trustroot.Service) bool { return o.Kind == s.Kind && o.KeyID == s.KeyID && o.Chain == s.Chain }) {
			return back("the file lacks the %s with key %x at %.200q, which the one that is here has: it is an older one, or another instance's", s.Kind, s.KeyID[:8], s.URL)
		}
	}
	return nil
}

// otherOnlineKeys says whether the newest roots name different keys for snapshot or timestamp.
func (r Root) otherOnlineKeys(prev Root) bool {
	a, errA := metadata.Root().FromBytes(prev.Roots[len(prev.Roots)-1])
	b, errB := metadata.Root().FromBytes(r.Roots[len(r.Roots)-1])
	if errA != nil || errB != nil {
		return false
	}
	for _, role := range []string{tuf.Snapshot, tuf.Timestamp} {
		x, y := a.Signed.Roles[role], b.Signed.Roles[role]
		if x == nil || y == nil || !slices.Equal(sorted(x.KeyIDs), sorted(y.KeyIDs)) {
			return true
		}
	}
	return false
}
