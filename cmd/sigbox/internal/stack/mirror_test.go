package stack

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/airgap"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf"
	format "github.com/sigbox/sigbox/tuf/airgap"
)

// TestMirrorWhenOver: once what was imported is not good any more, the mirror warns or stops, as configured, and goes
// on at once when something newer is there.
func TestMirrorWhenOver(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name           string
		stop           bool
		after          time.Duration
		content        int // status of what was imported
		ready          int
		status, saysIn string // of /readyz
	}{
		{"warn, good", false, 0, 200, 200, "ok", ""},
		{"warn, soon over", false, 89 * 24 * time.Hour, 200, 200, "degraded", "air gap import ends in 24 hours"},
		{"warn, over", false, 90 * 24 * time.Hour, 200, 200, "degraded", "air gap import ended"},
		{"stop, soon over", true, 89 * 24 * time.Hour, 200, 200, "degraded", "answers 503"},
		{"stop, over", true, 90 * 24 * time.Hour, 503, 503, "unavailable", "not good any more"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := clock.NewManual(start)
			m := mirrorWith(t, c, start.Add(90*24*time.Hour), 1)
			s := NewMirrorServer(t.Context(), MirrorOptions{Mirror: m, Stop: tc.stop, Clock: c, Log: slog.New(slog.DiscardHandler)})
			h := s.Handler()
			c.Advance(tc.after)
			ask := func(path string) (int, string) {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				return w.Code, w.Body.String()
			}
			if code, body := ask("/airgap/receipt.json"); code != tc.content {
				t.Errorf("content: %d, want %d: %s", code, tc.content, body)
			}
			if code, body := ask("/readyz"); code != tc.ready || !strings.Contains(body, `"status":"`+tc.status+`"`) || !strings.Contains(body, tc.saysIn) {
				t.Errorf("readyz: %d %s, want %d, %s with %q", code, body, tc.ready, tc.status, tc.saysIn)
			}
			if code, _ := ask("/healthz"); code != 200 {
				t.Errorf("healthz: %d", code)
			}
			if code, body := ask("/metrics"); code != 200 || !strings.Contains(body, `sigbox_expires_timestamp_seconds{what="air gap import"}`) {
				t.Errorf("metrics: %d", code)
			}
			receipt(t, m.Dir, start, start.Add(180*24*time.Hour), 2)
			if code, _ := ask("/airgap/receipt.json"); code != 200 {
				t.Errorf("after the next import: %d", code)
			}
		})
	}
}

// TestMirrorIsReadOnly: no method but those that read, and no path but those of imports.
func TestMirrorIsReadOnly(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := clock.NewManual(start)
	m := mirrorWith(t, c, start.Add(90*24*time.Hour), 1)
	h := NewMirrorServer(t.Context(), MirrorOptions{Mirror: m, Clock: c, Log: slog.New(slog.DiscardHandler)}).Handler()
	for _, row := range []struct {
		method, path string
		want         int
	}{
		{"POST", "/airgap/receipt.json", 405}, {"PUT", "/tuf/root.json", 405}, {"DELETE", "/airgap/1/bundles/a", 405},
		{"GET", "/airgap/1/bundles/..%2f..%2f..%2fsnapshot.key", 404}, {"GET", "/airgap/1/keys/a", 404}, {"GET", "/airgap/1/bundles/none", 404},
		{"GET", "/airgap/checkpoints/" + strings.Repeat("0", 64), 404}, {"GET", "/snapshot.key", 404}, {"GET", "/", 404},
		{"POST", "/api/v1/log/entries", 404}, {"GET", "/debug/pprof/", 404},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(row.method, row.path, nil))
		if w.Code != row.want {
			t.Errorf("%s %s: %d, want %d: %s", row.method, row.path, w.Code, row.want, w.Body)
		}
	}
}

// mirrorWith is a mirror with a receipt, and nothing else.
func mirrorWith(t *testing.T, c clock.Clock, until time.Time, number int64) *airgap.Mirror {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mirror")
	root, err := metadata.Root(until).ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	if err := airgap.Create(t.Context(), dir, root); err != nil {
		t.Fatal(err)
	}
	receipt(t, dir, c.Now(), until, number)
	m, err := airgap.Open(context.Background(), dir, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// receipt writes what an import leaves behind.
func receipt(t *testing.T, dir string, made, until time.Time, number int64) {
	t.Helper()
	m := format.Manifest{Mirror: "https://sigstore.example.com/tuf", Number: number, Made: made, GoodUntil: until, Versions: tuf.Versions{Root: 1, Targets: 1, Snapshot: 1, Timestamp: 1}}
	if number > 1 {
		m.After = strings.Repeat("0", 64)
	}
	for _, name := range []string{"tuf/1.root.json", "tuf/targets.json", "tuf/snapshot.json", "tuf/timestamp.json"} {
		m.Parts = append(m.Parts, format.Part{Name: name, Size: 1, SHA256: strings.Repeat("0", 64)})
	}
	e, err := m.Seal()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := instance.WriteFile(filepath.Join(dir, "receipt.json"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
}
