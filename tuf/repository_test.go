package tuf_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/tuftest"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func targets(pairs ...string) []tuf.Target {
	var out []tuf.Target
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, tuf.Target{Name: pairs[i], Content: []byte(pairs[i+1])})
	}
	return out
}

func newRepository(t *testing.T, c clock.Clock) (*tuf.Repository, tuf.Config) {
	t.Helper()
	cfg := tuftest.Config(t, c)
	r := tuf.New(cfg)
	if err := r.Create(t.Context(), targets("trusted_root.json", "{}", "rekor.pub", "key")); err != nil {
		t.Fatal(err)
	}
	return r, cfg
}

// TestLifecycle tells the life of a repository by its versions.
func TestLifecycle(t *testing.T) {
	c := clock.NewManual(start)
	r, cfg := newRepository(t, c)
	publish := func(want bool, pairs ...string) {
		t.Helper()
		if changed, err := r.Publish(t.Context(), targets(pairs...)); err != nil || changed != want {
			t.Fatalf("publish: changed %v, %v; want %v", changed, err, want)
		}
	}
	expect := func(want tuf.Versions) {
		t.Helper()
		if got := r.Published().Versions(); got != want {
			t.Fatalf("versions %+v, want %+v", got, want)
		}
	}
	expect(tuf.Versions{Root: 1, Targets: 1, Snapshot: 1, Timestamp: 1})

	publish(false, "rekor.pub", "key", "trusted_root.json", "{}") // in another order
	expect(tuf.Versions{Root: 1, Targets: 1, Snapshot: 1, Timestamp: 1})

	publish(true, "trusted_root.json", "{ }", "rekor.pub", "key")
	expect(tuf.Versions{Root: 1, Targets: 2, Snapshot: 2, Timestamp: 2})
	if f, ok := r.Published().Target("trusted_root.json"); !ok || string(f.Bytes) != "{ }" {
		t.Errorf("target is %q", f.Bytes)
	}

	publish(true, "trusted_root.json", "{ }")
	if _, ok := r.Published().Target("rekor.pub"); ok {
		t.Error("a target that was taken out is still one")
	}

	if err := r.Create(t.Context(), targets("a", "b")); !errors.Is(err, tuf.ErrExists) {
		t.Errorf("second Create: %v", err)
	}

	// Another process on the same store, with the online keys only.
	online := cfg
	online.Keys = tuf.Keys{Snapshot: cfg.Keys.Snapshot, Timestamp: cfg.Keys.Timestamp}
	again := tuf.New(online)
	if again.Published() != nil {
		t.Error("shows something before Open")
	}
	if err := again.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := again.Published().Versions(); got != r.Published().Versions() {
		t.Errorf("reopened: %+v", got)
	}
	if _, err := again.Publish(t.Context(), targets("trusted_root.json", "new")); !errors.Is(err, tuf.ErrNoKey) {
		t.Errorf("publish without the targets key: %v", err)
	}
	if _, err := again.Publish(t.Context(), targets("trusted_root.json", "{ }")); err != nil {
		t.Errorf("publish of nothing new needs no key: %v", err)
	}

	c.Advance(25 * time.Hour)
	if err := again.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Refresh(t.Context()); err != nil { // nothing is due any more; sees the other's
		t.Fatal(err)
	}
	expect(tuf.Versions{Root: 1, Targets: 3, Snapshot: 3, Timestamp: 4})

	c.Advance(16 * 24 * time.Hour)
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(tuf.Versions{Root: 1, Targets: 3, Snapshot: 4, Timestamp: 5})

	// Whatever was ever published is still there.
	for _, path := range []string{"1.root.json", "1.targets.json", "2.targets.json", "1.snapshot.json", "4.snapshot.json", "root.json", "timestamp.json"} {
		if _, ok := r.Published().File(path); !ok {
			t.Errorf("%s is gone", path)
		}
	}
	for _, path := range []string{"2.root.json", "1.timestamp.json", "snapshot.json", "targets.json", "", "/root.json"} {
		if _, ok := r.Published().File(path); ok {
			t.Errorf("%q is there", path)
		}
	}
}

func TestTargetsAreRenewedByTheirSigner(t *testing.T) {
	c := clock.NewManual(start)
	r, _ := newRepository(t, c)
	c.Advance(3650*24*time.Hour - 300*24*time.Hour)
	changed, err := r.Publish(t.Context(), targets("trusted_root.json", "{}", "rekor.pub", "key"))
	if err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if left := r.Published().Expires(tuf.Targets).Sub(c.Now()); left < 3649*24*time.Hour {
		t.Errorf("targets expire in %s", left)
	}
}

func TestNothingThere(t *testing.T) {
	r := tuf.New(tuftest.Config(t, clock.NewManual(start)))
	if err := r.Open(t.Context()); !errors.Is(err, tuf.ErrNotCreated) {
		t.Errorf("Open: %v", err)
	}
	if err := r.Refresh(t.Context()); !errors.Is(err, tuf.ErrNotCreated) {
		t.Errorf("Refresh: %v", err)
	}
	if _, err := r.Publish(t.Context(), targets("a", "b")); !errors.Is(err, tuf.ErrNotCreated) {
		t.Errorf("Publish: %v", err)
	}
	if r.Published() != nil {
		t.Error("shows something")
	}
}

// B-210, and what else no client could fetch.
func TestTargetsRefused(t *testing.T) {
	r, _ := newRepository(t, clock.NewManual(start))
	before := r.Published().Versions()
	custom := func(s string) []tuf.Target {
		return []tuf.Target{{Name: "a", Content: []byte("x"), Custom: []byte(s)}}
	}
	many := make([]tuf.Target, tuf.MaxTargets+1)
	for i := range many {
		many[i] = tuf.Target{Name: fmt.Sprint("t", i), Content: []byte("x")}
	}
	for name, bad := range map[string][]tuf.Target{
		"none":               {},
		"too many":           many,
		"empty content":      targets("a", ""),
		"too large":          {{Name: "a", Content: make([]byte, tuf.MaxTargetSize+1)}},
		"twice":              targets("a", "x", "a", "y"),
		"empty name":         targets("", "x"),
		"parent directory":   targets("..", "x"),
		"slash":              targets("a/b", "x"),
		"backslash":          targets(`a\b`, "x"),
		"NUL":                targets("a\x00b", "x"),
		"query":              targets("a?b", "x"),
		"fragment":           targets("a#b", "x"),
		"percent":            targets("a%2fb", "x"),
		"unicode":            targets("ä", "x"),
		"dotfile":            targets(".git", "x"),
		"line feed":          targets("a\n", "x"),
		"custom not JSON":    custom("{"),
		"custom no sigstore": custom(`{"other": 1}`),
		"custom no usage":    custom(`{"sigstore": {"status": "Active"}}`),
		"custom no status":   custom(`{"sigstore": {"usage": "Rekor"}}`),
		"custom wrong type":  custom(`{"sigstore": {"usage": 1, "status": "Active"}}`),
	} {
		if _, err := r.Publish(t.Context(), bad); !errors.Is(err, tuf.ErrTarget) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := r.Published().Versions(); got != before {
		t.Errorf("a refused target left %+v", got)
	}
}

// B-212: the clock contradicts what was published.
func TestWrongClock(t *testing.T) {
	for _, tc := range []struct {
		name   string
		move   time.Duration
		maxGap time.Duration
		accept bool
		want   error
	}{
		{name: "an hour back", move: -time.Hour, want: tuf.ErrClock},
		{name: "a minute back", move: -time.Minute},
		{name: "a year on, where no service pauses", move: 365 * 24 * time.Hour, maxGap: 90 * 24 * time.Hour, want: tuf.ErrClock},
		{name: "a year on, where a user may", move: 365 * 24 * time.Hour},
		{name: "an hour back, confirmed", move: -time.Hour, accept: true},
		{name: "a week on, within the gap", move: 7 * 24 * time.Hour, maxGap: 90 * 24 * time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := clock.NewManual(start)
			_, cfg := newRepository(t, c)
			cfg.MaxGap, cfg.AcceptClock = tc.maxGap, tc.accept
			r := tuf.New(cfg)
			c.Advance(tc.move)
			_, err := r.Publish(t.Context(), targets("trusted_root.json", "new"))
			if !errors.Is(err, tc.want) {
				t.Fatalf("%v, want %v", err, tc.want)
			}
			v, err := cfg.Store.Versions(t.Context())
			if want := int64(2); err != nil || (v.Targets == want) != (tc.want == nil) {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
}

// TestClockThatRanAhead: what it signed lives too long; once the clock is right and that is
// confirmed, it is replaced.
func TestClockThatRanAhead(t *testing.T) {
	c := clock.NewManual(start.AddDate(1, 0, 0))
	_, cfg := newRepository(t, c)
	c.Set(start)
	cfg.AcceptClock = true
	r := tuf.New(cfg)
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for role, life := range map[string]time.Duration{tuf.Snapshot: 30 * 24 * time.Hour, tuf.Timestamp: 7 * 24 * time.Hour} {
		if got := r.Published().Expires(role); !got.Equal(start.Add(life)) {
			t.Errorf("%s expires at %s", role, got)
		}
	}
}

// TestClientsFollow is the property that matters: whatever the publishers do, in whatever order,
// a client that updates now and then from any state it was in, and a new one, end with the
// current targets.
func TestClientsFollow(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("8"); err != nil { // thousands of signatures each; more with -rapid.checks
			t.Fatal(err)
		}
	}
	cfg := tuftest.Config(t, nil)
	rapid.Check(t, func(rt *rapid.T) {
		c := clock.NewManual(start)
		cfg.Clock, cfg.Store = c, &tuftest.Memory{}
		r := tuf.New(cfg)
		if err := r.Create(context.Background(), targets("trusted_root.json", "{}", "rekor.pub", "key")); err != nil {
			rt.Fatal(err)
		}
		replicas := []*tuf.Repository{r, tuf.New(cfg)}
		current := map[string]string{"trusted_root.json": "{}", "rekor.pub": "key"}
		var held []held
		rt.Repeat(map[string]func(*rapid.T){
			"publish": func(rt *rapid.T) {
				next := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b.json", "c.pem"}), rapid.StringN(1, 8, 8), 1, 3).Draw(rt, "targets")
				var list []tuf.Target
				for _, name := range slices.Sorted(maps.Keys(next)) {
					list = append(list, tuf.Target{Name: name, Content: []byte(next[name])})
				}
				if _, err := rapid.SampledFrom(replicas).Draw(rt, "replica").Publish(context.Background(), list); err != nil {
					rt.Fatal(err)
				}
				current = next
			},
			"pass time": func(rt *rapid.T) {
				c.Advance(time.Duration(rapid.IntRange(1, 40*24).Draw(rt, "hours")) * time.Hour)
			},
			"refresh": func(rt *rapid.T) {
				if err := rapid.SampledFrom(replicas).Draw(rt, "replica").Refresh(context.Background()); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				for _, replica := range replicas {
					if err := replica.Refresh(context.Background()); err != nil {
						rt.Fatal(err)
					}
					now, err := update(nil, replica.Published(), c.Now(), current)
					if err != nil {
						rt.Fatalf("a new client: %v", err)
					}
					held = append(held, *now)
					old := rapid.SampledFrom(held).Draw(rt, "client")
					if _, err := update(&old, replica.Published(), c.Now(), current); err != nil {
						rt.Fatalf("a client: %v", err)
					}
				}
			},
		})
	})
}

// held is what a client keeps between updates.
type held struct{ root, timestamp, snapshot []byte }

// update is a client of its own, file by file as it would fetch them.
func update(old *held, p *tuf.Published, now time.Time, want map[string]string) (*held, error) {
	get := func(path string) []byte {
		f, _ := p.File(path)
		return f.Bytes
	}
	h := held{root: get("1.root.json")}
	if old != nil {
		h = *old
	}
	tm, err := trustedmetadata.New(h.root)
	if err != nil {
		return nil, err
	}
	tm.RefTime = now
	if old != nil {
		if _, err := tm.UpdateTimestamp(h.timestamp); err != nil && !errors.Is(err, &metadata.ErrRepository{}) {
			return nil, err
		}
	}
	if _, err := tm.UpdateTimestamp(get("timestamp.json")); err != nil && !errors.Is(err, &metadata.ErrEqualVersionNumber{}) {
		return nil, err
	}
	if old != nil {
		if _, err := tm.UpdateSnapshot(h.snapshot, true); err != nil && !errors.Is(err, &metadata.ErrRepository{}) {
			return nil, err
		}
	}
	h.timestamp = get("timestamp.json")
	h.snapshot = get(fmt.Sprintf("%d.snapshot.json", tm.Timestamp.Signed.Meta["snapshot.json"].Version))
	if _, err := tm.UpdateSnapshot(h.snapshot, false); err != nil {
		return nil, err
	}
	if _, err := tm.UpdateTargets(get(fmt.Sprintf("%d.targets.json", tm.Snapshot.Signed.Meta["targets.json"].Version))); err != nil {
		return nil, err
	}
	got := tm.Targets[tuf.Targets].Signed.Targets
	if len(got) != len(want) {
		return nil, fmt.Errorf("%d targets, want %d", len(got), len(want))
	}
	for name, content := range want {
		file := get(fmt.Sprintf("targets/%s.%s", got[name].Hashes["sha256"], name))
		if string(file) != content {
			return nil, fmt.Errorf("target %s is %q, want %q", name, file, content)
		}
	}
	return &h, nil
}

// TestRejectedIsNotWritten: a process with a key that root does not name cannot publish what no
// client would take; what was published stays.
func TestRejectedIsNotWritten(t *testing.T) {
	c := clock.NewManual(start)
	_, cfg := newRepository(t, c)
	before, err := cfg.Store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stray := cfg
	stray.Keys.Timestamp = tuftest.Key(t)
	r := tuf.New(stray)
	if _, err := r.Publish(t.Context(), targets("trusted_root.json", "new")); !errors.Is(err, tuf.ErrRejected) {
		t.Errorf("publish: %v", err)
	}
	c.Advance(3 * 24 * time.Hour)
	if err := r.Refresh(t.Context()); !errors.Is(err, tuf.ErrRejected) {
		t.Errorf("refresh: %v", err)
	}
	if after, err := cfg.Store.Load(t.Context()); err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("the store changed: %v", err)
	}
	if p := r.Published(); p == nil || p.Versions().Timestamp != 1 {
		t.Error("what is published is not shown")
	}
}
