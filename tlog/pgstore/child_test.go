package pgstore_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/fileguard"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/pgguard"
	"github.com/sigbox/sigbox/tlog/pgstore"
)

// orders are what a child process is told: to append to a log, as a replica of serve does.
type orders struct {
	URL      string // connection string
	Guard    string // connection string of the shared guard, or
	GuardDir string // directory of a guard of its own
	Key      string // file of the log's key
	Prefix   string // of its entries
	Workers  int
	From     []int  // by worker: the number of its first entry
	StopAt   string // the point at which it stops itself (SIGSTOP) once, after SIGUSR1
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

// obey appends entries until standard input ends, each again and again until it is acknowledged,
// and writes down every acknowledgement.
func obey(text string) error {
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log, err := o.open(ctx)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- log.Run(running) }()
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	var wg sync.WaitGroup
	wg.Go(func() { o.watch(ctx, log) })
	for w := range o.Workers {
		wg.Go(func() { o.work(ctx, log, w) })
	}
	wg.Wait()
	stop()
	return <-ended
}

func (o orders) work(ctx context.Context, log *tlog.Engine, worker int) {
	first := 0
	if worker < len(o.From) {
		first = o.From[worker]
	}
	for i := first; ctx.Err() == nil && log.Health() == nil; i++ {
		e := logtest.Entry(fmt.Sprintf("%s.%d.%d", o.Prefix, worker, i))
		for ctx.Err() == nil && log.Health() == nil {
			// An append that was begun is waited for: it says what became of the entry.
			r, err := log.Append(context.WithoutCancel(ctx), e)
			if err != nil {
				fmt.Printf("failed %s\n", e)
				time.Sleep(10 * time.Millisecond) // as Retry-After would have it
				continue
			}
			if err := logtest.CheckReceipt(r); err != nil {
				panic(err)
			}
			// One write: a line is written whole or not at all.
			fmt.Printf("ack %s %d %d %x %t\n", e, r.Leaf.Index, r.Checkpoint.Size, r.Checkpoint.Root, r.Duplicate)
			break
		}
	}
}

// watch writes down every head that readers could see, with a signature that verifies.
func (o orders) watch(ctx context.Context, log *tlog.Engine) {
	cfg, err := o.config()
	if err != nil {
		panic(err)
	}
	var last int64
	for ; ctx.Err() == nil && log.Health() == nil; time.Sleep(time.Millisecond) {
		shown, err := log.Checkpoint(ctx)
		if err != nil || shown.Size == last {
			continue
		}
		signed, err := cfg.Signer.Verifier().Open(shown.Note)
		if err != nil {
			panic(err)
		}
		fmt.Printf("head %d %x\n", signed.Size, signed.Root)
		last = signed.Size
	}
}

// open opens the log, and goes on trying as long as the databases are away.
func (o orders) open(ctx context.Context) (log *tlog.Engine, err error) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if log, err = o.tryOpen(ctx); err == nil || !errors.Is(err, pg.ErrTransient) {
			return log, err
		}
	}
	return nil, err
}

func (o orders) tryOpen(ctx context.Context) (log *tlog.Engine, err error) {
	cfg, err := o.config()
	if err != nil {
		return nil, err
	}
	var opened []func()
	defer func() {
		for _, c := range opened {
			if log == nil {
				c() // or the next try finds the guard locked
			}
		}
	}()
	quick := pg.Config{URL: o.URL, Schema: "tlog"}
	impatient(&quick)
	db, err := pg.Open(ctx, quick)
	if err != nil {
		return nil, err
	}
	opened = append(opened, db.Close)
	if o.Guard != "" {
		guard, err := pg.Open(ctx, pg.Config{URL: o.Guard, Schema: "guard"})
		if err != nil {
			return nil, err
		}
		opened = append(opened, guard.Close)
		cfg.Guard = pgguard.New(guard)
	}
	if o.GuardDir != "" {
		guard, err := fileguard.Open(o.GuardDir)
		if err != nil {
			return nil, err
		}
		opened = append(opened, func() { _ = guard.Close() })
		cfg.Guard = guard
	}
	store, err := pgstore.Open(ctx, db, "test")
	if err != nil {
		return nil, err
	}
	if o.StopAt != "" {
		store.UseHook(o.stopper())
	}
	return tlog.Open(ctx, store, cfg)
}

// stopper stops the process at a point, when it was asked to.
func (o orders) stopper() tlog.Hook {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	return func(point string) error {
		if point != o.StopAt {
			return nil
		}
		select {
		case <-asked:
			return syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		default:
			return nil
		}
	}
}

func (o orders) config() (tlog.Config, error) {
	key, err := keys.Load(o.Key)
	if err != nil {
		return tlog.Config{}, err
	}
	signer, err := checkpoint.NewSigner(logtest.Origin, logtest.Origin, key)
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return tlog.Config{Name: "test", Signer: signer, Logger: logger}, err
}

// child is a process that appends.
type child struct {
	cmd   *osexec.Cmd
	stdin io.Closer
	read  chan bool // closed when it has said everything
	log   *os.File
}

// startChild starts a process.
func startChild(t testing.TB, o orders, w *witness) *child {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: osexec.Command(os.Args[0]), read: make(chan bool)}
	c.cmd.Env = append(os.Environ(), ordersVariable+"="+string(text))
	if c.log, err = os.Create(filepath.Join(t.TempDir(), fmt.Sprintf("child-%d.log", len(w.children)))); err != nil {
		t.Fatal(err)
	}
	c.cmd.Stderr = c.log
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
	w.children = append(w.children, c)
	go func() {
		defer close(c.read)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			w.line(t, lines.Text())
		}
	}()
	return c
}

// kill ends the process with SIGKILL.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.read
	_ = c.cmd.Wait()
}

func (c *child) signal(t testing.TB, s os.Signal) {
	if err := c.cmd.Process.Signal(s); err != nil {
		t.Errorf("signal a child: %v", err)
	}
}

// stopAtPoint asks the process to stop itself at its point, and waits until it has.
func (c *child) stopAtPoint(t testing.TB) {
	t.Helper()
	c.signal(t, syscall.SIGUSR1)
	for {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])); f[0] == "T" {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// stop lets the process drain its log.
func (c *child) stop(t testing.TB) {
	t.Helper()
	_ = c.stdin.Close()
	<-c.read
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("a child ended with %v: %s", err, c.said())
	}
}

// said returns the last that the process has logged.
func (c *child) said() string {
	b, err := os.ReadFile(c.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}

// newReplicated makes a log for children, with its guard in another server, and returns what to
// tell them.
func newReplicated(t testing.TB, server *pgtest.Server) (orders, *pgstore.Store, tlog.Config) {
	t.Helper()
	name := newDatabase(t, server)
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	o := orders{URL: asWriter(server.URL(name)), Key: filepath.Join(t.TempDir(), "key.pem"), Guard: newGuardURL(t), Workers: 8}
	if err := keys.Save(o.Key, key); err != nil {
		t.Fatal(err)
	}
	cfg, err := o.config()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = nil
	store := openStore(t, openDB(t, server.URL(name)), "test")
	if err := tlog.Create(t.Context(), store, cfg, []tlog.Entry{logtest.Entry("seed")}); err != nil {
		t.Fatal(err)
	}
	return o, store, cfg
}

// newGuardURL makes a guard in the shared server.
func newGuardURL(t testing.TB) string {
	t.Helper()
	s := pgtest.Shared(t)
	url := s.URL(s.Database(t))
	if err := pg.Migrate(t.Context(), url, "guard"); err != nil {
		t.Fatal(err)
	}
	return url + "&role=sigbox_guard_writer"
}

func openGuard(t testing.TB, url string) *pgguard.Guard {
	t.Helper()
	db, err := pg.Open(t.Context(), pg.Config{URL: url, Schema: "guard"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return pgguard.New(db)
}
