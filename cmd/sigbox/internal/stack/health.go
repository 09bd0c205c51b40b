package stack

import (
	"context"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
)

//go:embed serve.html
var serveHTML embed.FS

var servePage = template.Must(template.ParseFS(serveHTML, "serve.html"))

// health is what /readyz looks at.
type health struct {
	mu           sync.Mutex
	logs         []checkedLog
	checks       []healthCheck
	notes        []func(context.Context) (name, text string) // text is "" for nothing to say
	guard        *watchedGuard                               // nil for none
	guardNote    string
	guardPrivate bool
}

// healthCheck is one thing that may be wrong, and how bad that is.
type healthCheck struct {
	name, status string // status: degraded or unavailable
	check        func(context.Context) error
}

func (h *health) add(name, status string, check func(context.Context) error) {
	h.checks = append(h.checks, healthCheck{name, status, check})
}

func (h *health) addLog(l checkedLog) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logs = append(h.logs, l)
}

func (h *health) allLogs() []checkedLog {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.logs)
}

type checkedLog struct {
	name   string
	engine *tlog.Engine
}

// report is the body of /readyz.
type report struct {
	Status string            `json:"status"` // ok, degraded or unavailable
	Checks map[string]string `json:"checks"` // ok, or what is wrong
	Notes  map[string]string `json:"notes,omitempty"`
}

// report says what is wrong. unavailable is for what another replica or a restart mends: a server
// that stops, a guard of its own that cannot be written, a token that this process does not get through to
// (docs/design/0021). What all replicas share is degraded: to
// take them all away would take the reads away too, which still work.
func (s *Server) report(ctx context.Context) report {
	r := report{Status: "ok", Checks: map[string]string{}}
	check := func(name string, err error, status string) {
		r.Checks[name] = "ok"
		if err != nil {
			r.Checks[name] = err.Error()
			if r.Status != "unavailable" {
				r.Status = status
			}
		}
	}
	for _, l := range s.health.allLogs() {
		check("log "+l.name, l.engine.Health(), "degraded")
		if f := frozen(ctx, l.engine); f != "" {
			r.Checks["log "+l.name] = f
		}
	}
	for _, c := range s.health.checks {
		check(c.name, c.check(ctx), c.status)
	}
	for _, k := range s.keys.all() {
		check("key "+k.name, k.err(), "unavailable")
	}
	if s.health.guard != nil {
		status := "degraded"
		if s.health.guardPrivate {
			status = "unavailable"
		}
		check("guard", s.health.guard.err(), status)
	}
	r.Notes = map[string]string{}
	if s.health.guardNote != "" {
		r.Notes["guard"] = s.health.guardNote
	}
	for _, n := range s.health.notes {
		if name, text := n(ctx); text != "" {
			r.Notes[name] = text
		}
	}
	if s.draining.Load() {
		check("process", errors.New("is stopping"), "unavailable")
	}
	return r
}

// frozen says that a log was ended, and why; "" for one that goes on or has halted. It is a state to
// know of, and nothing to mend.
func frozen(ctx context.Context, l *tlog.Engine) string {
	state, err := l.State(ctx)
	switch {
	case err != nil, l.Health() != nil, !state.Frozen:
		return ""
	case state.Lost == 0:
		return "frozen"
	}
	return "frozen: " + state.Reason
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	rep := s.report(r.Context())
	status := http.StatusOK
	if rep.Status == "unavailable" {
		status = http.StatusServiceUnavailable
	}
	httpx.WriteJSON(w, status, rep)
}

// addOperations adds what people and probes look at: the page at each listener, the rest at the
// listener for operations, or at all where there is none.
func (s *Server) addOperations() {
	for _, d := range s.doors {
		d.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
			var page strings.Builder
			if err := servePage.Execute(&page, d.services); err != nil { // our own template over our own strings
				panic(err)
			}
			w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
			httpx.Write(w, http.StatusOK, "text/html; charset=utf-8", []byte(page.String()))
		})
	}
	inside := s.doors
	if s.cfg.Operations != nil {
		inside = []*door{s.door(s.cfg.Operations.Listen)}
	}
	for _, d := range inside {
		d.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
			httpx.WriteJSON(w, http.StatusOK, map[string]string{"status": "SERVING"})
		})
		d.mux.HandleFunc("GET /readyz", s.readyz)
		d.mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	}
}

// watchedGuard remembers how the last use of a guard went.
type watchedGuard struct {
	tlog.Guard
	last atomic.Pointer[error] // nil: well
}

var errGuard = errors.New("cannot be read or written, so that new heads are not published and writes are refused; the log says why")

func (w *watchedGuard) err() error {
	if w.last.Load() != nil {
		return errGuard
	}
	return nil
}

func (w *watchedGuard) note(err error) {
	if err == nil || errors.Is(err, tlog.ErrGuardMoved) {
		w.last.Store(nil)
		return
	}
	w.last.Store(&err)
}

// Last implements [tlog.Guard].
func (w *watchedGuard) Last(ctx context.Context, origin string) (tlog.Mark, error) {
	m, err := w.Guard.Last(ctx, origin)
	w.note(err)
	return m, err
}

// Advance implements [tlog.Guard].
func (w *watchedGuard) Advance(ctx context.Context, from tlog.Mark, to checkpoint.Signed, proof [][]byte) error {
	err := w.Guard.Advance(ctx, from, to, proof)
	w.note(err)
	return err
}

// How /readyz looks at the database: it is asked by anyone, as often as they like.
const (
	askTimeout = 2 * time.Second
	askFresh   = 2 * time.Second
)

var errDatabase = errors.New("cannot be reached")

// ping asks a database whether it answers.
type ping struct {
	pool *pgxpool.Pool

	mu    sync.Mutex
	asked time.Time
	last  error
}

func newPing(pool *pgxpool.Pool) *ping { return &ping{pool: pool} }

func (p *ping) check(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.asked.IsZero() && time.Since(p.asked) < askFresh {
		return p.last
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	p.last = nil
	if err := p.pool.Ping(ctx); err != nil {
		p.last = errDatabase // the error names hosts
	}
	p.asked = time.Now()
	return p.last
}
