package tuf_test

import (
	"context"
	"crypto"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// running starts a repository under a bubble's clock; its store is in memory, since a file would
// not know the bubble's time.
func running(t *testing.T, cfg tuf.Config) *tuf.Repository {
	t.Helper()
	cfg.Store, cfg.Clock = &tuftest.Memory{}, clock.System{}
	cfg.Log, cfg.Lifetimes = slog.New(slog.DiscardHandler), tuf.Production()
	r := tuf.New(cfg)
	if err := r.Create(t.Context(), targets("trusted_root.json", "{}")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

// TestRunRenews lives through five weeks: at no minute is anything close to its expiry, and
// nothing is signed more often than it must be.
func TestRunRenews(t *testing.T) {
	keys := tuftest.Keys(t)
	synctest.Test(t, func(t *testing.T) {
		r := running(t, tuf.Config{Keys: keys})
		for range 35 * 24 {
			time.Sleep(time.Hour)
			synctest.Wait()
			if left := time.Until(r.Published().Expires(tuf.Timestamp)); left < 6*24*time.Hour-2*time.Minute {
				t.Fatalf("timestamp is valid for %s only", left)
			}
			if left := time.Until(r.Published().Expires(tuf.Snapshot)); left < 15*24*time.Hour-2*time.Minute {
				t.Fatalf("snapshot is valid for %s only", left)
			}
		}
		v := r.Published().Versions()
		if v.Root != 1 || v.Targets != 1 || v.Snapshot < 3 || v.Snapshot > 4 || v.Timestamp < 34 || v.Timestamp > 38 {
			t.Errorf("after 35 days: %+v", v)
		}
		if h := r.Health(); h.Err != nil || time.Since(h.Checked) > time.Minute {
			t.Errorf("health %+v", h)
		}
	})
}

// flaky is a signer, for example an HSM, that can be away.
type flaky struct {
	crypto.Signer
	away  atomic.Bool
	asked atomic.Int32
}

func (f *flaky) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	f.asked.Add(1)
	if f.away.Load() {
		return nil, errors.New("HSM is away")
	}
	return f.Signer.Sign(rand, digest, opts)
}

// B-209: the set stays served, the failure shows, tries become rare, and all is well again at
// the first that succeeds.
func TestRunSurvivesAnAbsentSigner(t *testing.T) {
	keys := tuftest.Keys(t)
	hsm := &flaky{Signer: keys.Timestamp}
	keys.Timestamp = hsm
	synctest.Test(t, func(t *testing.T) {
		r := running(t, tuf.Config{Keys: keys})
		hsm.away.Store(true)
		before := r.Published()
		hsm.asked.Store(0)
		time.Sleep(36 * time.Hour) // due after 24
		synctest.Wait()
		if r.Published() != before {
			t.Error("the published set changed")
		}
		h := r.Health()
		if h.Err == nil || time.Since(h.Since) < 11*time.Hour || time.Since(h.Checked) > 31*time.Minute {
			t.Errorf("health %+v", h)
		}
		if n := hsm.asked.Load(); n < 12*2 || n > 12*2+10 {
			t.Errorf("asked the signer %d times in 12 hours, want every half hour", n)
		}
		hsm.away.Store(false)
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		if h := r.Health(); h.Err != nil || r.Published().Versions().Timestamp != 2 {
			t.Errorf("health %+v, versions %+v", h, r.Published().Versions())
		}
	})
}

// mirror is a tuf.Mirror that can fail.
type mirror struct {
	fail  atomic.Bool
	wrote atomic.Pointer[tuf.Published]
}

func (m *mirror) Write(_ context.Context, p *tuf.Published) error {
	if m.fail.Load() {
		return errors.New("disk full")
	}
	m.wrote.Store(p)
	return nil
}

// TestRunRepairsTheMirror: a mirror that failed is written later, and meanwhile the face shows
// the new set all the same.
func TestRunRepairsTheMirror(t *testing.T) {
	keys, m := tuftest.Keys(t), &mirror{}
	synctest.Test(t, func(t *testing.T) {
		r := running(t, tuf.Config{Keys: keys, Mirror: m})
		m.fail.Store(true)
		if _, err := r.Publish(t.Context(), targets("trusted_root.json", "new")); err == nil {
			t.Error("Publish says nothing of the mirror")
		}
		if f, _ := r.Published().Target("trusted_root.json"); string(f.Bytes) != "new" {
			t.Error("the set is not shown")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if r.Health().Err == nil {
			t.Error("health says nothing of the mirror")
		}
		m.fail.Store(false)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if r.Health().Err != nil || m.wrote.Load() != r.Published() {
			t.Errorf("mirror was not written: %v", r.Health().Err)
		}
	})
}

// TestReplicasShowEachOther: what one publishes, the other shows within a minute.
func TestReplicasShowEachOther(t *testing.T) {
	keys := tuftest.Keys(t)
	synctest.Test(t, func(t *testing.T) {
		store := &tuftest.Memory{}
		cfg := tuf.Config{Store: store, Clock: clock.System{}, Keys: keys, Lifetimes: tuf.Production(), Log: slog.New(slog.DiscardHandler)}
		a, b := tuf.New(cfg), tuf.New(cfg)
		if err := a.Create(t.Context(), targets("trusted_root.json", "{}")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- b.Run(ctx) }()
		synctest.Wait()
		if _, err := a.Publish(t.Context(), targets("trusted_root.json", "new")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if f, _ := b.Published().Target("trusted_root.json"); string(f.Bytes) != "new" {
			t.Errorf("the other replica shows %q", f.Bytes)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
