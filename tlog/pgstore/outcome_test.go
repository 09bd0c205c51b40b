package pgstore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/pgstore"
)

// impatient has short timeouts.
func impatient(c *pg.Config) {
	c.Writers = 1
	c.LockTimeout, c.StatementTimeout, c.IdleTimeout, c.CommitTimeout = 500*time.Millisecond, time.Second, 500*time.Millisecond, time.Second
}

// once runs f the first time that a point is passed after arm.
type once struct {
	point string
	f     func()
	armed atomic.Bool
}

func (o *once) hook(point string) error {
	if point == o.point && o.armed.CompareAndSwap(true, false) {
		o.f()
	}
	return nil
}

// victim is a log whose store can be hurt at a point, and a healthy store of the same log.
type victim struct {
	server  *pgtest.Server
	name    string // of the database
	healthy *pgstore.Store
	store   *pgstore.Store
	errs    chan error // what Update of the store returned
	log     *tlog.Engine
	cfg     tlog.Config
	next    int
}

// spied tells what Update returns.
type spied struct {
	tlog.Store
	errs chan error
}

func (s spied) Update(ctx context.Context, wanted [][32]byte, f func(tlog.Tx) (*tlog.Batch, error)) error {
	err := s.Store.Update(ctx, wanted, f)
	s.errs <- err
	return err
}

// newVictim makes a log of 250 entries and opens it through a connection string of hurt's making.
func newVictim(t testing.TB, server *pgtest.Server, connection func(database string) string) *victim {
	t.Helper()
	v := &victim{server: server, name: newDatabase(t, server), errs: make(chan error, 1000), next: 250}
	v.healthy = openStore(t, openDB(t, server.URL(v.name)), "test")
	v.cfg = logtest.Config(t)
	var seeds []tlog.Entry
	for i := range v.next {
		seeds = append(seeds, logtest.Numbered(i))
	}
	if err := tlog.Create(t.Context(), v.healthy, v.cfg, seeds); err != nil {
		t.Fatal(err)
	}
	v.store = openStore(t, openDB(t, connection(v.name), impatient), "test")
	v.log = logtest.Open(t, spied{v.store, v.errs}, v.cfg)
	// Its one writing connection has every statement prepared from now on.
	if _, _, err := v.append(t); err != nil {
		t.Fatal(err)
	}
	return v
}

// append appends the next entry, and returns what Update said, try by try, until it was answered.
func (v *victim) append(t testing.TB) (r tlog.Receipt, updates []error, err error) {
	t.Helper()
	r, err = v.log.Append(t.Context(), logtest.Numbered(v.next))
	v.next++
	for len(v.errs) > 0 {
		updates = append(updates, <-v.errs)
	}
	return r, updates, err
}

// appendedOnce appends an entry that must get through as a new one, whatever happens at a point.
// The first Update must have ended with an error of one of the classes.
func (v *victim) appendedOnce(t testing.TB, classes ...error) {
	t.Helper()
	h, err := v.healthy.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	r, updates, err := v.append(t)
	t.Logf("answered after %v: %v", time.Since(started).Round(time.Millisecond), updates)
	if err != nil || r.Duplicate || r.Leaf.Index != h.Size {
		t.Fatalf("append: index %d, duplicate %v, %v; want a new entry at %d", r.Leaf.Index, r.Duplicate, err, h.Size)
	}
	if err := logtest.CheckReceipt(r); err != nil {
		t.Error(err)
	}
	is := func(class error) bool { return errors.Is(updates[0], class) }
	if len(updates) < 2 || !slices.ContainsFunc(classes, is) {
		t.Errorf("updates: %v, want the first to be %v and to be tried again", updates, classes)
	}
}

// done checks that the log is whole, and that it goes on.
func (v *victim) done(t testing.TB) {
	t.Helper()
	if _, _, err := v.append(t); err != nil {
		t.Errorf("append when all is well again: %v", err)
	}
	if err := v.log.Health(); err != nil {
		t.Error(err)
	}
	_, err := tlog.Fsck(t.Context(), v.healthy, tlog.Audit{
		Verifier: v.cfg.Signer.Verifier(),
		Identity: func(l tlog.Leaf) ([32]byte, error) { return logtest.Entry(l.Data).Identity(), nil },
		Keys:     func(l tlog.Leaf) ([][]byte, error) { return logtest.Entry(l.Data).Keys(), nil },
	})
	if err != nil {
		t.Error(err)
	}
}

// TestConnectionLostAtCommit breaks the network when nothing is left but the last batch, which
// moves the head and commits. Whether it arrived or not, the callers are told the truth.
func TestConnectionLostAtCommit(t *testing.T) {
	for name, c := range map[string]struct {
		request   bool // what breaks; else it is the answer
		how       pgtest.Verdict
		committed bool
	}{
		"COMMIT is lost": {true, pgtest.Cut, false},
		"half of COMMIT is lost, and the rest hangs": {true, pgtest.Half, false},
		"COMMIT hangs":               {true, pgtest.Hold, false},
		"the answer is lost":         {false, pgtest.Cut, true},
		"half of the answer is lost": {false, pgtest.Half, true},
		"the answer hangs":           {false, pgtest.Hold, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := pgtest.Shared(t)
			proxy := server.Proxy(t)
			v := newVictim(t, server, proxy.URL)
			broken := &once{point: tlog.PointTxPrecommit, f: func() {
				proxy.Set(func(fromClient bool, _ []byte) pgtest.Verdict {
					if fromClient == c.request {
						return c.how
					}
					return pgtest.Forward
				})
			}}
			var sizes []int64 // before each try
			v.store.UseHook(func(point string) error {
				if point == tlog.PointTxBegin {
					proxy.Set(nil) // new connections work; the broken one stays broken
					h, err := v.healthy.Head(t.Context())
					if err != nil {
						t.Error(err)
					}
					sizes = append(sizes, h.Size)
				}
				return broken.hook(point)
			})
			broken.armed.Store(true)
			v.appendedOnce(t, tlog.ErrUnknownOutcome)
			if committed := sizes[1] > sizes[0]; committed != c.committed {
				t.Errorf("the first try was committed: %v; the test breaks something else than it says", committed)
			}
			v.done(t)
		})
	}
}

// TestSessionEndedAtCommit lets an administrator end the session just before COMMIT arrives.
func TestSessionEndedAtCommit(t *testing.T) {
	server := pgtest.Shared(t)
	v := newVictim(t, server, server.URL)
	end := &once{point: tlog.PointTxPrecommit, f: func() { terminate(t, server, v.name) }}
	v.store.UseHook(end.hook)
	end.armed.Store(true)
	v.appendedOnce(t, tlog.ErrUnknownOutcome, tlog.ErrTransient) // a closed socket tells that nothing was sent
	v.done(t)
}

func terminate(t testing.TB, server *pgtest.Server, database string) {
	server.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+database+"' AND state = 'idle in transaction'")
}

// TestServerKilledAtCommit kills all of PostgreSQL at both ends of COMMIT.
func TestServerKilledAtCommit(t *testing.T) {
	server := pgtest.Start(t)
	v := newVictim(t, server, server.URL)
	for point, classes := range map[string][]error{
		tlog.PointTxPrecommit: {tlog.ErrUnknownOutcome, tlog.ErrTransient},
		tlog.PointTxCommitted: {tlog.ErrUnknownOutcome},
	} {
		kill := &once{point: point, f: func() { server.Kill(t); server.Restart(t) }}
		v.store.UseHook(func(p string) error {
			was := kill.armed.Load()
			if err := kill.hook(p); err != nil || p != tlog.PointTxCommitted || !was {
				return err
			}
			return errors.New("the answer to COMMIT is lost")
		})
		kill.armed.Store(true)
		v.appendedOnce(t, classes...)
	}
	v.done(t)
}

// TestSynchronousWaitCancelled takes the synchronous standby away and ends the wait for it. The
// entry is on one machine then; nobody may be told that it is safe before the standby is back.
func TestSynchronousWaitCancelled(t *testing.T) {
	for how, words := range map[string]string{"pg_cancel_backend": "01000", "pg_terminate_backend": ""} {
		t.Run(how, func(t *testing.T) {
			server := pgtest.Start(t)
			v := newVictim(t, server, server.URL)
			server.SetSync(t, "nobody")
			answered := make(chan bool)
			var r tlog.Receipt
			var err error
			var updates []error
			go func() {
				defer close(answered)
				r, updates, err = v.append(t)
			}()
			first := awaitSync(t, server)
			if h, err := v.healthy.Head(t.Context()); err != nil || h.Size != 251 {
				t.Errorf("readers see size %d, %v before the standby has it", h.Size, err)
			}
			server.Exec(t, "postgres", "SELECT "+how+"("+first+")")
			// The engine asks under the lock, finds the entry, and waits for the standby again.
			awaitSync(t, server)
			select {
			case <-answered:
				t.Errorf("answered with no standby: %+v, %v", r.Leaf, err)
			default:
			}
			server.SetSync(t, "")
			<-answered
			if err != nil || r.Duplicate || r.Leaf.Index != 251 {
				t.Errorf("append: index %d, duplicate %v, %v", r.Leaf.Index, r.Duplicate, err)
			}
			if len(updates) < 2 || !errors.Is(updates[0], tlog.ErrUnknownOutcome) || !strings.Contains(updates[0].Error(), words) {
				t.Errorf("updates: %v", updates)
			}
			v.done(t)
		})
	}
}

// awaitSync waits until a session waits for a standby, and returns it.
func awaitSync(t testing.TB, server *pgtest.Server) (pid string) {
	t.Helper()
	c := server.Connect(t, "postgres")
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var n int
		err := c.QueryRow(t.Context(), `SELECT count(*), coalesce(min(pid)::text, '') FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'sigbox writer'`).Scan(&n, &pid)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return pid
		}
	}
	t.Fatal("nobody waits for the standby")
	return ""
}
