package storetest

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
)

// Store is what every store is.
type Store interface {
	tuf.Store
	tuf.Inbox
}

// Fixture is an empty store.
type Fixture struct {
	Store   Store
	Another func(testing.TB) Store // of the same repository, in another process
	// Stop makes publications fail at a point, until goOn is called.
	Stop func(t testing.TB, point string) (goOn func())
	// Exec runs a statement as a hand in the database would, whom nothing holds back.
	Exec func(t testing.TB, statement string)
}

// Points are the places at which a publication can stop, in their order: before a row of content or
// metadata is written, before the current set is moved, before it is committed.
var Points = []string{"content", tuf.Root, tuf.Targets, tuf.Snapshot, tuf.Timestamp, "record", "transcript", "current", "commit"}

// Run runs the suite. open is called once for each test.
func Run(t *testing.T, open func(testing.TB) Fixture) {
	for name, f := range map[string]func(*testing.T, Fixture){
		"Lifecycle": lifecycle, "SignedOnce": signedOnce, "RefusedLeavesNothing": refusedLeavesNothing, "TakeTurns": takeTurns, "CreateOnce": createOnce,
		"Record": records, "Inbox": inbox,
	} {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	for _, point := range Points {
		t.Run("Stopped/"+point, func(t *testing.T) { stopped(t, open(t), point) })
	}
	for statement, want := range damages {
		t.Run("Damage/"+statement, func(t *testing.T) { damaged(t, open(t), statement, want) })
	}
}

// Config returns the configuration of a repository with new keys and a clock that stands still.
func Config(t testing.TB, s tuf.Store) tuf.Config {
	t.Helper()
	key := func() crypto.Signer {
		k, err := keys.NewECDSA()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	return tuf.Config{
		Store: s, Lifetimes: tuf.Production(), Log: slog.New(slog.DiscardHandler),
		Clock: clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)),
		Keys:  tuf.Keys{Root: key(), Targets: key(), Snapshot: key(), Timestamp: key()},
	}
}

// List returns two targets, "a" with this content and "b".
func List(content string) []tuf.Target {
	return []tuf.Target{{Name: "a", Content: []byte(content)}, {Name: "b", Content: []byte("same")}}
}

// lifecycle publishes and renews, and reads all of it in another process.
func lifecycle(t *testing.T, f Fixture) {
	cfg := Config(t, f.Store)
	c := cfg.Clock.(*clock.Manual)
	r := tuf.New(cfg)
	if err := r.Create(t.Context(), List("1")); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"2", "3", "3"} {
		c.Advance(time.Hour)
		if _, err := r.Publish(t.Context(), List(content)); err != nil {
			t.Fatal(err)
		}
	}
	c.Advance(25 * time.Hour)
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	another := f.Another(t)
	if v, err := another.Versions(t.Context()); err != nil || v != (tuf.Versions{Root: 1, Targets: 3, Snapshot: 3, Timestamp: 4}) {
		t.Errorf("versions %+v, %v", v, err)
	}
	cfg.Store = another
	again := tuf.New(cfg)
	if err := again.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if have, want := again.Published().Files(), r.Published().Files(); !reflect.DeepEqual(have, want) {
		t.Errorf("%d files, want %d, each byte for byte", len(have), len(want))
	}
	a, err := another.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Old) != 4 || len(a.Blobs) != 4 || !a.Current.Timestamp.SignedAt.Equal(c.Now()) {
		t.Errorf("%d old files, %d contents, signed at %s", len(a.Old), len(a.Blobs), a.Current.Timestamp.SignedAt)
	}
}

// stopped (B-207): a publication that stops at any point leaves the old set, whole, and the next one
// succeeds with the same versions.
func stopped(t *testing.T, f Fixture, point string) {
	cfg := Config(t, transcribed{f.Store})
	edition := func(content string) tuf.Edition {
		return tuf.Edition{Targets: List(content), Record: []byte(content)}
	}
	goOn := f.Stop(t, point)
	if err := tuf.New(cfg).CreateEdition(t.Context(), edition("old")); err == nil {
		t.Fatal("created")
	}
	if _, err := f.Store.Load(t.Context()); !errors.Is(err, tuf.ErrNotCreated) {
		t.Fatalf("half a repository: %v", err)
	}
	goOn()
	r := tuf.New(cfg)
	if err := r.CreateEdition(t.Context(), edition("old")); err != nil {
		t.Fatal(err)
	}
	goOn = f.Stop(t, point)
	if _, err := r.PublishEdition(t.Context(), edition("new")); err == nil {
		t.Fatal("published")
	}
	goOn()
	cfg.Store = transcribed{f.Another(t)}
	again := tuf.New(cfg)
	if err := again.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f, _ := again.Published().Target("a"); string(f.Bytes) != "old" {
		t.Errorf("target is %q after a publication that failed", f.Bytes)
	}
	wantRecord(t, cfg.Store, "old", "of 1 and 1")
	if _, err := again.PublishEdition(t.Context(), edition("new")); err != nil {
		t.Fatal(err)
	}
	wantRecord(t, cfg.Store, "new", "of 1 and 2")
	if f, _ := again.Published().Target("a"); string(f.Bytes) != "new" {
		t.Errorf("target is %q", f.Bytes)
	}
	if got, want := again.Published().Versions(), (tuf.Versions{Root: 1, Targets: 2, Snapshot: 2, Timestamp: 2}); got != want {
		t.Errorf("versions %+v: the one that failed used some up", got)
	}
}

// signedOnce: whatever the domain asks, a version of a role is never stored with other bytes.
func signedOnce(t *testing.T, f Fixture) {
	s := f.Store
	if err := tuf.New(Config(t, s)).Create(t.Context(), List("old")); err != nil {
		t.Fatal(err)
	}
	before, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := func(m tuf.Metadata) tuf.Metadata {
		m.Bytes = []byte("other")
		return m
	}
	for role, change := range map[string]func(*tuf.Release){
		tuf.Root:     func(n *tuf.Release) { n.Roots = []tuf.Metadata{other(n.Roots[0])} },
		tuf.Targets:  func(n *tuf.Release) { n.Targets = other(n.Targets) },
		tuf.Snapshot: func(n *tuf.Release) { n.Snapshot = other(n.Snapshot) },
	} {
		err := s.Update(t.Context(), func(cur tuf.Release) (tuf.Release, error) {
			next := cur
			next.Timestamp.Version++
			change(&next)
			return next, nil
		})
		if !errors.Is(err, tuf.ErrConflict) || !strings.Contains(err.Error(), role+" version 1") {
			t.Errorf("%s with other bytes: %v", role, err)
		}
	}
	after, err := s.Load(t.Context())
	if err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("the store changed: %v", err)
	}
}

// refusedLeavesNothing: what the domain refuses inside the transaction is not there after it.
func refusedLeavesNothing(t *testing.T, f Fixture) {
	refuse := errors.New("refused")
	calls := 0
	err := f.Store.Update(t.Context(), func(tuf.Release) (tuf.Release, error) {
		calls++
		return tuf.Release{Roots: []tuf.Metadata{{Role: tuf.Root, Version: 1, Bytes: []byte("x")}}}, refuse
	})
	if !errors.Is(err, refuse) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	if v, err := f.Store.Versions(t.Context()); err != nil || v != (tuf.Versions{}) {
		t.Errorf("%+v, %v", v, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Store.Update(cancelled, func(tuf.Release) (tuf.Release, error) { return tuf.Release{}, refuse }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before it began: %v", err)
	}
}

// takeTurns: replicas that publish at once all succeed, each with versions of its own.
func takeTurns(t *testing.T, f Fixture) {
	cfg := Config(t, f.Store)
	if err := tuf.New(cfg).Create(t.Context(), List("old")); err != nil {
		t.Fatal(err)
	}
	const replicas, each = 4, 5
	var wg sync.WaitGroup
	for i := range replicas {
		cfg := cfg
		if i%2 > 0 {
			cfg.Store = f.Another(t)
		}
		wg.Go(func() {
			r := tuf.New(cfg)
			for j := range each {
				if _, err := r.Publish(context.Background(), List(fmt.Sprint(i, "-", j))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	v, err := f.Store.Versions(t.Context())
	if want := int64(replicas*each + 1); err != nil || v.Targets != want || v.Snapshot != want || v.Timestamp != want {
		t.Errorf("%+v, %v", v, err)
	}
}

// createOnce: of replicas that make the repository at once, one does.
func createOnce(t *testing.T, f Fixture) {
	cfg := Config(t, f.Store)
	errs := make(chan error)
	const replicas = 4
	for i := range replicas {
		cfg := cfg
		if i%2 > 0 {
			cfg.Store = f.Another(t)
		}
		go func() { errs <- tuf.New(cfg).Create(context.Background(), List("old")) }()
	}
	made := 0
	for range replicas {
		if err := <-errs; err == nil {
			made++
		} else if !errors.Is(err, tuf.ErrExists) {
			t.Error(err)
		}
	}
	if made != 1 {
		t.Errorf("%d replicas have made the repository", made)
	}
}

// damages are what a hand in the database did after a second publication, and what is said of it; ""
// where the set is whole, if not the newest.
var damages = map[string]string{
	"DELETE FROM tuf_metadata WHERE role = 'timestamp'":                                                          "timestamp version 2 is missing",
	"DELETE FROM tuf_metadata WHERE role = 'root'":                                                               "0 versions of root",
	"DELETE FROM tuf_target WHERE version = 2 AND name = 'a'":                                                    "names 2 files, there are 1",
	"UPDATE tuf_content SET content = sha256 WHERE name = 'b'":                                                   "verification failed",
	"UPDATE tuf_current SET targets = 1":                                                                         "expected targets version 2, got 1",
	"UPDATE tuf_metadata SET bytes = (SELECT content FROM tuf_content WHERE name = 'b') WHERE role = 'snapshot'": "invalid character",
	"UPDATE tuf_current SET timestamp = 1, snapshot = 1, targets = 1":                                            "",
}

// damaged: rows that are gone or changed are noticed before anything is shown.
func damaged(t *testing.T, f Fixture, statement, want string) {
	cfg := Config(t, f.Store)
	r := tuf.New(cfg)
	if err := r.Create(t.Context(), List("old")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Publish(t.Context(), List("new")); err != nil {
		t.Fatal(err)
	}
	f.Exec(t, statement)
	err := tuf.New(cfg).Open(t.Context())
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%v, want %q", err, want)
	}
}
