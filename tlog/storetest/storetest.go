package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// Fixture is a store under test, and what the suite does to it behind its back.
type Fixture struct {
	// Store holds no log yet; its log is to be named "test".
	Store tlog.Store
	// UseHook sets the hook of Store.
	UseHook func(tlog.Hook)
	// Another returns a second store of the same log, as another process would have it.
	Another func(t testing.TB) tlog.Store
	// Backup returns a copy of the data as they are now, as a database of its own.
	Backup func(t testing.TB) Fixture
	// Tamper changes one value of one row, as a hand in the database would. The change gets the
	// stored bytes (integers as 8 bytes, big-endian) and returns new ones; nil deletes the row.
	Tamper func(t testing.TB, at Cell, change func(old []byte) []byte)
}

// Cell names a value. Tables and columns are those of DESIGN.md section 3; Level and N say which
// tile, N which leaf, attestation, or entry of a search key.
type Cell struct {
	Table  string
	Level  int
	N      int64
	Column string
}

// Run runs the suite; newFixture is called for every test.
func Run(t *testing.T, newFixture func(t testing.TB) Fixture) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Fixture)
	}{
		{"create", testCreate},
		{"rows", testRows},
		{"search", testSearch},
		{"update", testUpdate},
		{"lock", testLock},
		{"conflict", testConflict},
		{"store faults", testStoreFaults},
		{"single faults", testSingleFaults},
		{"double faults", testDoubleFaults},
		{"outcome unknown, another writer moves on", testUnknownThenOther},
		{"outcome never learnt", testNeverLearnt},
		{"transient errors", testTransient},
		{"two processes", testTwoProcesses},
		{"poll", testPoll},
		{"drain and restart", testDrain},
		{"freeze", testFreeze},
		{"conflict stops the log", testConflictHalts},
		{"read-back differs", testReadBack},
		{"tampered rows", testTampered},
		{"fsck", testFsck},
		{"rollback", testRollback},
		{"rollback under a running process", testRollbackRunning},
		{"rollback seen by a reader", testRollbackPolled},
		{"fork", testFork},
		{"fork under a running process", testForkIsNotCached},
		{"freeze says so", testSayFrozen},
		{"recover", testRecover},
		{"recover, cut short", testRecoverFaults},
		{"recover what the guard never heard of", testRecoverAhead},
		{"recover refuses", testRecoverRefuses},
		{"recover from a frozen log", testRecoverFrozen},
		{"accept the loss", testAcceptLoss},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newFixture(t)) })
	}
}

var errInjected = errors.New("injected fault")

// faults fails at planned points, in their order, each once.
type faults struct {
	mu   sync.Mutex
	plan []string
}

func (f *faults) set(plan ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan = plan
}

// left returns the points that were not reached.
func (f *faults) left() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.plan
}

func (f *faults) hit(point string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.plan) == 0 || f.plan[0] != point {
		return nil
	}
	f.plan = f.plan[1:]
	return errInjected
}

// guard is a register in memory that processes can share.
type guard struct {
	mu   sync.Mutex
	held map[string]tlog.Mark
}

func newGuard() *guard { return &guard{held: make(map[string]tlog.Mark)} }

func (g *guard) Last(_ context.Context, origin string) (tlog.Mark, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held[origin], nil
}

func (g *guard) Advance(_ context.Context, from tlog.Mark, to checkpoint.Signed, proof [][]byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held[to.Origin] != from {
		return tlog.ErrGuardMoved
	}
	if from.Size > 0 {
		if err := logtest.VerifyConsistency(from.Size, to.Size, proof, from.Root, to.Root); err != nil {
			return err
		}
	}
	g.held[to.Origin] = tlog.Mark{Size: to.Size, Root: to.Root}
	return nil
}

// newLog creates the log "test" with some entries.
func newLog(t testing.TB, f Fixture, cfg tlog.Config, entries int) {
	t.Helper()
	var seeds []tlog.Entry
	for i := range entries {
		seeds = append(seeds, logtest.Numbered(i))
	}
	if err := tlog.Create(t.Context(), f.Store, cfg, seeds); err != nil {
		t.Fatal(err)
	}
}

// open opens a log and runs it; stop drains it and returns what Run returned.
func open(t testing.TB, store tlog.Store, cfg tlog.Config) (e *tlog.Engine, stop func() error) {
	t.Helper()
	e, err := tlog.Open(t.Context(), store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceValue(logtest.Start(t, e))
	t.Cleanup(func() { _ = stop() })
	return e, stop
}

// history collects heads that were seen, and checks that each is a prefix of the last.
type history struct {
	mu    sync.Mutex
	heads map[int64][32]byte
}

func (h *history) add(t testing.TB, c checkpoint.Signed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.heads == nil {
		h.heads = make(map[int64][32]byte)
	}
	if root, ok := h.heads[c.Size]; ok && root != c.Root {
		t.Errorf("two heads of size %d: %x and %x", c.Size, root, c.Root)
	}
	h.heads[c.Size] = c.Root
}

func (h *history) check(t testing.TB, log tlog.Log) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for size, want := range h.heads {
		if root, err := log.Root(t.Context(), size); err != nil || root != want {
			t.Errorf("a head of size %d and root %x was released; the log says %x, %v", size, want, root, err)
		}
	}
}

// mustFsck checks the whole log.
func mustFsck(t testing.TB, store tlog.Store, cfg tlog.Config) {
	t.Helper()
	if _, err := fsck(t, store, cfg); err != nil {
		t.Error(err)
	}
}

func fsck(t testing.TB, store tlog.Store, cfg tlog.Config) (checkpoint.Signed, error) {
	return tlog.Fsck(t.Context(), store, tlog.Audit{
		Verifier: cfg.Signer.Verifier(),
		Identity: func(l tlog.Leaf) ([32]byte, error) { return logtest.Entry(l.Data).Identity(), nil },
		Keys:     func(l tlog.Leaf) ([][]byte, error) { return logtest.Entry(l.Data).Keys(), nil },
	})
}
