package tuf

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
)

// Mirror is a second place that the published files are written to.
type Mirror interface {
	// Write brings the mirror to p. Called again with the same p it does little.
	Write(ctx context.Context, p *Published) error
}

// Config is what a Repository needs.
type Config struct {
	Store     Store
	Keys      Keys
	Lifetimes Lifetimes
	Clock     clock.Clock
	Log       *slog.Logger
	Mirror    Mirror // nil: none

	// Until, if not nil, is asked for Lifetimes.Until whenever something is looked at or signed.
	Until func() (time.Time, error)

	// MaxGap refuses to renew when the clock is further than this past the last publication,
	// which a service that signs daily cannot be. 0 accepts any gap, for an instance that its user
	// starts now and then.
	MaxGap time.Duration

	// AcceptClock signs although the clock contradicts the last publication. It is for the one
	// start after a wrong clock was put right.
	AcceptClock bool
}

// Repository publishes the sets of one store. It is safe for concurrent use.
type Repository struct {
	cfg       Config
	mu        sync.Mutex // one publication at a time; replicas are held apart by the store
	published atomic.Pointer[Published]
	health    atomic.Pointer[Health]
	looks     lookout
}

// Health is what the last check of Run found.
type Health struct {
	Err     error     // nil: all is well
	Since   time.Time // of the first check that failed, if Err is set
	Checked time.Time
}

// New returns a repository that shows nothing until Open, Create or Publish succeeds.
func New(cfg Config) *Repository { return &Repository{cfg: cfg} }

// Published returns what readers are to see, nil before there is anything. It never blocks.
func (r *Repository) Published() *Published { return r.published.Load() }

// Health returns what the last check of Run found, the zero value before the first.
func (r *Repository) Health() Health {
	if h := r.health.Load(); h != nil {
		return *h
	}
	return Health{}
}

// UseKeys has the sets to come signed with these keys, as after the rotation of one.
func (r *Repository) UseKeys(k Keys) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cfg.Keys = k
}

// Open shows what the store holds. It fails with ErrNotCreated if that is nothing.
func (r *Repository) Open(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.show(ctx)
}

// Edition is what targets metadata is made of: the targets, all of them, and the record that they
// were composed from (Release.Record), nil for none.
type Edition struct {
	Targets []Target
	Record  []byte
}

// Create makes the repository with these targets; all four keys must be here. It fails with
// ErrExists if there is one.
func (r *Repository) Create(ctx context.Context, targets []Target) error {
	return r.CreateEdition(ctx, Edition{Targets: targets})
}

// CreateEdition is Create for targets that have a record.
func (r *Repository) CreateEdition(ctx context.Context, e Edition) error {
	if err := checkTargets(e.Targets); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.update(ctx, func(cur Release, now time.Time) (Release, error) {
		if cur.Created() {
			return Release{}, ErrExists
		}
		return first(e, r.cfg.Keys, r.cfg.Lifetimes, now)
	})
	if err != nil {
		return fmt.Errorf("create the TUF repository: %w", err)
	}
	return r.show(ctx)
}

// Publish makes these the targets, all of them: what is not among them is no target any more. It
// reports whether anything had to be signed. The targets key must be here if so.
func (r *Repository) Publish(ctx context.Context, targets []Target) (changed bool, err error) {
	return r.PublishEdition(ctx, Edition{Targets: targets})
}

// PublishEdition is Publish for targets that have a record. Another record alone is a new version of
// targets.
func (r *Repository) PublishEdition(ctx context.Context, e Edition) (changed bool, err error) {
	if err := checkTargets(e.Targets); err != nil {
		return false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err = r.update(ctx, func(cur Release, now time.Time) (Release, error) {
		changed = false
		if !cur.Created() {
			return Release{}, ErrNotCreated
		}
		same, err := sameEdition(cur, e)
		if err != nil {
			return Release{}, err
		}
		if same && !r.targetsDue(cur, now) {
			return renewed(cur, r.cfg.Keys, r.cfg.Lifetimes, now)
		}
		changed = true
		return withTargets(cur, e, r.cfg.Keys, r.cfg.Lifetimes, now)
	})
	if err != nil {
		return false, fmt.Errorf("publish TUF targets: %w", err)
	}
	return changed, r.show(ctx)
}

// targetsDue asks for new targets metadata only where the key to sign it is at hand.
func (r *Repository) targetsDue(cur Release, now time.Time) bool {
	return r.cfg.Keys.Targets != nil && remaining(cur.Targets, now) < r.cfg.Lifetimes.RenewTargets
}

// Refresh shows what other replicas have published, and signs snapshot and timestamp again if
// they are due. It takes the store's lock only then.
func (r *Repository) Refresh(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	shown := r.show(ctx)
	p := r.published.Load()
	life, err := r.lifetimes()
	if err != nil {
		return errors.Join(err, shown)
	}
	if p == nil || !renewalDue(p.set, life, r.cfg.Clock.Now()) {
		return shown
	}
	err = r.updateFor(ctx, life, func(cur Release, now time.Time) (Release, error) {
		return renewed(cur, r.cfg.Keys, life, now)
	})
	if err != nil {
		return errors.Join(fmt.Errorf("renew TUF metadata: %w", err), shown)
	}
	return r.show(ctx)
}

// lifetimes are those of the configuration, with the end that counts now.
func (r *Repository) lifetimes() (Lifetimes, error) {
	life := r.cfg.Lifetimes
	if r.cfg.Until == nil {
		return life, nil
	}
	var err error
	if life.Until, err = r.cfg.Until(); err != nil {
		return life, fmt.Errorf("until when TUF metadata may live: %w", err)
	}
	return life, nil
}

// update is updateFor with the lifetimes of the configuration.
func (r *Repository) update(ctx context.Context, f func(cur Release, now time.Time) (Release, error)) error {
	return r.updateFor(ctx, r.cfg.Lifetimes, f)
}

// updateFor runs f under the store's lock and stores what it returns only if a client accepts it.
func (r *Repository) updateFor(ctx context.Context, life Lifetimes, f func(cur Release, now time.Time) (Release, error)) error {
	return r.cfg.Store.Update(ctx, func(cur Release) (Release, error) {
		now := r.cfg.Clock.Now().UTC().Truncate(time.Second)
		next, err := f(cur, now)
		if err != nil {
			return Release{}, err
		}
		if next.Versions() == cur.Versions() {
			return cur, nil
		}
		if err := checkClock(cur, now, r.cfg.MaxGap); err != nil && !r.cfg.AcceptClock {
			return Release{}, err
		}
		return next, accept(cur, next, life, now)
	})
}

// show swaps in what the store holds, if that is not what is shown already.
func (r *Repository) show(ctx context.Context) error {
	p := r.published.Load()
	v, err := r.cfg.Store.Versions(ctx)
	if err != nil {
		return fmt.Errorf("read the TUF repository: %w", err)
	}
	if p == nil || p.Versions() != v {
		a, err := r.cfg.Store.Load(ctx)
		if err != nil {
			return fmt.Errorf("read the TUF repository: %w", err)
		}
		if p, err = newPublished(a); err != nil {
			return err
		}
		r.published.Store(p)
		r.cfg.Log.InfoContext(ctx, "TUF set published", "root", v.Root, "targets", v.Targets,
			"snapshot", v.Snapshot, "timestamp", v.Timestamp, "timestamp_expires", p.Expires(Timestamp))
	}
	if r.cfg.Mirror == nil {
		return nil
	}
	if err := r.cfg.Mirror.Write(ctx, p); err != nil {
		return fmt.Errorf("write the TUF mirror: %w", err)
	}
	return nil
}
