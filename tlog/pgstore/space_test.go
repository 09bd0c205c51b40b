package pgstore_test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// TestNoSpace moves the tables, or the write-ahead log, to a file system of its own, which becomes
// full under a writing log and then is not any more. Nothing is promised meanwhile, nothing is lost.
func TestNoSpace(t *testing.T) {
	for directory, megabytes := range map[string]int{"base": 256, "pg_wal": 256} {
		t.Run(directory, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("to mount a file system one must be root, as CI is; TestDiskFull fills a file instead")
			}
			server := pgtest.Start(t, "recovery_init_sync_method=syncfs", "max_wal_size=32MB", "min_wal_size=32MB", "wal_recycle=off", "wal_init_zero=on")
			mount := mounted(t, server, megabytes)
			v := newVictim(t, server, server.URL)
			move(t, server, directory, mount)
			appendPatiently(t, v.log, large()) // it has sessions: a new one may need space too
			ballast := filepath.Join(mount, "ballast")
			if _, err := v.log.Leaf(t.Context(), 3); err != nil {
				t.Fatal(err)
			}
			fill(t, ballast)
			acked := appendUntilRefused(t, v, directory)
			if directory == "base" {
				v.wantUnavailable(t, "53100")
				if _, err := v.log.Leaf(t.Context(), 3); err != nil {
					t.Errorf("read: %v", err)
				}
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			if directory == "pg_wal" { // PostgreSQL has stopped, as it must
				server.Restart(t)
			}
			appendPatiently(t, v.log, large())
			for e, index := range acked {
				if at, err := v.log.Find(t.Context(), e.Identity()); err != nil || at != index {
					t.Errorf("an entry was acknowledged at %d and is at %d, %v", index, at, err)
				}
			}
			v.done(t)
		})
	}
}

// mounted makes a new file system in the directory of a server.
func mounted(t testing.TB, server *pgtest.Server, megabytes int) string {
	t.Helper()
	mount := filepath.Join(server.Dir(), "small")
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", "-t", "tmpfs", "-o", "size="+strconv.Itoa(megabytes)+"m,mode=0755", "none", mount)
	t.Cleanup(func() { run(t, "umount", "--lazy", mount) })
	return mount
}

// move moves a directory of a server's data to a file system.
func move(t testing.TB, server *pgtest.Server, directory, mount string) {
	t.Helper()
	server.Exec(t, "postgres", "CHECKPOINT")
	server.Kill(t)
	from, to := filepath.Join(server.Dir(), "data", directory), filepath.Join(mount, directory)
	run(t, "cp", "-a", from, to)
	if err := errors.Join(os.RemoveAll(from), os.Symlink(to, from)); err != nil {
		t.Fatal(err)
	}
	server.Restart(t)
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := osexec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}

// fill writes a file until the kernel says that there is no space.
func fill(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<16)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	_ = f.Close()
}

// large returns a new entry that takes space wherever it is kept: it cannot be compressed.
func large() logtest.Entry {
	b := make([]byte, 200_000)
	_, _ = rand.Read(b)
	return logtest.Entry(hex.EncodeToString(b))
}

// appendUntilRefused appends large entries until one fails, and returns where the others are.
func appendUntilRefused(t testing.TB, v *victim, directory string) map[logtest.Entry]int64 {
	t.Helper()
	acked := make(map[logtest.Entry]int64)
	for range 1000 {
		e := large()
		r, err := v.log.Append(t.Context(), e)
		if err != nil {
			if !errors.Is(err, tlog.ErrUnavailable) {
				t.Fatalf("append: %v, want ErrUnavailable", err)
			}
			t.Logf("%s is full: %d large entries were acknowledged; then %v", directory, len(acked), err)
			return acked
		}
		acked[e] = r.Leaf.Index
	}
	t.Fatal("the file system does not fill up")
	return nil
}

// wantUnavailable appends an entry that must be refused, and not be there.
func (v *victim) wantUnavailable(t testing.TB, code string) {
	t.Helper()
	e := large()
	if _, err := v.log.Append(t.Context(), e); !errors.Is(err, tlog.ErrUnavailable) || errors.Is(err, tlog.ErrUnknownOutcome) || pg.Code(err) != code {
		t.Errorf("append: %v, want ErrUnavailable and SQLSTATE %s", err, code)
	}
	if at, err := v.log.Find(t.Context(), e.Identity()); !errors.Is(err, tlog.ErrNotFound) {
		t.Errorf("an entry that was refused is at %d in the log; %v", at, err)
	}
}

// appendPatiently appends an entry as a client does that is told to come back.
func appendPatiently(t testing.TB, log tlog.Log, e logtest.Entry) (r tlog.Receipt) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		r, err := log.Append(t.Context(), e)
		if err == nil {
			return r
		}
		if !errors.Is(err, tlog.ErrUnavailable) || time.Now().After(deadline) {
			t.Fatalf("append: %v", err)
		}
	}
}
