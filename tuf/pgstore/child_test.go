package pgstore_test

import (
	"bufio"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/pgstore"
	"github.com/sigbox/sigbox/tuf/storetest"
)

// orders are what a child process is told when it starts: to be a replica of a repository. On its
// standard input it is then told, line by line,
//
//	refresh UNIX             to renew what is due at that time
//	publish UNIX CONTENT     to publish
//	work UNIX PREFIX         to publish again and again, and to say each time what was published
//	hold                     to wait for a line in the middle of the next signature, with the lock held
//
// It answers each with a line, of "done VERSION", of the timestamp that it shows then, or "failed".
type orders struct {
	URL  string
	Keys map[string]string // file of each role's key
	Lock time.Duration     // how long the lock is waited for, and may be held without a word
}

const ordersVariable = "SIGBOX_TEST_ORDERS"

func TestMain(m *testing.M) {
	if o := os.Getenv(ordersVariable); o != "" {
		if err := obey(o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// replica is what runs in the child.
type replica struct {
	*tuf.Repository
	clock *clock.Manual
	lines chan string
	hold  atomic.Bool
}

// Sign of the timestamp's key waits if it was told to.
type holdingKey struct {
	crypto.Signer
	r *replica
}

func (k holdingKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if k.r.hold.CompareAndSwap(true, false) {
		fmt.Println("holding")
		<-k.r.lines
	}
	return k.Signer.Sign(rand, digest, opts)
}

func obey(text string) error {
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	r := &replica{clock: clock.NewManual(time.Time{}), lines: make(chan string)}
	if err := o.open(r); err != nil {
		return err
	}
	go func() {
		defer close(r.lines)
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			r.lines <- lines.Text()
		}
	}()
	for line := range r.lines {
		r.do(line)
	}
	return nil
}

// open opens the repository, and goes on trying as long as the database is away.
func (o orders) open(r *replica) error {
	var k tuf.Keys
	for role, to := range map[string]*crypto.Signer{tuf.Root: &k.Root, tuf.Targets: &k.Targets, tuf.Snapshot: &k.Snapshot, tuf.Timestamp: &k.Timestamp} {
		key, err := keys.Load(o.Keys[role])
		if err != nil {
			return err
		}
		*to = key
	}
	k.Timestamp = holdingKey{k.Timestamp, r}
	quick := pg.Config{URL: o.URL, Schema: "tuf"}
	impatient(&quick)
	quick.StatementTimeout = 10 * time.Second // a busy machine is not what is tested
	if o.Lock > 0 {
		quick.LockTimeout, quick.IdleTimeout = o.Lock, o.Lock
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		db, err := pg.Open(context.Background(), quick)
		if err == nil {
			r.Repository = tuf.New(tuf.Config{
				Store: pgstore.New(db), Keys: k, Lifetimes: tuf.Production(), Clock: r.clock, Log: slog.New(slog.DiscardHandler),
			})
			return nil
		}
		if !errors.Is(err, pg.ErrTransient) || time.Now().After(deadline) {
			return err
		}
	}
}

func (r *replica) do(line string) {
	what, rest, _ := strings.Cut(line, " ")
	if what == "hold" {
		r.hold.Store(true)
		return
	}
	at, content, _ := strings.Cut(rest, " ")
	unix, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		panic(err)
	}
	r.clock.Set(time.Unix(unix, 0).UTC())
	switch what {
	case "refresh":
		err = r.Refresh(context.Background())
	case "publish":
		_, err = r.Publish(context.Background(), storetest.List(content))
	case "work":
		for i := 0; ; i++ {
			next := fmt.Sprintf("%s.%d", content, i)
			if _, err := r.Publish(context.Background(), storetest.List(next)); err == nil {
				fmt.Println("published", next) // one write: a line is written whole or not at all
			}
		}
	}
	if err == nil && r.Published() == nil {
		err = errors.New("shows nothing")
	}
	if err != nil {
		fmt.Println("failed", strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Println("done", r.Published().Versions().Timestamp)
}

// child is a replica as the test sees it.
type child struct {
	cmd   *osexec.Cmd
	stdin io.WriteCloser
	said  chan string // closed when it has ended
}

// newReplicated makes a repository for children and returns what to tell them.
func newReplicated(t testing.TB, url string) (orders, tuf.Config) {
	t.Helper()
	cfg := storetest.Config(t, openStore(t, url))
	if err := tuf.New(cfg).Create(t.Context(), storetest.List("first")); err != nil {
		t.Fatal(err)
	}
	o := orders{URL: asWriter(url), Keys: make(map[string]string)}
	for role, key := range map[string]crypto.Signer{tuf.Root: cfg.Keys.Root, tuf.Targets: cfg.Keys.Targets, tuf.Snapshot: cfg.Keys.Snapshot, tuf.Timestamp: cfg.Keys.Timestamp} {
		o.Keys[role] = filepath.Join(t.TempDir(), role+".pem")
		if err := keys.Save(o.Keys[role], key); err != nil {
			t.Fatal(err)
		}
	}
	return o, cfg
}

func startChild(t testing.TB, o orders) *child {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: osexec.Command(os.Args[0]), said: make(chan string, 100_000)}
	c.cmd.Env = append(os.Environ(), ordersVariable+"="+string(text))
	c.cmd.Stderr = os.Stderr
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.said)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			c.said <- lines.Text()
		}
	}()
	t.Cleanup(c.kill)
	return c
}

func (c *child) tell(t testing.TB, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(c.stdin, format+"\n", args...); err != nil {
		t.Errorf("tell a child: %v", err)
	}
}

// want waits for a line of the child.
func (c *child) want(t testing.TB, line string) {
	t.Helper()
	select {
	case said := <-c.said:
		if said != line {
			t.Errorf("a replica says %q, want %q", said, line)
		}
	case <-time.After(time.Minute):
		t.Fatalf("a replica does not say %q within a minute", line)
	}
}

// kill ends the process with SIGKILL.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func (c *child) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		t.Error(err)
	}
}
