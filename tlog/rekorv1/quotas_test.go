package rekorv1_test

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/rekorv1"
	"github.com/sigbox/sigbox/tlog/writers"
)

// TestOurFaultIsGivenBack: an append that fails in the store is answered 503 and costs nothing, neither
// the address nor the key; one that is refused or done does.
func TestOurFaultIsGivenBack(t *testing.T) {
	var broken atomic.Bool
	quotas := quota.New(quota.Config{Service: "test", Clients: &httpx.Requests{}, Clock: clock.System{}})
	quotas.Set(quota.Rates{Address: quota.Rate{Count: 3, Per: time.Hour}, Identity: quota.Rate{Count: 2, Per: time.Hour}})
	open, err := writers.NewPolicy(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, func(c *rekorv1.Config, l *tlog.Config) {
		c.Quotas, c.Writers = quotas, writers.NewGate(open, clock.System{})
		l.Hook = func(point string) error {
			if point == tlog.PointLeafInserted && broken.Load() {
				return errors.New("the disk is gone")
			}
			return nil
		}
	})
	body := artifact(t, 0)
	broken.Store(true)
	for range 5 {
		if a := s.post(entriesPath, body); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
			t.Fatalf("with a broken store: %d %s", a.StatusCode, a.body)
		}
	}
	broken.Store(false)
	for i, want := range []int{http.StatusCreated, http.StatusBadRequest, http.StatusCreated, http.StatusTooManyRequests} {
		if i == 1 {
			body = []byte("{}x")
		} else if i > 1 {
			body = artifact(t, i)
		}
		if a := s.post(entriesPath, body); a.StatusCode != want {
			t.Errorf("request %d: %d %s, want %d", i, a.StatusCode, a.body, want)
		}
	}
}

// TestIdentityQuota: a key has a quota of its own, whatever address it comes from, and what fails costs it
// nothing.
func TestIdentityQuota(t *testing.T) {
	quotas := quota.New(quota.Config{Service: "test", Clients: &httpx.Requests{}, Clock: clock.System{}})
	quotas.Set(quota.Rates{Identity: quota.Rate{Count: 1, Per: time.Hour}})
	open, err := writers.NewPolicy(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var broken atomic.Bool
	broken.Store(true)
	s := newServer(t, func(c *rekorv1.Config, l *tlog.Config) {
		c.Quotas, c.Writers = quotas, writers.NewGate(open, clock.System{})
		l.Hook = func(point string) error {
			if point == tlog.PointTxPrecommit && broken.Load() {
				return errors.New("the disk is gone")
			}
			return nil
		}
	})
	key := entrytest.P256(t)
	signed := func(text string) []byte {
		return entrytest.DSSE(t, entrytest.Envelope(t, "text/plain", []byte(text), key), entrytest.PEM(t, key.Public()))
	}
	for range 3 {
		if a := s.post(entriesPath, signed("one")); a.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("with a broken store: %d %s", a.StatusCode, a.body)
		}
	}
	broken.Store(false)
	if a := s.post(entriesPath, signed("one")); a.StatusCode != http.StatusCreated {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	size := s.size()
	a := s.post(entriesPath, signed("two"))
	code, message := errorBody(t, a)
	if a.StatusCode != http.StatusTooManyRequests || code != a.StatusCode || message != "the quota of this identity is used up (1/1h): try again in 3600 s" || a.Header.Get("Retry-After") != "3600" {
		t.Errorf("%d %s %v", a.StatusCode, a.body, a.Header)
	}
	if s.size() != size {
		t.Error("the log has grown")
	}
	if a := s.post(entriesPath, artifact(t, 0)); a.StatusCode != http.StatusCreated {
		t.Errorf("another key: %d %s", a.StatusCode, a.body)
	}
}
