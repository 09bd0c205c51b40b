package follow_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/migrations"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/follow"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/sqlitestore"
)

// rounds is how often a test kills: SIGBOX_KILL_ROUNDS, or what it says itself.
func rounds(otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv("SIGBOX_KILL_ROUNDS")); err == nil {
		return n
	}
	return otherwise
}

// keyFile makes a key that child processes can read.
func keyFile(t testing.TB) (string, *checkpoint.Signer) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.key")
	key, signer := newSigner(t, nil, logtest.Origin)
	if err := keys.Save(path, key); err != nil {
		t.Fatal(err)
	}
	return path, signer
}

// TestKilledFollower kills a following process with SIGKILL at random moments while entries are
// appended, starts it again, and finds every entry once in what it wrote.
func TestKilledFollower(t *testing.T) {
	path, signer := keyFile(t)
	log := logtest.New(t, func(c *tlog.Config) { c.Signer = signer })
	ln := listen(t, "127.0.0.1:0")
	serve(t, ln, newService(t, log).RegisterGRPC)
	o := orders{Role: "follow", Address: ln.Addr().String(), Key: path, File: filepath.Join(t.TempDir(), "journal")}

	var wg sync.WaitGroup
	var stop atomic.Bool
	for w := range 4 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				if _, err := log.Append(t.Context(), logtest.Entry(fmt.Sprintf("writer %d entry %d", w, i))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	n, torn := rounds(50), 0
	for range n {
		c := startChild(t, o)
		c.await(t, 1+rand.IntN(3))
		time.Sleep(rand.N(20 * time.Millisecond)) // the random moment
		c.kill()
		_, whole, err := readJournal(o.File)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(o.File); err != nil {
			t.Fatal(err)
		} else if info.Size() > whole {
			torn++
		}
	}
	stop.Store(true)
	wg.Wait()
	cp, err := log.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := startChild(t, o)
	for last := journalSize(t, o.File); last < cp.Size; last = journalSize(t, o.File) {
		c.await(t, 1)
	}
	c.kill()
	checkJournal(t, o.File, log, cp.Size)
	t.Logf("%d kills, %d of them in the middle of a record; %d entries, each once", n, torn, cp.Size)
}

func journalSize(t testing.TB, path string) int64 {
	records, _, err := readJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) == 0 {
		return 0
	}
	return records[len(records)-1].State.Size
}

func checkJournal(t testing.TB, path string, log tlog.Log, size int64) {
	t.Helper()
	records, _, err := readJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	next := int64(0)
	for _, r := range records {
		if r.First != next || r.State.Size != next+int64(len(r.Leaves)) {
			t.Fatalf("a record with entries [%d, %d) where %d comes next", r.First, r.State.Size, next)
		}
		leaves, err := log.Leaves(t.Context(), next, r.State.Size)
		if err != nil || len(leaves) != len(r.Leaves) {
			t.Fatal(len(leaves), err)
		}
		for i, l := range leaves {
			if string(l.Data) != string(r.Leaves[i]) {
				t.Fatalf("entry %d is %q, the log has %q", l.Index, r.Leaves[i], l.Data)
			}
		}
		next = r.State.Size
	}
	if next != size {
		t.Errorf("the journal has %d entries, the log %d", next, size)
	}
}

// TestKilledServer kills the serving process with SIGKILL under a follower, and starts it again on the
// same address and database.
func TestKilledServer(t *testing.T) {
	path, signer := keyFile(t)
	file := filepath.Join(t.TempDir(), "log.db")
	db, err := sqlite.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := migrations.ApplySQLite(t.Context(), db.Writer(), "tlog"); err != nil {
		t.Fatal(err)
	}
	store, err := sqlitestore.Open(t.Context(), db, name)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := tlog.Create(t.Context(), store, tlog.Config{Name: name, Signer: signer}, nil); err != nil {
		t.Fatal(err)
	}
	free := listen(t, "127.0.0.1:0")
	o := orders{Role: "serve", Address: free.Addr().String(), Key: path, File: file}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	b := newBook(follow.State{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := b.run(ctx, follow.Config{Client: dial(t, o.Address), Verifier: signer.Verifier()})
	n := rounds(10)
	for range n {
		c := startChild(t, o)
		c.await(t, 1+rand.IntN(20))
		have, _ := b.size()
		b.await(t, have+1, ended)
		time.Sleep(rand.N(20 * time.Millisecond)) // the random moment
		c.kill()
	}
	log, err := tlog.Open(t.Context(), store, tlog.Config{Name: name, Signer: signer})
	if err != nil {
		t.Fatal(err)
	}
	cp, err := log.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	serve(t, listen(t, o.Address), newService(t, log).RegisterGRPC)
	b.await(t, cp.Size, ended)
	cancel()
	<-ended
	b.check(t, log, 0)
	t.Logf("%d kills; %d entries, each once", n, cp.Size)
}
