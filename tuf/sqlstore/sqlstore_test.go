package sqlstore

import (
	"context"
	"crypto/elliptic"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto"
	"crypto/ecdsa"
	"crypto/rand"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/migrations"
	"github.com/sigbox/sigbox/tuf"
)

// tuftest builds on this package, so its own tests stand without it.
func open(t *testing.T, path string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := migrations.ApplySQLite(t.Context(), db.Writer(), "tuf"); err != nil {
		t.Fatal(err)
	}
	return db
}

func closeDB(t *testing.T, db *sqlite.DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

func config(t *testing.T, s *Store) tuf.Config {
	t.Helper()
	key := func() crypto.Signer {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
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

func list(content string) []tuf.Target {
	return []tuf.Target{{Name: "a", Content: []byte(content)}, {Name: "b", Content: []byte("same")}}
}

// B-207: a publication that stops at any point leaves the old set, whole, and the next one
// succeeds. Stopping after the commit leaves the new one.
func TestStoppedAnywhere(t *testing.T) {
	stop := errors.New("stop")
	for _, point := range []string{"content", "root", "targets", "snapshot", "timestamp", "current", "commit"} {
		t.Run(point, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			db := open(t, path)
			s := New(db)
			cfg := config(t, s)
			fail := func(p string) error {
				if p == point {
					return stop
				}
				return nil
			}

			s.fault = fail // while the repository is created
			if err := tuf.New(cfg).Create(t.Context(), list("old")); !errors.Is(err, stop) {
				t.Fatalf("create: %v", err)
			}
			if _, err := s.Load(t.Context()); !errors.Is(err, tuf.ErrNotCreated) {
				t.Fatalf("half a repository: %v", err)
			}
			s.fault = func(string) error { return nil }
			r := tuf.New(cfg)
			if err := r.Create(t.Context(), list("old")); err != nil {
				t.Fatal(err)
			}

			s.fault = fail // while it is updated
			if _, err := r.Publish(t.Context(), list("new")); !errors.Is(err, stop) {
				t.Fatalf("publish: %v", err)
			}
			closeDB(t, db)
			db = open(t, path)
			defer closeDB(t, db)
			s = New(db)
			cfg.Store = s
			again := tuf.New(cfg)
			if err := again.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			if f, _ := again.Published().Target("a"); string(f.Bytes) != "old" {
				t.Errorf("target is %q after a publication that failed", f.Bytes)
			}
			if _, err := again.Publish(t.Context(), list("new")); err != nil {
				t.Fatal(err)
			}
			if f, _ := again.Published().Target("a"); string(f.Bytes) != "new" {
				t.Errorf("target is %q", f.Bytes)
			}
			if got, want := again.Published().Versions(), (tuf.Versions{Root: 1, Targets: 2, Snapshot: 2, Timestamp: 2}); got != want {
				t.Errorf("versions %+v: the one that failed used some up", got)
			}
		})
	}
}

// TestSignedOnce: whatever the domain asks, a version of a role is never stored with other bytes.
func TestSignedOnce(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "db"))
	defer closeDB(t, db)
	s := New(db)
	if err := tuf.New(config(t, s)).Create(t.Context(), list("old")); err != nil {
		t.Fatal(err)
	}
	before, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*tuf.Release){
		func(n *tuf.Release) { n.Roots = []tuf.Metadata{other(n.Roots[0])} },
		func(n *tuf.Release) { n.Targets = other(n.Targets) },
		func(n *tuf.Release) { n.Snapshot = other(n.Snapshot) },
	} {
		err := s.Update(t.Context(), func(cur tuf.Release) (tuf.Release, error) {
			next := cur
			next.Timestamp.Version++
			change(&next)
			return next, nil
		})
		if !errors.Is(err, tuf.ErrConflict) {
			t.Errorf("%v", err)
		}
	}
	after, err := s.Load(t.Context())
	if err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("the store changed: %v", err)
	}
}

func other(m tuf.Metadata) tuf.Metadata {
	m.Bytes = []byte("other")
	return m
}

// TestRefusedLeavesNothing: what the domain refuses inside the transaction is not there after it.
func TestRefusedLeavesNothing(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "db"))
	defer closeDB(t, db)
	s := New(db)
	refuse := errors.New("refused")
	err := s.Update(t.Context(), func(tuf.Release) (tuf.Release, error) {
		return tuf.Release{Roots: []tuf.Metadata{{Role: tuf.Root, Version: 1, Bytes: []byte("x")}}}, refuse
	})
	if !errors.Is(err, refuse) {
		t.Errorf("%v", err)
	}
	if v, err := s.Versions(t.Context()); err != nil || v != (tuf.Versions{}) {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestTakeTurns: replicas that publish at once all succeed, each with versions of its own.
func TestTakeTurns(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "db"))
	defer closeDB(t, db)
	cfg := config(t, New(db))
	if err := tuf.New(cfg).Create(t.Context(), list("old")); err != nil {
		t.Fatal(err)
	}
	const replicas, each = 4, 5
	var wg sync.WaitGroup
	for i := range replicas {
		wg.Go(func() {
			r := tuf.New(cfg)
			for j := range each {
				if _, err := r.Publish(context.Background(), list(fmt.Sprint(i, "-", j))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	v, err := New(db).Versions(t.Context())
	if want := int64(replicas*each + 1); err != nil || v.Targets != want || v.Snapshot != want || v.Timestamp != want {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestDamage: rows that are gone or changed are noticed before anything is shown.
func TestDamage(t *testing.T) {
	for statement, want := range map[string]string{
		`DELETE FROM tuf_metadata WHERE role = 'timestamp'`:               "timestamp version 2 is missing",
		`DELETE FROM tuf_metadata WHERE role = 'root'`:                    "0 versions of root",
		`DELETE FROM tuf_target WHERE version = 2 AND name = 'a'`:         "names 2 files, there are 1",
		`UPDATE tuf_content SET content = X'00' WHERE name = 'b'`:         "hash verification failed",
		`UPDATE tuf_current SET targets = 1`:                              "expected targets version 2, got 1",
		`UPDATE tuf_metadata SET bytes = X'7b7d' WHERE role = 'snapshot'`: "'signed' field is missing",
		`UPDATE tuf_current SET timestamp = 1, snapshot = 1, targets = 1`: "",
	} {
		db := open(t, filepath.Join(t.TempDir(), "db"))
		cfg := config(t, New(db))
		r := tuf.New(cfg)
		if err := r.Create(t.Context(), list("old")); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Publish(t.Context(), list("new")); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Writer().Exec(statement); err != nil {
			t.Fatal(err)
		}
		err := tuf.New(cfg).Open(t.Context())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", statement, err, want)
		}
		closeDB(t, db)
	}
}
