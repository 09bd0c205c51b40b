package fulcio_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/internal/quota"
)

type scts func(ctx context.Context, chain [][]byte) ([]byte, error)

func (f scts) AddPreChain(ctx context.Context, chain [][]byte) ([]byte, error) { return f(ctx, chain) }

// TestHangUp: a client that does not wait pays, since what it leaves in the CT log and on record stays
// there.
func TestHangUp(t *testing.T) {
	hangUp := func() {}
	s := newStack(t, func(s *stack, c *ca.Config) {
		s.quotas = quota.New(quota.Config{Service: "test", Clients: &httpx.Requests{}, Clock: s.clock})
		s.quotas.Set(quota.Rates{Identity: quota.Rate{Count: 2, Per: time.Hour}})
		log := c.SCTs
		c.SCTs = scts(func(ctx context.Context, chain [][]byte) ([]byte, error) {
			sct, err := log.AddPreChain(ctx, chain)
			hangUp()
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return sct, err
		})
	})
	mux := http.NewServeMux()
	s.server.Register(mux)
	sign := func() (status int, entries int) {
		k := newKeyPair(t)
		body := text(t, object{"credentials": object{"oidcIdentityToken": s.token(t, nil)}, "certificateSigningRequest": k.csr(t)})
		ctx, cancel := context.WithCancel(t.Context())
		hangUp = cancel
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/v2/signingCert", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		_, entries = s.traces(t)
		return w.Code, entries
	}
	for i := range 2 {
		if status, entries := sign(); status != http.StatusInternalServerError || entries != i+1 {
			t.Fatalf("request %d: %d, the log has %d entries", i, status, entries)
		}
	}
	if status, entries := sign(); status != http.StatusTooManyRequests || entries != 2 {
		t.Errorf("beyond the quota: %d, the log has %d entries", status, entries)
	}
}
