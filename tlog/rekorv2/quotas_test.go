package rekorv2_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/rekorv2"
)

// TestOurFaultIsGivenBack: over HTTP and gRPC an append that fails in the store costs nothing; what is
// done or refused does.
func TestOurFaultIsGivenBack(t *testing.T) {
	for _, transport := range []string{"HTTP", "gRPC"} {
		t.Run(transport, func(t *testing.T) {
			var broken atomic.Bool
			quotas := quota.New(quota.Config{Service: "test", Clients: &httpx.Requests{}, Clock: clock.System{}})
			quotas.Set(quota.Rates{Address: quota.Rate{Count: 3, Per: time.Hour}})
			s := newServer(t, func(c *rekorv2.Config, l *tlog.Config) {
				c.Quotas = quotas
				l.Hook = func(point string) error {
					if point == tlog.PointHeadStored && broken.Load() {
						return errors.New("the disk is gone")
					}
					return nil
				}
			})
			client := s.grpc()
			n := 0
			post := func(want int, code codes.Code) {
				t.Helper()
				n++
				req := artifact(t, fmt.Sprint(n))
				if code == codes.InvalidArgument {
					req.Digest = nil
				}
				if transport == "gRPC" {
					if _, err := client.CreateEntry(t.Context(), request(req)); status.Code(err) != code {
						t.Errorf("request %d: %v, want %v", n, err, code)
					}
					return
				}
				a := s.post(requestJSON(t, req))
				var e struct{ Code codes.Code }
				if err := json.Unmarshal(a.body, &e); a.StatusCode != want || err != nil && want != 201 || want != 201 && e.Code != code {
					t.Errorf("request %d: %d %s, want %d %v", n, a.StatusCode, a.body, want, code)
				}
				if want == http.StatusTooManyRequests && a.Header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
			}
			broken.Store(true)
			for range 5 {
				post(http.StatusServiceUnavailable, codes.Unavailable)
			}
			broken.Store(false)
			post(http.StatusCreated, codes.OK)
			post(http.StatusBadRequest, codes.InvalidArgument)
			post(http.StatusCreated, codes.OK)
			size := s.size()
			post(http.StatusTooManyRequests, codes.ResourceExhausted)
			if s.size() != size {
				t.Error("the log has grown")
			}
		})
	}
}
