package figures

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/filler"
	"github.com/sigbox/sigbox/e2e/internal/instance"
	"github.com/sigbox/sigbox/internal/pgtest"
)

// testInstance is an instance of sigbox with a PostgreSQL server of its own. It does not run unless
// up was called.
type testInstance struct {
	server   *pgtest.Server
	database string // URL
	data     string // data directory
	running  *instance.Instance
}

const databaseName = "sigbox"

// newInstance makes an instance in a directory, or finds it there; in "" it is temporary. Its
// Rekor v1 log has at least size entries then, and what it took to fill it is returned.
func newInstance(t *testing.T, dir string, size int64) *testInstance {
	t.Helper()
	i := &testInstance{}
	if dir == "" {
		i.server, dir = pgtest.Start(t), t.TempDir()
	} else {
		i.server = pgtest.Keep(t, filepath.Join(dir, "postgres"))
	}
	i.data, i.database = filepath.Join(dir, "sigbox"), i.server.URL(databaseName)
	if _, err := os.Stat(i.data); err != nil {
		i.server.Exec(t, "postgres", "DROP DATABASE IF EXISTS "+databaseName, "CREATE DATABASE "+databaseName)
	}
	i.up(t) // makes keys and logs, and brings the schema of a kept one up to date
	i.stop(t)
	i.fill(t, dir, size)
	return i
}

// env is an environment with nothing of this machine's in it.
func (i *testInstance) env() []string {
	return []string{"HOME=" + world.tmp, "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "TMPDIR=" + os.TempDir()}
}

// up runs the instance; it is stopped when the test ends.
func (i *testInstance) up(t *testing.T) {
	t.Helper()
	var err error
	i.running, err = instance.Start(context.Background(), instance.Options{
		Binary: binary(t), Data: i.data, Args: []string{"--database", i.database}, Env: i.env(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.stop(t) })
}

func (i *testInstance) stop(t *testing.T) {
	t.Helper()
	if i.running == nil {
		return
	}
	r := i.running
	i.running = nil
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
}

// Filling is how a log got its entries. It is kept beside the log and added to.
type Filling struct {
	Commit    string  `json:"commit"` // of the last call that added something
	Entries   int64   `json:"entries"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
	WALBytes  int64   `json:"wal_bytes"`
}

const fillingFile = "filling.json"

// fill brings the Rekor v1 log to a size. What an earlier test left there counts.
func (i *testInstance) fill(t *testing.T, dir string, size int64) {
	t.Helper()
	if size == 0 {
		return
	}
	l, err := filler.Open(t.Context(), i.data, i.database, filler.RekorV1)
	if err != nil {
		t.Fatal(err)
	}
	earlier, before, started := readFilling(t, dir), i.wal(t), time.Now()
	save := func(n int64) { // also on the way: who is stopped goes on later
		f := Filling{
			Commit: world.commit, Entries: earlier.Entries + n, Seconds: earlier.Seconds + time.Since(started).Seconds(),
			WALBytes: earlier.WALBytes + i.wal(t) - before,
		}
		f.PerSecond = float64(f.Entries) / f.Seconds
		raw, _ := json.Marshal(f) // numbers and a string
		if err := os.WriteFile(filepath.Join(dir, fillingFile), raw, 0o644); err != nil {
			t.Error(err)
		}
	}
	was := i.size(t, filler.RekorV1)
	n, err := l.Fill(t.Context(), size, every(10*time.Second, func(now int64) {
		save(now - was)
		say("filling: %d of %d entries", now, size)
	}))
	if n > 0 {
		save(n)
		say("filled: %d entries in %s", n, time.Since(started).Round(time.Second))
	}
	if err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	if n > 100_000 { // as a log that grew over years has been
		i.server.Exec(t, databaseName, "VACUUM (ANALYZE)", "CHECKPOINT")
	}
}

// every returns f, but calls it only if the last call was some time ago, and never twice at once.
func every(gap time.Duration, f func(int64)) func(int64) {
	var mu sync.Mutex
	last := time.Now()
	return func(n int64) {
		if mu.TryLock() {
			defer mu.Unlock()
			if time.Since(last) > gap {
				last = time.Now()
				f(n)
			}
		}
	}
}

func readFilling(t *testing.T, dir string) (f Filling) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, fillingFile))
	if err != nil {
		return f // nothing was filled yet
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// wal returns the server's position in its write-ahead log, in bytes.
func (i *testInstance) wal(t *testing.T) int64 {
	t.Helper()
	return i.number(t, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
}

func (i *testInstance) number(t *testing.T, query string, args ...any) (n int64) {
	t.Helper()
	c := i.server.Connect(t, databaseName)
	defer c.Close(context.Background())
	if err := c.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// size returns how many entries a log has.
func (i *testInstance) size(t *testing.T, log string) int64 {
	t.Helper()
	return i.number(t, "SELECT size FROM tlog.tlog_head JOIN tlog.tlog ON id = log_id WHERE name = $1", log)
}

// Memory is that of the server's process, in bytes.
type Memory struct {
	Resident int64 `json:"resident_bytes"` // now
	Peak     int64 `json:"peak_bytes"`     // ever
}

func memory(t *testing.T, pid int) Memory {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	return Memory{Resident: statusField(t, string(raw), "VmRSS:"), Peak: statusField(t, string(raw), "VmHWM:")}
}

func statusField(t *testing.T, status, name string) int64 {
	t.Helper()
	_, rest, _ := strings.Cut(status, name)
	line, _, _ := strings.Cut(rest, "\n")
	kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(line), " kB"), 10, 64)
	if err != nil {
		t.Fatalf("%s in /proc: %v", name, err)
	}
	return kb << 10
}
