package fileguard

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/memstore"
)

func open(t testing.TB, dir string) *Guard {
	t.Helper()
	g, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

// history is a log's heads of every size up to n, and the proofs between them.
type history struct {
	log   tlog.Log
	heads []checkpoint.Signed
}

func newHistory(t testing.TB, name string, n int) *history {
	t.Helper()
	h := &history{log: logtest.New(t, func(c *tlog.Config) { c.Signer = logtest.Signer(t, "log.test", name) })}
	cp, err := h.log.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.heads = append(h.heads, cp)
	for i := range n {
		r, err := h.log.Append(t.Context(), logtest.Entry(name)+logtest.Numbered(i))
		if err != nil {
			t.Fatal(err)
		}
		h.heads = append(h.heads, r.Checkpoint)
	}
	return h
}

func (h *history) mark(size int) tlog.Mark {
	if size == 0 {
		return tlog.Mark{}
	}
	return tlog.Mark{Size: int64(size), Root: h.heads[size].Root}
}

func (h *history) advance(t testing.TB, g *Guard, from, to int) error {
	t.Helper()
	proof, err := h.log.Consistency(t.Context(), int64(from), int64(max(to, 1)))
	if err != nil {
		proof = nil
	}
	return g.Advance(t.Context(), h.mark(from), h.heads[to], proof)
}

func wantLast(t testing.TB, g *Guard, origin string, want tlog.Mark) {
	t.Helper()
	if m, err := g.Last(t.Context(), origin); err != nil || m != want {
		t.Errorf("the guard holds %d %x, %v; want %d %x", m.Size, m.Root, err, want.Size, want.Root)
	}
}

func TestGuardMovesForwardOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "guard")
	g := open(t, dir)
	h, other := newHistory(t, "log.test - 1", 9), newHistory(t, "log.test - 2", 9)
	origin := "log.test - 1"
	wantLast(t, g, origin, tlog.Mark{})
	for _, to := range []int{3, 4, 8} {
		m, _ := g.Last(t.Context(), origin)
		if err := h.advance(t, g, int(m.Size), to); err != nil {
			t.Fatal(err)
		}
		wantLast(t, g, origin, h.mark(to))
	}
	wantLast(t, g, "log.test - 2", tlog.Mark{})
	if err := h.advance(t, g, 4, 9); !errors.Is(err, tlog.ErrGuardMoved) {
		t.Errorf("advance from what it held before: %v", err)
	}
	if err := h.advance(t, g, 0, 9); !errors.Is(err, tlog.ErrGuardMoved) {
		t.Errorf("advance from nothing: %v", err)
	}
	if err := h.advance(t, g, 8, 3); err == nil {
		t.Error("the guard went back")
	}
	if err := g.Advance(t.Context(), h.mark(8), h.heads[9], nil); err == nil {
		t.Error("the guard moved without a proof")
	}
	forked := other.heads[9]
	forked.Origin = origin
	proof, err := other.log.Consistency(t.Context(), 8, 9)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Advance(t.Context(), h.mark(8), forked, proof); err == nil {
		t.Error("the guard moved to a fork")
	}
	wantLast(t, g, origin, h.mark(8))
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	wantLast(t, open(t, dir), origin, h.mark(8)) // after a restart
}

func TestDirectoryIsLocked(t *testing.T) {
	dir := t.TempDir()
	g := open(t, dir)
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("open a guard that is in use: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	g := open(t, dir)
	h := newHistory(t, "log.test - 1", 3)
	if err := h.advance(t, g, 0, 3); err != nil {
		t.Fatal(err)
	}
	path := g.path("log.test - 1")
	good, err := os.ReadFile(path)
	if err != nil || string(good) != string(h.heads[3].Note) {
		t.Fatalf("the file holds %q, %v", good, err)
	}
	for name, bad := range map[string]string{
		"empty": "", "half": string(good[:20]), "garbage": "x\n\ny\n", "of another log": strings.Replace(string(good), "log.test - 1", "log.test - 2", 1),
	} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		fresh := &Guard{dir: dir, held: make(map[string]tlog.Mark)}
		if m, err := fresh.Last(t.Context(), "log.test - 1"); err == nil {
			t.Errorf("%s: read as %+v", name, m)
		}
		if err := h.advance(t, fresh, 0, 3); err == nil {
			t.Errorf("%s: overwritten", name)
		}
	}
}

var errInjected = errors.New("injected")

// A step that fails, or a process that dies there, leaves the old or the new head, whole.
func TestFaults(t *testing.T) {
	h := newHistory(t, "log.test - 1", 9)
	for _, c := range []struct {
		step string
		held int // by the file afterwards
		on   bool
	}{
		{"stage.written", 3, true},
		{"stage.fsynced", 3, true},
		{"stage.renamed", 3, true},
		{"dir.fsynced", 5, false}, // it is not known to be durable: broken until a restart
	} {
		t.Run(c.step, func(t *testing.T) {
			dir := t.TempDir()
			g := open(t, dir)
			if err := h.advance(t, g, 0, 3); err != nil {
				t.Fatal(err)
			}
			g.hook = func(step string) error {
				if step == c.step {
					return errInjected
				}
				return nil
			}
			if err := h.advance(t, g, 3, 5); !errors.Is(err, errInjected) {
				t.Fatalf("advance: %v", err)
			}
			g.hook = nil
			wantLast(t, g, "log.test - 1", h.mark(c.held))
			if err := h.advance(t, g, c.held, 7); (err == nil) != c.on {
				t.Errorf("advance after the fault: %v", err)
			}
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			again := open(t, dir)
			m, err := again.Last(t.Context(), "log.test - 1")
			if err != nil {
				t.Fatal(err)
			}
			if err := h.advance(t, again, int(m.Size), 9); err != nil {
				t.Errorf("advance after a restart: %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "next-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "next-1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if left, _ := filepath.Glob(filepath.Join(dir, "next-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Under the engine: every receipt's head is in the file.
func TestUnderTheEngine(t *testing.T) {
	dir := t.TempDir()
	g := open(t, dir)
	store, cfg := memstore.New(), logtest.Config(t, func(c *tlog.Config) { c.Guard = g })
	if err := tlog.Create(t.Context(), store, cfg, nil); err != nil {
		t.Fatal(err)
	}
	log := logtest.Open(t, store, cfg)
	for i := range 20 {
		r, err := log.Append(t.Context(), logtest.Numbered(i))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(g.path(logtest.Origin)); err != nil || string(b) != string(r.Checkpoint.Note) {
			t.Fatalf("the file holds %q, %v; the receipt %q", b, err, r.Checkpoint.Note)
		}
	}
}

// TestPeek reads a guard that another process has, always anew, and leaves it to that one.
func TestPeek(t *testing.T) {
	dir := t.TempDir()
	g, peek := open(t, dir), Peek(dir)
	h := newHistory(t, "log.test - 1", 3)
	for i := range 2 {
		if err := h.advance(t, g, i, i+1); err != nil {
			t.Fatal(err)
		}
		if m, err := peek.Last(t.Context(), "log.test - 1"); err != nil || m.Size != int64(i)+1 {
			t.Errorf("it holds size %d, %v; want %d", m.Size, err, i+1)
		}
	}
	if err := h.advance(t, peek, 2, 3); err != nil {
		t.Error(err)
	}
	if m, err := g.Last(t.Context(), "log.test - 1"); err != nil || m.Size != 2 {
		t.Errorf("the guard was moved to size %d, %v", m.Size, err)
	}
	if err := peek.Close(); err != nil {
		t.Error(err)
	}
}
