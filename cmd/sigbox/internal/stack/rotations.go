package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/filelock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
)

// Components of an instance of which the key can be rotated, beside the logs of Rekor.
var rotatable = map[string]struct {
	kind string
	tuf  string // the TUF role; "" for none
	what string
}{
	roleCAIntermediate: {kindCA, "", "the key that issues certificates, below the root that is there"},
	roleCARoot:         {kindCA, "", "the root of the certificate authority, and the key below it that issues certificates"},
	roleTSA:            {kindTSA, "", "the key that signs timestamps, below the root that is there"},
	roleCT:             {kindCT, "", "the CT log: a new one, with a key and an address of its own"},
	roleTUFTimestamp:   {roleTUFTimestamp, tuf.Timestamp, "the key of the TUF role timestamp"},
	roleTUFSnapshot:    {roleTUFSnapshot, tuf.Snapshot, "the key of the TUF role snapshot"},
	roleTUFTargets:     {roleTUFTargets, tuf.Targets, "the key of the TUF role targets"},
	roleTUFRoot:        {roleTUFRoot, tuf.Root, "the key of the TUF role root"},
}

// retireGrace is how long after the switch an old key ends: a certificate is valid for ten minutes, and what
// was signed with it is logged and stamped by then.
const retireGrace = time.Hour

// takeOver is how long a running instance may take to take a step over.
const takeOver = 30 * time.Second

// Rotations rotates keys of an instance of sigbox up, whether it runs or not.
type Rotations struct {
	dir      *instance.Dir
	db       *databases
	database string
	running  bool // a process has the data directory
	clock    clock.Clock
	close    []func() error
}

// OpenRotations opens an instance; database as in Options. d must not be locked. One can be open at a time.
func OpenRotations(ctx context.Context, d *instance.Dir, database string, c clock.Clock) (_ *Rotations, err error) {
	r := &Rotations{dir: d, database: database, clock: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	mine, err := filelock.Acquire(d.File("rotations.lock"))
	if errors.Is(err, filelock.ErrHeld) {
		return r, fmt.Errorf("data directory %s: another sigbox rotate is at work on it: wait until it has ended", d.Path)
	}
	if err != nil {
		return r, err
	}
	r.close = append(r.close, mine.Close)
	theirs, err := filelock.Acquire(d.File("lock"))
	switch r.running = errors.Is(err, filelock.ErrHeld); {
	case err == nil:
		r.close = append(r.close, theirs.Close)
	case !r.running:
		return r, err
	}
	if err := checkKind(d, database); err != nil {
		return r, err
	}
	if r.db, err = openExisting(ctx, d, database); err == nil {
		r.close = append(r.close, r.db.Close)
	}
	return r, err
}

// Close gives everything back.
func (r *Rotations) Close() error {
	var errs []error
	for _, c := range slices.Backward(r.close) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// Running says whether a process has the instance open.
func (r *Rotations) Running() bool { return r.running }

// IsRotatable says whether an instance has a component of this name whose key it can rotate itself.
func IsRotatable(component string) bool { return rotatable[component].kind != "" }

// State returns where the keys of a component stand.
func (r *Rotations) State(component string) (rotation.Kind, error) {
	return RotationState(r.dir, component)
}

// RotationState says where the keys of a component of an instance stand. d need not be locked.
func RotationState(d *instance.Dir, component string) (rotation.Kind, error) {
	j, _, err := journalFile(d).Read()
	if err != nil {
		return rotation.Kind{}, err
	}
	return j.Kind(rotatable[component].kind), nil
}

// Machine is the state machine of a component, without what the caller sets: Say, Soak and Until.
func (r *Rotations) Machine(component string) *rotation.Machine {
	c := rotatable[component]
	m := &rotation.Machine{File: journalFile(r.dir), Kind: c.kind, Clock: r.clock, Grace: retireGrace}
	m.Work = rotation.Work{Drop: r.drop(c.kind), Taken: r.taken}
	switch {
	case c.tuf != "":
		m.Work.Make = func(_ context.Context, t rotation.Rotation) error { return r.makeKey(c.kind, t.To) }
		m.Work.Switch = func(ctx context.Context, from, to int) error { return r.switchTUF(ctx, c.kind, c.tuf, from, to) }
		return m
	case c.kind == kindCA:
		m.Work.Make = r.makeCA
	case c.kind == kindTSA:
		m.Work.Make = r.makeTSA
	case c.kind == kindCT:
		m.Work.Make = r.makeCT
	}
	m.Work.Publish = func(ctx context.Context, n int) error { return r.publish(ctx, c.kind, n) }
	m.Work.Retire = func(ctx context.Context, n int, end time.Time) error { return r.retire(ctx, c.kind, n, end) }
	return m
}

// taken waits until the process that runs has taken the journal over.
func (r *Rotations) taken(ctx context.Context) error {
	if !r.running {
		return nil
	}
	for deadline := r.clock.Now().Add(takeOver); ; {
		ok, err := hasTaken(r.dir)
		if ok || err != nil {
			return err
		}
		if r.clock.Now().After(deadline) {
			return fmt.Errorf("the sigbox that runs on %s has not taken this step over within %s: its log says why; it goes on with the keys of before. Then run this again with --resume", r.dir.Path, takeOver)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookForRotations / 2):
		}
	}
}

// makeKey makes the key of a role, unless it is there.
func (r *Rotations) makeKey(role string, n int) error {
	path := numberedKey(r.dir, role, n)
	if err := instance.MakeDir(filepath.Dir(path)); err != nil {
		return err
	}
	return MakeKey(path)
}

// drop removes what was made and never published.
func (r *Rotations) drop(kind string) func(context.Context, int) error {
	return func(ctx context.Context, n int) error {
		role := map[string]string{kindCA: roleCAIntermediate}[kind]
		if role == "" {
			role = kind
		}
		paths := []string{numberedChain(r.dir, kind, n), numberedKey(r.dir, role, n), numberedKey(r.dir, roleCARoot, n)}
		switch kind {
		case kindCA:
		case kindTSA:
			paths = paths[:2]
		case kindCT: // a log is never removed, and is no log without its key
			if there, err := r.hasLog(ctx, ctKey{n: n}.name()); there || err != nil {
				return err
			}
			paths = paths[1:2]
		default:
			paths = paths[1:2]
		}
		var errs []error
		for _, path := range paths {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	}
}

func (r *Rotations) hasLog(ctx context.Context, name string) (bool, error) {
	all, err := r.db.list(ctx)
	for _, d := range all {
		if d.Name == name {
			return true, nil
		}
	}
	return false, err
}

// repository is that of the instance, with the keys that its root names.
func (r *Rotations) repository(ctx context.Context) (*tuf.Repository, tuf.Release, tuf.Keys, error) {
	repo := newRepository(r.db.file, &material{}, r.clock, slog.New(slog.DiscardHandler))
	cur, err := repo.Current(ctx)
	if err != nil {
		return nil, cur, tuf.Keys{}, err
	}
	j, _, err := journalFile(r.dir).Read()
	if err != nil {
		return nil, cur, tuf.Keys{}, err
	}
	keys, err := tufKeys(r.dir, j, cur)
	if err != nil {
		return nil, cur, tuf.Keys{}, err
	}
	repo.UseKeys(keys)
	return repo, cur, keys, repo.Open(ctx)
}

// change publishes the record that f makes of the current one.
func (r *Rotations) change(ctx context.Context, f func(record.Record) (record.Record, error)) error {
	repo, cur, _, err := r.repository(ctx)
	if err != nil {
		return err
	}
	rec, err := instanceRecord(cur, r.dir.Info)
	if err != nil {
		return err
	}
	if rec, err = f(rec); err != nil {
		return err
	}
	edition, err := rec.Edition()
	if err == nil {
		_, err = repo.PublishEdition(ctx, edition)
	}
	return err
}

// publish puts a key into the trust root that does not sign yet.
func (r *Rotations) publish(ctx context.Context, kind string, n int) error {
	s, err := r.statement(kind, n)
	if err != nil {
		return err
	}
	return r.change(ctx, func(rec record.Record) (record.Record, error) {
		if said := rec.Find(s.Role, s.KeyID()); said != nil { // by a step that was killed
			return rec, nil
		}
		return rec.State(s, r.clock.Now())
	})
}

// retire gives a key an end. One that is in no trust root, or has its end, is left alone.
func (r *Rotations) retire(ctx context.Context, kind string, n int, end time.Time) error {
	s, err := r.statement(kind, n)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was never published without being there
	}
	if err != nil {
		return err
	}
	return r.change(ctx, func(rec record.Record) (record.Record, error) {
		if said := rec.Find(s.Role, s.KeyID()); said == nil || !said.End.IsZero() {
			return rec, nil
		}
		return rec.Retire(s.KeyID(), end)
	})
}

// statement is what a key says about itself.
func (r *Rotations) statement(kind string, n int) (s statement.Statement, err error) {
	url := r.dir.Info.URL
	s.Instance = r.dir.Info.ID
	switch kind {
	case kindCT:
		k := ctKey{n: n}
		if k.key, err = keys.Load(numberedKey(r.dir, roleCT, n)); err != nil {
			return s, err
		}
		l, err := instanceCT(r.dir.Info, k)
		if err != nil {
			return s, err
		}
		s.Role, s.URL, s.Key, s.Origin = statement.CT, l.url(url), k.key.Public(), l.Origin
		s.ValidFrom = r.clock.Now().Add(-startSlack).UTC().Truncate(time.Second)
		return s, nil
	case kindCA:
		s.Role, s.URL, s.Issuers = statement.CA, url, []string{url}
	case kindTSA:
		s.Role, s.URL = statement.TSA, url+tsaPath
	}
	role := roleTSA
	if kind == kindCA {
		role = roleCAIntermediate
	}
	a, err := loadAuthority(r.dir, kind, role, n)
	if err == nil {
		s.Chain, s.ValidFrom = a.chain, a.chain[0].NotBefore
	}
	return s, err
}
