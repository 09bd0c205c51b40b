package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/foreign"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// foreignRoot is a file of a new instance.
func foreignRoot(t testing.TB, name string, at time.Time) foreign.Root {
	t.Helper()
	for _, target := range tuftest.Compose(t, tuftest.Material(t, "https://"+name+".example", now)) {
		if target.Name == trustroot.TrustedRootName {
			f, err := foreign.FromFile(name, target.Content, []string{"https://" + name + ".example"}, at, at.AddDate(0, 3, 0))
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Fatal("no trusted root")
	return foreign.Root{}
}

func target(e tuf.Edition, name string) []byte {
	for _, t := range e.Targets {
		if t.Name == name {
			return t.Content
		}
	}
	return nil
}

// TestForeign: roots of others come and go, and ours stays as it is.
func TestForeign(t *testing.T) {
	b := newBench(t)
	before, err := b.rec.Edition()
	if err != nil {
		t.Fatal(err)
	}
	zeta, acme := foreignRoot(t, "zeta", now), foreignRoot(t, "acme", now)
	rec := b.rec
	for _, f := range []foreign.Root{zeta, acme} {
		if rec, err = rec.WithForeign(f); err != nil {
			t.Fatal(err)
		}
	}
	e, err := rec.Edition()
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range before.Targets {
		if !bytes.Equal(target(e, old.Name), old.Content) {
			t.Errorf("%s has changed", old.Name)
		}
	}
	if len(e.Targets) != len(before.Targets)+3 || !bytes.Equal(target(e, "acme.trusted_root.json"), acme.Content) {
		t.Errorf("%d targets after %d", len(e.Targets), len(before.Targets))
	}
	if ix, err := foreign.ReadIndex(target(e, foreign.IndexName)); err != nil || len(ix.Roots) != 2 {
		t.Errorf("%+v, %v", ix, err)
	}
	again, err := record.Parse(e.Record)
	if err != nil || !reflect.DeepEqual(again.Foreign, rec.Foreign) {
		t.Errorf("not read as written: %v", err)
	}
	if err := errors.Join(rec.Follows(b.rec), rec.Backed(b.rec, nil), b.rec.Follows(rec)); err != nil {
		t.Errorf("comes and goes: %v", err)
	}
	for _, name := range []string{"acme", "zeta"} {
		if rec, err = rec.WithoutForeign(name); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := rec.Edition(); err != nil || !bytes.Equal(e.Record, before.Record) {
		t.Errorf("what is left differs from what was: %v", err)
	}
	if _, err := rec.WithoutForeign("acme"); err == nil || !strings.Contains(err.Error(), "there is no foreign root") {
		t.Errorf("one that is not there: %v", err)
	}
}

// TestForeignRefused: what no record may have, however it came there.
func TestForeignRefused(t *testing.T) {
	b := newBench(t)
	own, err := b.rec.Edition()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := foreign.FromFile("acme", target(own, trustroot.TrustedRootName), nil, now, now.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	acme, other := foreignRoot(t, "acme", now), foreignRoot(t, "zeta", now)
	other.Name = "acme"
	withAcme, err := b.rec.WithForeign(acme)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		rec  record.Record
		f    foreign.Root
		want string
	}{
		{"our own", b.rec, ours, "shares a key with this instance"},
		{"another instance's under the same name", withAcme, other, "lacks the"},
		{"a name with a path", b.rec, foreign.Root{Name: "a/b", Content: acme.Content}, "is no name for it"},
		{"one that clients do not read", b.rec, foreign.Root{Name: "acme", Content: []byte("{}")}, "media type"},
	} {
		if _, err := tc.rec.WithForeign(tc.f); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
		tampered := tc.rec // as somebody writes it into a request
		tampered.Foreign = []foreign.Root{tc.f}
		_, err := tampered.Edition()
		if err = errors.Join(err, tampered.Follows(tc.rec)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s, by hand: %v, want %q", tc.name, err, tc.want)
		}
	}
	twice := b.rec
	twice.Foreign = []foreign.Root{acme, acme}
	if _, err := twice.Edition(); err == nil || !strings.Contains(err.Error(), "there twice") {
		t.Errorf("twice: %v", err)
	}
	zeta := acme
	zeta.Name = "zeta"
	disorder := b.rec
	disorder.Foreign = []foreign.Root{zeta, acme}
	if _, err := disorder.Edition(); err == nil || !strings.Contains(err.Error(), "acme is there twice, or out of order") {
		t.Errorf("out of order: %v", err)
	}
	many := b.rec
	for i := range foreign.MaxRoots + 1 {
		f := acme
		f.Name = fmt.Sprintf("acme-%02d", i)
		many.Foreign = append(many.Foreign, f)
	}
	if _, err := many.Edition(); err == nil || !strings.Contains(err.Error(), "want at most") {
		t.Errorf("many: %v", err)
	}
	// A key that comes to us later may not be theirs either.
	s := b.another(statement.RekorV2)
	theirs := tuftest.NewInstance(t, instanceID, "https://their.example", now)
	theirs.Keys[statement.RekorV1] = b.in.Keys[statement.RekorV2]
	rec, _, err := record.New("ff", "their.example").Collect(nil, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []statement.Role{statement.CA, statement.TSA, statement.RekorV1, statement.CT} {
		said := theirs.Says(role, now)
		said.Instance = "ff"
		if rec, err = rec.State(said, now); err != nil {
			t.Fatal(err)
		}
	}
	edition, err := rec.Edition()
	if err != nil {
		t.Fatal(err)
	}
	f, err := foreign.FromFile("their", target(edition, trustroot.TrustedRootName), nil, now, now.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	with, err := b.rec.WithForeign(f)
	if err != nil {
		t.Fatal(err)
	}
	if with, _, err = with.Take(s, "tlog", now); err != nil {
		t.Fatal(err)
	}
	if _, err := with.Edition(); err == nil || !strings.Contains(err.Error(), "shares a key with this instance") {
		t.Errorf("a key of ours that is theirs: %v", err)
	}
	if !slices.ContainsFunc(with.Foreign, func(r foreign.Root) bool { return r.Name == "their" }) {
		t.Error("it is gone")
	}
}

// TestForeignTimes: a record says when a foreign root was taken and when it ends in one form.
func TestForeignTimes(t *testing.T) {
	rec, err := newBench(t).rec.WithForeign(foreignRoot(t, "acme", now))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	f := rec.Foreign[0]
	for name, at := range map[string]time.Time{"taken": f.Taken, "expires": f.Expires} {
		stamp := statement.Stamp(at)
		good := fmt.Sprintf("%q: %q", name, stamp)
		if !bytes.Contains(raw, []byte(good)) {
			t.Fatalf("%s is not in\n%s", good, raw)
		}
		for _, other := range []string{strings.TrimSuffix(stamp, "Z") + "+00:00", "tomorrow", ""} {
			bad := bytes.Replace(raw, []byte(good), fmt.Appendf(nil, "%q: %q", name, other), 1)
			if _, err := record.Parse(bad); !errors.Is(err, record.ErrRecord) || !strings.Contains(err.Error(), "not times of the form") {
				t.Errorf("%s %q: %v", name, other, err)
			}
		}
	}
}
