package pgstore_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/fileguard"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// wantRollback checks that a log reads, neither writes nor signs, and says both sizes.
func wantRollback(t testing.TB, log *tlog.Engine, have, lost int) {
	t.Helper()
	err := log.Health()
	if !errors.Is(err, tlog.ErrRollback) || !strings.Contains(err.Error(), fmt.Sprint(have)) || !strings.Contains(err.Error(), fmt.Sprint(lost)) {
		t.Errorf("health: %v, want a rollback from %d to %d", err, lost, have)
	}
	if _, err := log.Append(t.Context(), logtest.Entry("after")); !errors.Is(err, tlog.ErrRollback) || !errors.Is(err, tlog.ErrUnavailable) {
		t.Errorf("append: %v", err)
	}
	if _, err := log.Leaf(t.Context(), 3); err != nil {
		t.Errorf("read: %v", err)
	}
}

func appendNumbered(t testing.TB, log tlog.Log, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := log.Append(t.Context(), logtest.Numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// guards are the two that there are: a file for one writer, and a row in another PostgreSQL that
// replicas share.
func guards(t testing.TB) map[string]tlog.Guard {
	file, err := fileguard.Open(filepath.Join(t.TempDir(), "guard"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return map[string]tlog.Guard{"file": file, "shared": openGuard(t, newGuardURL(t))}
}

// TestRestoredBackup restores a backup, and an empty database, under each guard.
func TestRestoredBackup(t *testing.T) {
	for name, guard := range guards(t) {
		t.Run(name, func(t *testing.T) { testRestoredBackup(t, guard) })
	}
}

func testRestoredBackup(t *testing.T, guard tlog.Guard) {
	server := pgtest.Shared(t)
	o, store, cfg := newReplicated(t, server)
	cfg.Guard = guard
	log := logtest.Open(t, store, cfg)
	appendNumbered(t, log, 1, 20)
	older := backup(t, server, databaseOf(t, o.URL))
	appendNumbered(t, log, 20, 25)

	restored, err := tlog.Open(t.Context(), openStore(t, openDB(t, server.URL(older)), "test"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop := logtest.Start(t, restored)
	wantRollback(t, restored, 20, 25)
	if err := stop(); !errors.Is(err, tlog.ErrRollback) {
		t.Errorf("run: %v", err)
	}

	empty := openStore(t, openDB(t, server.URL(newDatabase(t, server))), "test")
	if _, err := tlog.Open(t.Context(), empty, cfg); !errors.Is(err, tlog.ErrNotFound) {
		t.Errorf("open in an empty database: %v", err)
	}
	if err := tlog.Create(t.Context(), empty, cfg, nil); !errors.Is(err, tlog.ErrRollback) {
		t.Errorf("create in an empty database what the guard remembers: %v", err)
	}
	appendNumbered(t, log, 25, 27) // the database that was not rolled back goes on
}

func databaseOf(t testing.TB, connection string) string {
	t.Helper()
	path, _, _ := strings.Cut(strings.TrimPrefix(connection, "postgres:///"), "?")
	return path
}

// TestFailOver loses the primary under a running process that knows both servers by name. A
// synchronous standby has everything, and the log goes on; another one lacks the last commits.
func TestFailOver(t *testing.T) {
	for name, synchronous := range map[string]bool{"synchronous": true, "lossy, file": false, "lossy, shared": false} {
		t.Run(name, func(t *testing.T) {
			primary := pgtest.Start(t)
			database := newDatabase(t, primary)
			standby := primary.Standby(t, "standby")
			if synchronous {
				primary.SetSync(t, "standby")
			}
			guard := guards(t)["shared"]
			if name == "lossy, file" {
				guard = guards(t)["file"]
			}
			cfg := logtest.Config(t, func(c *tlog.Config) { c.Guard = guard })
			both := fmt.Sprintf("postgres://postgres@%s,%s/%s?sslmode=disable&target_session_attrs=read-write", primary.Address(), standby.Address(), database)
			store := openStore(t, openDB(t, both, impatient), "test")
			if err := tlog.Create(t.Context(), store, cfg, []tlog.Entry{logtest.Numbered(0)}); err != nil {
				t.Fatal(err)
			}
			log, err := tlog.Open(t.Context(), store, cfg)
			if err != nil {
				t.Fatal(err)
			}
			stop := logtest.Start(t, log)
			appendNumbered(t, log, 1, 10)
			if !synchronous {
				caughtUp(t, primary)
				standby.Kill(t) // it misses what follows, and comes back when the primary is gone
			}
			appendNumbered(t, log, 10, 15)
			primary.Kill(t)
			if !synchronous {
				standby.Restart(t)
			}
			standby.Promote(t)
			if synchronous {
				appendAgain(t, log)
				if err := stop(); err != nil {
					t.Errorf("run: %v", err)
				}
				newWitness().check(t, store, cfg)
				return
			}
			if _, err := log.Append(t.Context(), logtest.Numbered(15)); err == nil {
				t.Error("an entry was appended to a log that has lost others")
			}
			wantRollback(t, log, 10, 15)
			if err := stop(); !errors.Is(err, tlog.ErrRollback) {
				t.Errorf("run: %v", err)
			}
			again, err := tlog.Open(t.Context(), store, cfg)
			if err != nil {
				t.Fatal(err)
			}
			stop = logtest.Start(t, again)
			wantRollback(t, again, 10, 15)
			_ = stop()
			// The old primary comes back, and has what the standby never got.
			primary.Restart(t)
			recoverFrom(t, store, cfg, openStore(t, openDB(t, primary.URL(database)), "test"), 10)
		})
	}
}

// recoverFrom brings back what a log has lost from index on, and goes on.
func recoverFrom(t testing.TB, store tlog.Store, cfg tlog.Config, source tlog.Store, index int64) {
	t.Helper()
	s, err := tlog.Recover(t.Context(), store, cfg, source, tlog.Audit{})
	if err != nil || s.Log.Size != index {
		t.Fatalf("recover: %+v, %v", s, err)
	}
	log := logtest.Open(t, store, cfg)
	if r, err := log.Append(t.Context(), logtest.Numbered(14)); err != nil || !r.Duplicate || r.Leaf.Index != 14 {
		t.Errorf("append of what was lost: %+v, %v", r.Leaf, err)
	}
	appendNumbered(t, log, 15, 18)
	if _, err := tlog.Fsck(t.Context(), store, tlog.Audit{Verifier: cfg.Signer.Verifier()}); err != nil {
		t.Error(err)
	}
}

// appendAgain appends an entry as a client does that is told to come back.
func appendAgain(t testing.TB, log tlog.Log) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		r, err := log.Append(t.Context(), logtest.Numbered(15))
		if err == nil && r.Leaf.Index == 15 {
			return
		}
		if !errors.Is(err, tlog.ErrUnavailable) || time.Now().After(deadline) {
			t.Fatalf("append after the fail-over: index %d, %v", r.Leaf.Index, err)
		}
	}
}

// caughtUp waits until the standby has everything.
func caughtUp(t testing.TB, primary *pgtest.Server) {
	t.Helper()
	c := primary.Connect(t, "postgres")
	for done := false; !done; {
		if err := c.QueryRow(t.Context(), "SELECT coalesce(min(replay_lsn) >= pg_current_wal_lsn(), false) FROM pg_stat_replication").Scan(&done); err != nil {
			t.Fatal(err)
		}
	}
}
