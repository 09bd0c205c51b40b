package pgguard_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/pgguard"
)

func newURL(t testing.TB, s *pgtest.Server) string {
	t.Helper()
	return s.URL(s.Reused(t, "guard", func(url string) error { return pg.Migrate(context.Background(), url, "guard") },
		func(url string) error {
			c, err := pgx.Connect(context.Background(), url)
			if err != nil {
				return err
			}
			defer c.Close(context.Background())
			_, err = c.Exec(context.Background(), "SET session_replication_role = replica; DELETE FROM guard.guard_mark")
			return err
		}))
}

// open opens a guard as the role that serve runs as.
func open(t testing.TB, url string) *pgguard.Guard {
	t.Helper()
	db, err := pg.Open(t.Context(), pg.Config{URL: url + "&role=sigbox_guard_writer", Schema: "guard"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return pgguard.New(db)
}

// history is a log in memory and its heads, size i+1 at i.
type history struct {
	log   *tlog.Engine
	heads []checkpoint.Signed
}

func newHistory(t testing.TB, origin string, prefix string, size int) *history {
	t.Helper()
	h := &history{log: logtest.New(t, func(c *tlog.Config) { c.Signer = logtest.Signer(t, "test", origin) })}
	for i := range size {
		r, err := h.log.Append(t.Context(), logtest.Entry(fmt.Sprint(prefix, i)))
		if err != nil {
			t.Fatal(err)
		}
		h.heads = append(h.heads, r.Checkpoint)
	}
	return h
}

func mark(s checkpoint.Signed) tlog.Mark { return tlog.Mark{Size: s.Size, Root: s.Root} }

// advance moves a guard from one size of the history to another.
func (h *history) advance(t testing.TB, g *pgguard.Guard, from, to int64) error {
	t.Helper()
	var m tlog.Mark
	if from > 0 {
		m = mark(h.heads[from-1])
	}
	proof, err := h.log.Consistency(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	return g.Advance(t.Context(), m, h.heads[to-1], proof)
}

func wantLast(t testing.TB, g *pgguard.Guard, want tlog.Mark) {
	t.Helper()
	if m, err := g.Last(t.Context(), "log.test"); err != nil || m != want {
		t.Errorf("the guard holds size %d, %v; want %d", m.Size, err, want.Size)
	}
}

func TestGuard(t *testing.T) {
	s := pgtest.Shared(t)
	url := newURL(t, s)
	g := open(t, url)
	h, fork := newHistory(t, "log.test", "", 20), newHistory(t, "log.test", "fork", 20)
	wantLast(t, g, tlog.Mark{})
	for _, step := range []struct {
		name     string
		history  *history
		from, to int64
		moved    bool // refused with ErrGuardMoved
		wrong    bool // refused for another reason
	}{
		{name: "from another size than none", history: h, from: 3, to: 4, moved: true},
		{name: "the first", history: h, from: 0, to: 3},
		{name: "the first again", history: h, from: 0, to: 3, moved: true},
		{name: "on", history: h, from: 3, to: 4},
		{name: "far", history: h, from: 4, to: 17},
		{name: "from where it was", history: h, from: 4, to: 17, moved: true},
		{name: "from beyond", history: h, from: 18, to: 19, moved: true},
		{name: "nowhere", history: h, from: 17, to: 17},
		{name: "nowhere, elsewhere", history: h, from: 18, to: 18, moved: true},
		{name: "a fork", history: fork, from: 17, to: 18, moved: true},
	} {
		err := step.history.advance(t, g, step.from, step.to)
		if errors.Is(err, tlog.ErrGuardMoved) != step.moved || (err != nil) != step.moved {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	wantLast(t, g, mark(h.heads[16]))
	wantLast(t, open(t, url), mark(h.heads[16]))

	if err := g.Advance(t.Context(), mark(h.heads[16]), h.heads[9], nil); err == nil || errors.Is(err, tlog.ErrGuardMoved) {
		t.Errorf("back: %v", err)
	}
	proof, err := h.log.Consistency(t.Context(), 17, 20)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Advance(t.Context(), mark(h.heads[16]), fork.heads[19], proof); err == nil || errors.Is(err, tlog.ErrGuardMoved) {
		t.Errorf("to a fork, with the proof of the log: %v", err)
	}
	wantLast(t, g, mark(h.heads[16]))

	other := newHistory(t, "other.test", "", 2)
	if err := other.advance(t, g, 0, 2); err != nil {
		t.Errorf("another log: %v", err)
	}
	wantLast(t, g, mark(h.heads[16]))
}

// TestCompareAndSwap lets several processes race for every step: one wins each.
func TestCompareAndSwap(t *testing.T) {
	url := newURL(t, pgtest.Shared(t))
	h := newHistory(t, "log.test", "", 12)
	guards := []*pgguard.Guard{open(t, url), open(t, url), open(t, url)}
	for from := range int64(11) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for _, g := range guards {
			for range 2 {
				wg.Go(func() {
					err := h.advance(t, g, from, from+1)
					if err != nil && !errors.Is(err, tlog.ErrGuardMoved) {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						won++
					}
				})
			}
		}
		wg.Wait()
		if won != 1 {
			t.Errorf("from size %d: %d calls moved the guard", from, won)
		}
	}
	wantLast(t, guards[0], mark(h.heads[10]))
}

// TestDatabaseRefuses shows that the database does not go back either, whoever asks.
func TestDatabaseRefuses(t *testing.T) {
	s := pgtest.Shared(t)
	url := newURL(t, s)
	h := newHistory(t, "log.test", "", 3)
	g := open(t, url)
	if err := h.advance(t, g, 0, 3); err != nil {
		t.Fatal(err)
	}
	for role, privileged := range map[string]bool{
		"sigbox_guard_writer": false, "sigbox_guard_reader": false, "sigbox_guard_owner": true, "postgres": true,
	} {
		c, err := pgx.Connect(t.Context(), url+"&role="+role)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []string{
			"DELETE FROM guard.guard_mark", "TRUNCATE guard.guard_mark", "UPDATE guard.guard_mark SET size = 2", "UPDATE guard.guard_mark SET size = 3",
			"UPDATE guard.guard_mark SET origin = 'x', size = 4",
		} {
			_, err := c.Exec(t.Context(), q)
			if code := pg.Code(err); code != "42501" && code != "23001" {
				t.Errorf("%s as %s: %v", q, role, err)
			}
			if privileged && pg.Code(err) != "23001" {
				t.Errorf("%s as %s: %v, want a trigger to refuse", q, role, err)
			}
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wantLast(t, g, mark(h.heads[2]))
}
