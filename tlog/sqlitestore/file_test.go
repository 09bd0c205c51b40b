package sqlitestore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/migrations"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/sqlitestore"
)

// Opening that is interrupted, as Ctrl-C during a start does it, fails and does not panic.
func TestOpenInterrupted(t *testing.T) {
	db := newDB(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sqlitestore.Open(ctx, db, "test"); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want context.Canceled", err)
	}
}

// The database itself refuses to change what was appended, whoever asks.
func TestAppendOnly(t *testing.T) {
	db := newDB(t)
	store, cfg := openStore(t, db, "test"), logtest.Config(t)
	if err := tlog.Create(t.Context(), store, cfg, []tlog.Entry{attested{"a"}}); err != nil {
		t.Fatal(err)
	}
	log := logtest.Open(t, store, cfg)
	logtest.Fill(t, log, 0, 260)
	for _, query := range []string{
		"UPDATE tlog_leaf SET data = x'00' WHERE idx = 0",
		"UPDATE tlog_leaf SET idx = 1000 WHERE idx = 0",
		"DELETE FROM tlog_leaf WHERE idx = 260",
		"DELETE FROM tlog_leaf",
		"UPDATE tlog_tile SET root = zeroblob(32)",
		"DELETE FROM tlog_tile",
		"UPDATE tlog_key SET idx = 7 WHERE idx = 0",
		"DELETE FROM tlog_key",
		"UPDATE attestation SET data = x'00'",
		"DELETE FROM attestation",
		"UPDATE tlog SET origin = 'other'",
		"UPDATE tlog SET key_sha256 = zeroblob(32)",
		"DELETE FROM tlog",
		"UPDATE tlog_head SET size = size - 1",
		"UPDATE tlog_head SET root = zeroblob(32)", // not forward
		"UPDATE tlog_head SET size = size + 1",     // the time stands still
		"DELETE FROM tlog_head",
		"INSERT INTO tlog_key (log_id, key, idx) VALUES (1, x'00', 9999)",     // no such leaf
		"INSERT INTO attestation (log_id, idx, data) VALUES (1, 9999, x'00')", // no such leaf
		"INSERT INTO tlog_leaf (log_id, idx, identity, leaf_hash, time_ms, data) VALUES (1, 9999, x'00', zeroblob(32), 1, x'')", // short identity
		"INSERT INTO tlog_tile (log_id, level, n, hashes, root) VALUES (1, 0, 9, x'00', zeroblob(32))",                          // short tile
	} {
		if _, err := db.Writer().ExecContext(t.Context(), query); err == nil {
			t.Errorf("%s: done", query)
		}
	}
	if _, err := tlog.Fsck(t.Context(), store, tlog.Audit{Verifier: cfg.Signer.Verifier()}); err != nil {
		t.Error(err)
	}
}

type attested struct{ logtest.Entry }

func (attested) Attestation() []byte { return []byte("attested") }

// Three logs of one file share nothing but the file.
func TestSeveralLogs(t *testing.T) {
	db := newDB(t)
	var wg sync.WaitGroup
	var want []tlog.Description
	for i, name := range []string{"rekor-v1", "rekor-v2", "ct"} {
		store := openStore(t, db, name)
		cfg := logtest.Config(t, func(c *tlog.Config) {
			c.Name, c.Face, c.Signer = name, name, logtest.Signer(t, "log.test", "log.test - "+fmt.Sprint(i))
		})
		if err := tlog.Create(t.Context(), store, cfg, nil); err != nil {
			t.Fatal(err)
		}
		d, err := store.Describe(t.Context())
		if err != nil || d.Name != name || d.Face != name || d.KeySHA256 != cfg.Signer.Verifier().KeyID() {
			t.Errorf("describe: %+v, %v", d, err)
		}
		want = append(want, d)
		log := logtest.Open(t, store, cfg)
		wg.Go(func() {
			logtest.Fill(t, log, 0, 100+100*i) // the same entries in each
			if cp, err := log.Checkpoint(t.Context()); err != nil || cp.Size != int64(100+100*i) {
				t.Errorf("%s has %d entries, %v", name, cp.Size, err)
			}
			if _, err := tlog.Fsck(t.Context(), store, tlog.Audit{Verifier: cfg.Signer.Verifier()}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
	got, err := sqlitestore.List(t.Context(), db)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("list: %+v, %v; want %+v", got, err, want)
	}
	again := openStore(t, db, "rekor-v9")
	cfg := logtest.Config(t, func(c *tlog.Config) { c.Name, c.Signer = "rekor-v9", logtest.Signer(t, "log.test", "log.test - 1") })
	if err := tlog.Create(t.Context(), again, cfg, nil); !errors.Is(err, tlog.ErrExists) {
		t.Errorf("a second log of one origin: %v", err)
	}
}

// Every query of the commit path and of a read goes through an index.
func TestQueryPlans(t *testing.T) {
	db := newDB(t)
	for name, query := range sqlitestore.Queries {
		rows, err := db.Writer().QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, make([]any, strings.Count(query, "?"))...)
		if err != nil {
			rows, err = db.Writer().QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, 1, 2, 3, 4)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(detail, "SCAN") && !strings.Contains(detail, "VIRTUAL TABLE") && !strings.Contains(detail, "SCAN k") {
				t.Errorf("%s: %s", name, detail)
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Error(err)
		}
	}
}

// A full disk fails appends before anything is promised; when there is space again, the log goes
// on by itself.
func TestFullDisk(t *testing.T) {
	db := newDB(t)
	store, cfg := openStore(t, db, "test"), logtest.Config(t)
	if err := tlog.Create(t.Context(), store, cfg, nil); err != nil {
		t.Fatal(err)
	}
	log := logtest.Open(t, store, cfg)
	logtest.Fill(t, log, 0, 10)
	var pages, limit int
	if err := db.Writer().QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	if err := db.Writer().QueryRowContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages+3)).Scan(&limit); err != nil || limit != pages+3 {
		t.Fatal(limit, err)
	}
	big := func(i int) logtest.Entry { return logtest.Entry(fmt.Sprintf("%0100000d", i)) }
	for i := range 3 {
		if _, err := log.Append(t.Context(), big(i)); !errors.Is(err, tlog.ErrUnavailable) || !strings.Contains(err.Error(), "full") {
			t.Fatalf("append on a full disk: %v", err)
		}
	}
	if l, err := log.Leaf(t.Context(), 9); err != nil || l.Index != 9 {
		t.Errorf("read on a full disk: %v", err)
	}
	if err := db.Writer().QueryRowContext(t.Context(), "PRAGMA max_page_count = 1000000").Scan(&limit); err != nil {
		t.Fatal(err)
	}
	if r, err := log.Append(t.Context(), big(1)); err != nil || r.Leaf.Index != 10 || r.Duplicate {
		t.Errorf("append when there is space: index %d, duplicate %v, %v", r.Leaf.Index, r.Duplicate, err)
	}
}

// TestKill kills a process that appends, again and again, and audits what it had acknowledged.
func TestKill(t *testing.T) {
	if path := os.Getenv("SIGBOX_TEST_APPEND_TO"); path != "" {
		appendUntilKilled(t, path)
		return
	}
	dir := t.TempDir()
	db := openDB(t, filepath.Join(dir, "log.db"))
	cfg := killConfig(t, dir)
	if err := tlog.Create(t.Context(), openStore(t, db, "test"), cfg, nil); err != nil {
		t.Fatal(err)
	}
	acknowledged := make(map[string]bool)
	heads := make(map[int64][32]byte)
	for round := range 6 {
		before := len(acknowledged)
		runAndKill(t, dir, round, cfg, acknowledged, heads)
		if len(acknowledged) == before {
			t.Fatal("nothing was acknowledged before the process was killed")
		}
		store := openStore(t, openDB(t, filepath.Join(dir, "log.db")), "test")
		log, err := tlog.Open(t.Context(), store, cfg)
		if err != nil {
			t.Fatal(err)
		}
		for e := range acknowledged {
			if _, err := log.Find(t.Context(), logtest.Entry(e).Identity()); err != nil {
				t.Errorf("round %d: %s was acknowledged: %v", round, e, err)
			}
		}
		for size, root := range heads {
			if have, err := log.Root(t.Context(), size); err != nil || have != root {
				t.Errorf("round %d: a head of size %d was released: %v", round, size, err)
			}
		}
		if _, err := tlog.Fsck(t.Context(), store, tlog.Audit{Verifier: cfg.Signer.Verifier()}); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d acknowledged entries, %d heads, none lost", len(acknowledged), len(heads))
}

func killConfig(t testing.TB, dir string) tlog.Config {
	path := filepath.Join(dir, "key.pem")
	key, err := keys.Load(path)
	if err != nil {
		if key, err = keys.NewECDSA(); err == nil {
			err = keys.Save(path, key)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.NewSigner("log.test", "log.test", key)
	if err != nil {
		t.Fatal(err)
	}
	return tlog.Config{Name: "test", Signer: signer}
}

// runAndKill starts this test in a process of its own, reads what it acknowledges, and kills it
// a little after some number of acknowledgements.
func runAndKill(t testing.TB, dir string, round int, cfg tlog.Config, acknowledged map[string]bool, heads map[int64][32]byte) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), "SIGBOX_TEST_APPEND_TO="+dir, fmt.Sprintf("SIGBOX_TEST_ROUND=%d", round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	enough := 20 + rand.IntN(200)
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if n == enough {
			time.AfterFunc(rand.N(10*time.Millisecond), func() { _ = cmd.Process.Kill() })
		}
		fields := strings.Split(lines.Text(), "|")
		if len(fields) != 3 || fields[2] != "." {
			continue // cut short by the kill
		}
		note, err := cfg.Signer.Verifier().Open([]byte(strings.ReplaceAll(fields[1], "~", "\n")))
		if err != nil {
			t.Errorf("an acknowledgement: %v", err)
			continue
		}
		acknowledged[fields[0]] = true
		heads[note.Size] = note.Root
	}
	_ = cmd.Wait()
}

// appendUntilKilled is the process that is killed.
func appendUntilKilled(t *testing.T, dir string) {
	ctx := context.Background()
	db, err := sqlite.Open(ctx, filepath.Join(dir, "log.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := migrations.ApplySQLite(ctx, db.Writer(), "tlog"); err != nil {
		t.Fatal(err)
	}
	store, err := sqlitestore.Open(ctx, db, "test")
	if err != nil {
		t.Fatal(err)
	}
	log, err := tlog.Open(ctx, store, killConfig(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	logtest.Start(t, log)
	var mu sync.Mutex
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				e := fmt.Sprintf("round %s writer %d entry %d", os.Getenv("SIGBOX_TEST_ROUND"), w, i)
				r, err := log.Append(ctx, logtest.Entry(e))
				if err != nil {
					return
				}
				mu.Lock()
				fmt.Printf("%s|%s|.\n", e, strings.ReplaceAll(string(r.Checkpoint.Note), "\n", "~"))
				mu.Unlock()
			}
		}()
	}
	time.Sleep(time.Minute)
}
