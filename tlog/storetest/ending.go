package storetest

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/logtest"
)

// testSayFrozen freezes a log whose last checkpoint is to say so. A process that writes nothing
// learns it by looking, and the guard has nothing to move for.
func testSayFrozen(t *testing.T, f Fixture) {
	g := newGuard()
	cfg := logtest.Config(t, func(c *tlog.Config) { c.Guard, c.SayFrozen = g, true })
	newLog(t, f, cfg, 300)
	log, stop := open(t, f.Store, cfg)
	r, err := log.Append(t.Context(), logtest.Entry("last"))
	if err != nil {
		t.Fatal(err)
	}
	polling, shown := cfg, make(chan bool, 100)
	polling.Poll = 5 * time.Millisecond
	polling.Hook = func(p string) error {
		if p == tlog.PointHeadPublished {
			shown <- true
		}
		return nil
	}
	reader, _ := open(t, f.Another(t), polling)
	<-shown // by Open
	held, err := g.Last(t.Context(), logtest.Origin)
	if err != nil || held.Size != 301 {
		t.Fatalf("the guard holds %+v, %v", held, err)
	}
	if s, err := log.State(t.Context()); err != nil || s != (tlog.State{}) {
		t.Errorf("state %+v, %v", s, err)
	}
	if err := log.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-shown
	frozen := wantFrozen(t, reader, r.Checkpoint)
	// The process that froze it learns it from its next batch at the latest.
	if d, err := log.Append(t.Context(), logtest.Entry("last")); err != nil || !d.Duplicate || !bytes.Equal(d.Checkpoint.Note, frozen.Note) {
		t.Errorf("append of what is there: %+v, %v", d.Checkpoint, err)
	}
	if _, err := log.Append(t.Context(), logtest.Entry("late")); !errors.Is(err, tlog.ErrFrozen) {
		t.Errorf("append: %v", err)
	}
	wantFrozen(t, log, r.Checkpoint)
	if err := stop(); err != nil {
		t.Error(err)
	}
	again, _ := open(t, f.Another(t), cfg)
	if err := again.Freeze(t.Context()); err != nil {
		t.Errorf("freeze again: %v", err)
	}
	if cp := wantFrozen(t, again, r.Checkpoint); !bytes.Equal(cp.Note, frozen.Note) {
		t.Error("a frozen log was frozen again")
	}
	if now, err := g.Last(t.Context(), logtest.Origin); err != nil || now != held {
		t.Errorf("the guard has moved to %+v, %v", now, err)
	}
	mustFsck(t, f.Store, cfg)
}

var frozenText = regexp.MustCompile(`\nLog frozen — [A-Z][a-z]{2} [A-Z][a-z]{2} [ 1-3][0-9] [0-9:]{8} UTC [0-9]{4}\n\n— `)

func wantFrozen(t testing.TB, log tlog.Log, was checkpoint.Signed) checkpoint.Signed {
	t.Helper()
	cp, err := log.Checkpoint(t.Context())
	if err != nil || cp.Size != was.Size || cp.Root != was.Root || !frozenText.Match(cp.Note) {
		t.Errorf("checkpoint %s, %v", cp.Note, err)
	}
	if s, err := log.State(t.Context()); err != nil || s != (tlog.State{Frozen: true}) {
		t.Errorf("state %+v, %v", s, err)
	}
	return cp
}

// testRecoverFrozen brings a log back that was frozen after the backup: it stays frozen, and is
// read-only in every state between.
func testRecoverFrozen(t *testing.T, f Fixture) {
	l := newLost(t, f, 1)
	l.cfg.SayFrozen = true
	log, stop := open(t, f.Store, l.cfg)
	if err := log.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	l.head = mustHead(t, f)
	restored := l.backups[0]
	commits := 0
	err := l.recover(t, restored, f, func(p string) error {
		if p == tlog.PointTxBegin {
			commits++
		}
		if p == tlog.PointTxBegin && commits == 2 {
			return errInjected
		}
		return nil
	})
	if !errors.Is(err, errInjected) {
		t.Fatalf("recover: %v", err)
	}
	restored.UseHook(nil)
	half, stop := open(t, restored.Another(t), l.cfg)
	if h := mustHead(t, restored); h.Size <= before || !h.Frozen {
		t.Errorf("half way: %+v", h)
	}
	wantHalted(t, half, stop, tlog.ErrRollback)
	if err := l.recover(t, restored, f, nil); err != nil {
		t.Fatal(err)
	}
	if h := mustHead(t, restored); !h.Frozen || h.Reason != "" || !bytes.Equal(h.Note, l.head.Note) {
		t.Errorf("head %+v, want that of the source", h)
	}
	whole, _ := open(t, restored.Another(t), l.cfg)
	if _, err := whole.Append(t.Context(), logtest.Entry("late")); !errors.Is(err, tlog.ErrFrozen) {
		t.Errorf("append: %v", err)
	}
	if _, err := tlog.Fsck(t.Context(), restored.Store, audit(l.cfg)); err != nil {
		t.Error(err)
	}
}

// testAcceptLoss gives up what a log lacks. It never signs again, whatever is tried.
func testAcceptLoss(t *testing.T, f Fixture) {
	l := newLost(t, f, 3)
	restored, forked, ended := l.backups[0], l.backups[1], l.backups[2]
	ctx := t.Context()
	l.cfg.SayFrozen = true
	now, err := tlog.Compare(ctx, restored.Store, l.cfg)
	if err != nil {
		t.Fatal(err)
	}
	unguarded := l.cfg
	unguarded.Guard = nil
	fork, stop := open(t, forked.Store, unguarded)
	logtest.Fill(t, fork, 9000, 9000+after-before)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := ended.Store.Freeze(ctx, plainly); err != nil {
		t.Fatal(err)
	}
	stands := func(f Fixture) tlog.Standing {
		s, err := tlog.Compare(ctx, f.Store, l.cfg)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	other, noGuard := now, l.cfg
	other.Guard.Size--
	noGuard.Guard = nil
	for name, row := range map[string]struct {
		store     tlog.Store
		cfg       tlog.Config
		confirmed tlog.Standing
		want      string
	}{
		"no guard":                    {restored.Store, noGuard, now, "no guard"},
		"not as confirmed":            {restored.Store, l.cfg, other, "it has 300 entries and the guard remembers 1300"},
		"nothing is lost":             {f.Store, l.cfg, stands(f), "it has lost nothing"},
		"a fork":                      {forked.Store, l.cfg, stands(forked), "another history"},
		"frozen by another way":       {ended.Store, l.cfg, stands(ended), "put together"},
		"it moves in the last moment": {late{restored.Store}, l.cfg, now, "it has moved to 301"},
	} {
		if err := tlog.AcceptLoss(ctx, row.store, row.cfg, row.confirmed); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
	was := mustHead(t, restored)
	if was.Frozen {
		t.Fatal("a refused log was frozen")
	}
	if err := tlog.AcceptLoss(ctx, restored.Store, l.cfg, now); err != nil {
		t.Fatal(err)
	}
	l.neverSigns(t, restored, was, now)
}

// late is a log that has grown when it is locked.
type late struct{ tlog.Store }

func (l late) Freeze(ctx context.Context, f func(tlog.Head) (tlog.Ending, error)) error {
	return l.Store.Freeze(ctx, func(h tlog.Head) (tlog.Ending, error) {
		h.Size++
		return f(h)
	})
}

// neverSigns tries everything on a log whose loss was accepted.
func (l *lost) neverSigns(t *testing.T, restored Fixture, was tlog.Head, now tlog.Standing) {
	ctx := t.Context()
	h := mustHead(t, restored)
	if !h.Frozen || h.Lost != after-before || !strings.Contains(h.Reason, "1000 entries from index 300 on were lost and given up") || !bytes.Equal(h.Note, was.Note) || h.Size != was.Size {
		t.Errorf("head %+v", h)
	}
	if m, err := l.cfg.Guard.Last(ctx, logtest.Origin); err != nil || m != now.Guard {
		t.Errorf("the guard holds %+v, %v; want %+v", m, err, now.Guard)
	}
	cfg := l.cfg
	cfg.Hook = func(p string) error {
		if p == tlog.PointHeadSigned || p == tlog.PointGuardSent {
			t.Errorf("it came to %s", p)
		}
		return nil
	}
	log, stop := open(t, restored.Another(t), cfg)
	if err := log.Health(); err != nil {
		t.Errorf("health: %v", err)
	}
	if s, err := log.State(ctx); err != nil || !s.Frozen || s.Lost != h.Lost || s.Reason != h.Reason {
		t.Errorf("state %+v, %v", s, err)
	}
	if _, err := log.Append(ctx, logtest.Entry("late")); !errors.Is(err, tlog.ErrFrozen) {
		t.Errorf("append: %v", err)
	}
	if r, err := log.Append(ctx, logtest.Numbered(7)); err != nil || !r.Duplicate || r.Leaf.Index != 7 {
		t.Errorf("append of what is there: %+v, %v", r.Leaf, err)
	}
	if err := log.Freeze(ctx); err != nil {
		t.Errorf("freeze: %v", err)
	}
	if err := l.recover(t, restored, l.f, cfg.Hook); err == nil || !strings.Contains(err.Error(), "final") {
		t.Errorf("recover: %v", err)
	}
	if err := tlog.AcceptLoss(ctx, restored.Store, cfg, now); !errors.Is(err, tlog.ErrNotConfirmed) {
		t.Errorf("accept the loss again, as it stood: %v", err)
	}
	if s, err := tlog.Compare(ctx, restored.Store, cfg); err != nil || tlog.AcceptLoss(ctx, restored.Store, cfg, s) == nil {
		t.Errorf("accept the loss again: %+v, %v", s, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if h := mustHead(t, restored); !bytes.Equal(h.Note, was.Note) {
		t.Errorf("another checkpoint: %s", h.Note)
	}
	mustFsck(t, restored.Store, cfg)
}
