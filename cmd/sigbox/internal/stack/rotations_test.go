package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
)

var errKilled = errors.New("killed")

// cut is where a rotation is killed.
type cut struct {
	what  string // "make", "publish", "switch", "retire", "drop", or "say" of a step
	after bool   // done, and not written down
}

func (c cut) String() string { return fmt.Sprintf("%s, after: %t", c.what, c.after) }

// mortal has a machine end where it is cut.
func mortal(m *rotation.Machine, c cut) *rotation.Machine {
	run := func(what string, f func() error) error {
		if what == c.what && !c.after {
			return errKilled
		}
		err := f()
		if what == c.what && err == nil {
			return errKilled
		}
		return err
	}
	w := m.Work
	m.Work.Make = func(ctx context.Context, r rotation.Rotation) error {
		return run("make", func() error { return w.Make(ctx, r) })
	}
	m.Work.Drop = func(ctx context.Context, n int) error { return run("drop", func() error { return w.Drop(ctx, n) }) }
	if w.Publish != nil {
		m.Work.Publish = func(ctx context.Context, n int) error {
			return run("publish", func() error { return w.Publish(ctx, n) })
		}
	}
	if w.Switch != nil {
		m.Work.Switch = func(ctx context.Context, from, to int) error {
			return run("switch", func() error { return w.Switch(ctx, from, to) })
		}
	}
	if w.Retire != nil {
		m.Work.Retire = func(ctx context.Context, n int, end time.Time) error {
			return run("retire", func() error { return w.Retire(ctx, n, end) })
		}
	}
	m.Say = func(r rotation.Rotation, _ bool) error {
		return run("say "+string(r.Step), func() error { return nil })
	}
	return m
}

// rotated is an instance that does not run, and whose keys are rotated.
type rotated struct {
	dir   *instance.Dir
	clock *clock.Manual
}

// newTemplate makes an instance once, for each test to have a copy of.
func newTemplate(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "template")
	c := clock.NewManual(time.Now().UTC().Truncate(time.Second))
	quiet := slog.New(slog.DiscardHandler)
	err := instance.Create(path, "127.0.0.1", instance.SQLite, c.Now(), func(d *instance.Dir) error {
		return Create(t.Context(), d, "http://127.0.0.1:1", "", c, quiet)
	})
	if err != nil {
		t.Fatal(err)
	}
	d, err := instance.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.SetURL("http://127.0.0.1:1"), d.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func copyOf(t *testing.T, made string) *rotated {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(path, os.DirFS(made)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(filepath.Join(path, "keys"), func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chmod(p, 0o600)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	d, err := instance.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return &rotated{d, clock.NewManual(time.Now().UTC().Truncate(time.Second).Add(time.Minute))}
}

// on runs do with a machine, as a process of its own.
func (r *rotated) on(t *testing.T, component string, until rotation.Step, c cut, do func(*rotation.Machine) error) error {
	t.Helper()
	rs, err := OpenRotations(t.Context(), r.dir, "", r.clock)
	if err != nil {
		t.Fatal(err)
	}
	m := mortal(rs.Machine(component), c)
	m.Until = until
	err = do(m)
	if closed := rs.Close(); closed != nil {
		t.Error(closed)
	}
	r.clock.Advance(time.Second)
	return err
}

func (r *rotated) begin(t *testing.T, component string, until rotation.Step, c cut) error {
	return r.on(t, component, until, c, func(m *rotation.Machine) error {
		if err := m.Begin(t.Context(), component); err != nil {
			return err
		}
		return m.Resume(t.Context())
	})
}

func resume(m *rotation.Machine) error { return m.Resume(context.Background()) }
func undo(m *rotation.Machine) error   { return m.Undo(context.Background()) }

// published is what the TUF repository holds.
func (r *rotated) published(t *testing.T) (tuf.Release, record.Record) {
	t.Helper()
	rs, err := OpenRotations(t.Context(), r.dir, "", r.clock)
	if err != nil {
		t.Fatal(err)
	}
	defer rs.Close()
	_, cur, _, err := rs.repository(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rec, err := record.Parse(cur.Record)
	if err != nil {
		t.Fatal(err)
	}
	return cur, rec
}

var rolesOfKinds = map[string]statement.Role{kindCA: statement.CA, kindTSA: statement.TSA, kindCT: statement.CT}

// state is what there is to see of a kind, in one line: which key signs, and for the trust root which keys
// are there and whether they have an end, or the version of the root and the number of the key that it names.
func (r *rotated) state(t *testing.T, component string) string {
	t.Helper()
	kind := rotatable[component].kind
	j, _, err := journalFile(r.dir).Read()
	if err != nil {
		t.Fatal(err)
	}
	k := j.Kind(kind)
	line := fmt.Sprintf("uses %d of %d", k.InUse, k.Last)
	if k.Rotation != nil {
		line += ", " + string(k.Rotation.Step)
	}
	cur, rec := r.published(t)
	if role := rotatable[component].tuf; role != "" {
		signers, err := tuf.SignersOf(cur.Roots[len(cur.Roots)-1].Bytes)
		if err != nil {
			t.Fatal(err)
		}
		named := map[string]tuf.Signers{tuf.Root: signers.Root, tuf.Targets: signers.Targets, tuf.Snapshot: signers.Snapshot, tuf.Timestamp: signers.Timestamp}[role]
		for n := 1; n <= k.Last; n++ {
			if key, err := keys.Load(numberedKey(r.dir, kind, n)); err == nil && keys.Equal(key.Public(), named.Keys[0]) {
				line += fmt.Sprintf("; root %d names %d", len(cur.Roots), n)
			}
		}
		return line
	}
	for _, key := range rec.Keys {
		if key.Role == rolesOfKinds[kind] {
			line += map[bool]string{true: "; trusted", false: "; ended"}[key.End.IsZero()]
		}
	}
	return line
}

// serves opens the instance as "sigbox up" does, which wants all keys to fit, and the set to be one that can
// be signed again.
func (r *rotated) serves(t *testing.T) {
	t.Helper()
	d, err := instance.Open(r.dir.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s, err := Open(t.Context(), Options{Dir: d, URL: d.Info.URL, Clock: r.clock, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("up: %v", err)
	}
	defer s.Close()
	if err := s.repo.Open(t.Context()); err != nil {
		t.Error(err)
	}
	r.clock.Advance(2 * 24 * time.Hour)
	if err := s.repo.Refresh(t.Context()); err != nil {
		t.Errorf("the timestamp cannot be signed again: %v", err)
	}
}

func all() (list []string) {
	for c := range rotatable {
		list = append(list, c)
	}
	slices.Sort(list)
	return list
}

func isTUF(component string) bool { return rotatable[component].tuf != "" }

// TestRotateKilled kills a rotation before and after each piece of work, and after each step that is written
// down; --resume ends it as if nothing had been.
func TestRotateKilled(t *testing.T) {
	made := newTemplate(t)
	for _, component := range all() {
		cuts := []cut{
			{}, {"make", false}, {"make", true}, {"publish", false}, {"publish", true}, {"switch", false}, {"switch", true}, {"retire", false}, {"retire", true},
			{"say begun", true}, {"say made", true}, {"say published", true}, {"say switched", true},
		}
		want := "uses 2 of 2; ended; trusted"
		if isTUF(component) {
			want = "uses 2 of 2; root 2 names 2"
			cuts = slices.DeleteFunc(cuts, func(c cut) bool { return c.what == "publish" || c.what == "retire" })
		} else {
			cuts = slices.DeleteFunc(cuts, func(c cut) bool { return c.what == "switch" })
		}
		for _, c := range cuts {
			t.Run(component+", "+c.String(), func(t *testing.T) {
				r := copyOf(t, made)
				err := r.begin(t, component, "", c)
				if c.what == "" && err != nil || c.what != "" && !errors.Is(err, errKilled) {
					t.Fatalf("err = %v", err)
				}
				if c.what != "" {
					if err := r.on(t, component, "", cut{}, resume); err != nil {
						t.Fatalf("--resume: %v", err)
					}
				}
				if got := r.state(t, component); got != want {
					t.Errorf("%s, want %s", got, want)
				}
				if c.what == "" || c.after {
					r.serves(t)
				}
				if err := r.on(t, component, "", cut{}, resume); !errors.Is(err, rotation.ErrNone) {
					t.Errorf("--resume again: %v", err)
				}
			})
		}
	}
}

// TestRotateUndone goes back from each step, over a kill in each piece of work of the way back.
func TestRotateUndone(t *testing.T) {
	made := newTemplate(t)
	for _, component := range all() {
		for _, tc := range []struct {
			from            rotation.Step
			killed          cut // the way back
			want, wantOfTUF string
		}{
			{rotation.Begun, cut{}, "uses 1 of 2; trusted", "uses 1 of 2; root 1 names 1"},
			{rotation.Begun, cut{"drop", false}, "uses 1 of 2; trusted", "uses 1 of 2; root 1 names 1"},
			{rotation.Begun, cut{"drop", true}, "uses 1 of 2; trusted", "uses 1 of 2; root 1 names 1"},
			{rotation.Made, cut{}, "uses 1 of 2; trusted", "uses 1 of 2; root 1 names 1"},
			{rotation.Made, cut{"drop", true}, "uses 1 of 2; trusted", "uses 1 of 2; root 1 names 1"},
			{rotation.Published, cut{}, "uses 1 of 2; trusted; ended", "uses 1 of 2; root 1 names 1"},
			{rotation.Published, cut{"retire", true}, "uses 1 of 2; trusted; ended", ""},
			{rotation.Switched, cut{}, "uses 1 of 2, published; trusted; trusted", "uses 1 of 2; root 3 names 1"},
			{rotation.Switched, cut{"switch", false}, "", "uses 1 of 2; root 3 names 1"},
			{rotation.Switched, cut{"switch", true}, "", "uses 1 of 2; root 3 names 1"},
		} {
			want := tc.want
			if isTUF(component) {
				want = tc.wantOfTUF
			}
			if want == "" {
				continue
			}
			t.Run(fmt.Sprintf("%s, from %s, %s", component, tc.from, tc.killed), func(t *testing.T) {
				r := copyOf(t, made)
				stop := cut{}
				if tc.from == rotation.Begun {
					stop = cut{"say begun", true}
				}
				if err := r.begin(t, component, tc.from, stop); stop.what == "" && err != nil {
					t.Fatal(err)
				}
				err := r.on(t, component, "", tc.killed, undo)
				if tc.killed.what == "" && err != nil || tc.killed.what != "" && !errors.Is(err, errKilled) {
					t.Fatalf("err = %v", err)
				}
				if tc.killed.what != "" {
					if err := r.on(t, component, "", cut{}, resume); err != nil {
						t.Fatalf("--resume of the way back: %v", err)
					}
				}
				if got := r.state(t, component); got != want {
					t.Errorf("%s, want %s", got, want)
				}
				r.serves(t)
			})
		}
	}
}

// TestRotateBackAndForth: what was switched back can be switched again, and what is dropped after it was used
// verifies for ever.
func TestRotateBackAndForth(t *testing.T) {
	r := copyOf(t, newTemplate(t))
	steps := []struct {
		do   func(*rotation.Machine) error
		want string
	}{
		{undo, "uses 1 of 2, published; trusted; trusted"},
		{resume, "uses 2 of 2; ended; trusted"},
	}
	if err := r.begin(t, roleTSA, rotation.Switched, cut{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if err := r.on(t, roleTSA, "", cut{}, s.do); err != nil {
			t.Fatal(err)
		}
		if got := r.state(t, roleTSA); got != s.want {
			t.Errorf("%s, want %s", got, s.want)
		}
	}
	if err := r.on(t, roleTSA, "", cut{}, undo); !errors.Is(err, rotation.ErrNone) || !strings.Contains(err.Error(), "does not come back") {
		t.Errorf("undo of a key that was retired: %v", err)
	}
	r.serves(t)
}

// TestRotateSoaks: the switch waits until clients can have learnt the key, and not longer.
func TestRotateSoaks(t *testing.T) {
	r := copyOf(t, newTemplate(t))
	soaking := func(m *rotation.Machine) error { m.Soak = time.Hour; return m.Resume(t.Context()) }
	if err := r.begin(t, roleCAIntermediate, rotation.Published, cut{}); err != nil {
		t.Fatal(err)
	}
	r.clock.Advance(59 * time.Minute)
	var soak *rotation.SoakError
	if err := r.on(t, roleCAIntermediate, "", cut{}, soaking); !errors.As(err, &soak) || soak.Until.Sub(soak.Published) != time.Hour {
		t.Errorf("after 59 minutes: %v", err)
	}
	if got, want := r.state(t, roleCAIntermediate), "uses 1 of 2, published; trusted; trusted"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r.clock.Advance(time.Minute)
	if err := r.on(t, roleCAIntermediate, "", cut{}, soaking); err != nil {
		t.Errorf("after an hour: %v", err)
	}
}

// TestRotateOneAtATime: two commands, and two rotations of the same keys.
func TestRotateOneAtATime(t *testing.T) {
	r := copyOf(t, newTemplate(t))
	rs, err := OpenRotations(t.Context(), r.dir, "", r.clock)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRotations(t.Context(), r.dir, "", r.clock); err == nil || !strings.Contains(err.Error(), "another sigbox rotate") {
		t.Errorf("a second command: %v", err)
	}
	if err := rs.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.begin(t, roleCAIntermediate, rotation.Made, cut{}); err != nil {
		t.Fatal(err)
	}
	if err := r.begin(t, roleCARoot, rotation.Made, cut{}); !errors.Is(err, rotation.ErrUnderWay) {
		t.Errorf("a second rotation: %v", err)
	}
}

// TestRotateRoots: the next intermediate is below the root in use, that of ca-root below one of its own, which
// the CT log takes from then on; and one of timestamps has a new root where the old one would end before it.
func TestRotateRoots(t *testing.T) {
	r := copyOf(t, newTemplate(t))
	for _, c := range []string{roleCAIntermediate, roleCARoot, roleCAIntermediate} {
		if err := r.begin(t, c, "", cut{}); err != nil {
			t.Fatal(err)
		}
	}
	g, err := loadNumbered(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	root := func(n int) string { return g.cas[n-1].chain[1].SerialNumber.String() }
	if root(1) != root(2) || root(2) == root(3) || root(3) != root(4) || len(g.roots()) != 2 {
		t.Errorf("roots %s %s %s %s", root(1), root(2), root(3), root(4))
	}
	r.clock.Advance(6 * 365 * 24 * time.Hour)
	if err := r.begin(t, roleTSA, "", cut{}); err != nil {
		t.Fatal(err)
	}
	if g, err = loadNumbered(r.dir); err != nil {
		t.Fatal(err)
	}
	if old, next := g.tsas[0].chain[1], g.tsas[1].chain[1]; old.Equal(next) || !next.NotAfter.After(old.NotAfter) {
		t.Errorf("the root of the next timestamps ends at %s", next.NotAfter)
	}
}
