package stack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/airgap"
	"github.com/sigbox/sigbox/expiry"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tuf/foreign"
	tufweb "github.com/sigbox/sigbox/tuf/web"
)

// MirrorOptions say how an imported set is served.
type MirrorOptions struct {
	Mirror *airgap.Mirror
	// Stop answers 503 to everything but health and metrics once what was imported is not good any more.
	// Without it, it is served on, and whoever checks the expiry refuses it.
	Stop  bool
	TLS   *tls.Config
	Clock clock.Clock
	Log   *slog.Logger
}

// MirrorServer serves what was imported, read-only, to clients that verify.
type MirrorServer struct {
	o        MirrorOptions
	registry *prometheus.Registry
	expiry   *watchedExpiry
	until    atomic.Pointer[time.Time] // of the last look; nil: nothing imported
}

// NewMirrorServer returns the server of a mirror.
func NewMirrorServer(ctx context.Context, o MirrorOptions) *MirrorServer {
	s := &MirrorServer{o: o, registry: newRegistry()}
	s.expiry = &watchedExpiry{clock: o.Clock, log: o.Log, file: o.Mirror.Dir}
	s.expiry.add(s.items)
	s.expiry.look(ctx)
	s.registry.MustRegister(s.expiry)
	return s
}

// items are what ends: the roles of the repository, and what was imported as a whole.
func (s *MirrorServer) items(context.Context) ([]expiry.Item, error) {
	e, err := s.o.Mirror.Receipt()
	if errors.Is(err, airgap.ErrNothing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := e.Manifest
	s.until.Store(&m.GoodUntil)
	breaks := "clients that look at the expiry refuse everything from this mirror"
	if s.o.Stop {
		breaks = "this mirror answers 503"
	}
	items := []expiry.Item{{
		What: "air gap import", Detail: fmt.Sprintf("export %d", m.Number), At: m.GoodUntil, Life: m.GoodUntil.Sub(m.Made), Breaks: breaks,
		Mend: []string{
			"outside: sigbox airgap export --url " + m.Mirror + " --after RECEIPT --key KEY --out NEXT.tar    (RECEIPT is receipt.json of this mirror)",
			"here: sigbox airgap import NEXT.tar --data " + s.o.Mirror.Dir,
		},
	}}
	if p := s.o.Mirror.Repo.Published(); p != nil {
		items = append(items, foreignItems(p, func(e foreign.Entry) []string {
			return []string{"outside: " + refresh(e, "at the instance"), "then the next export, and its import here"}
		})...)
	}
	return items, nil
}

// over says whether what was imported is not good any more. The receipt is looked at again only then: an import may
// just have brought something newer.
func (s *MirrorServer) over(ctx context.Context) bool {
	past := func() bool {
		p := s.until.Load()
		return p != nil && !s.o.Clock.Now().Before(*p)
	}
	if !past() {
		return false
	}
	_, _ = s.items(ctx) // what cannot be read leaves it over
	return past()
}

// Handler serves the repository at /tuf and /trust, the rest of what was imported below /airgap, and health.
func (s *MirrorServer) Handler() http.Handler {
	content := http.NewServeMux()
	tufweb.New(tufPrefix, s.o.Mirror.Repo.Published, s.o.Mirror.Repo.Look).Register(content)
	content.HandleFunc("GET /airgap/receipt.json", s.receipt)
	content.HandleFunc("GET /airgap/checkpoints/{id}", s.checkpoint)
	content.HandleFunc("GET /airgap/{number}/{kind}/{name}", s.large)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if s.o.Stop && s.over(r.Context()) {
			w.Header().Set("Cache-Control", "no-store")
			httpx.Write(w, http.StatusServiceUnavailable, "text/plain; charset=utf-8",
				[]byte("what this mirror was given is not good any more: it needs a newer export\n"))
			return
		}
		content.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		httpx.WriteJSON(w, http.StatusOK, map[string]string{"status": "SERVING"})
	})
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	return httpx.Handler(mux, s.o.Log, httpx.NewMetrics(s.registry))
}

// readyz is 503 where the mirror has stopped.
func (s *MirrorServer) readyz(w http.ResponseWriter, r *http.Request) {
	s.expiry.look(r.Context())
	checks, status, code := map[string]string{}, "ok", http.StatusOK
	check := func(name string, err error, as string) {
		checks[name] = "ok"
		if err == nil {
			return
		}
		checks[name], status = err.Error(), as
		if as == "unavailable" {
			code = http.StatusServiceUnavailable
		}
	}
	check("expiry", s.expiry.check(r.Context()), "degraded")
	check("tuf", s.o.Mirror.Repo.Health().Err, "degraded")
	if s.o.Stop && s.over(r.Context()) {
		check("import", errors.New("what was imported is not good any more"), "unavailable")
	}
	body := map[string]any{"status": status, "checks": checks}
	if name, text := s.expiry.note(r.Context()); text != "" {
		body["notes"] = map[string]string{name: text}
	}
	httpx.WriteJSON(w, code, body)
}

func (s *MirrorServer) receipt(w http.ResponseWriter, _ *http.Request) {
	raw, err := s.o.Mirror.ReceiptJSON()
	if err != nil {
		s.missing(w, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	httpx.Write(w, http.StatusOK, "application/json", raw)
}

func (s *MirrorServer) checkpoint(w http.ResponseWriter, r *http.Request) {
	note, err := s.o.Mirror.Checkpoint(r.PathValue("id"))
	if err != nil {
		s.missing(w, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	httpx.Write(w, http.StatusOK, "text/plain; charset=utf-8", note)
}

func (s *MirrorServer) large(w http.ResponseWriter, r *http.Request) {
	f, err := s.o.Mirror.Large(r.PathValue("number"), r.PathValue("kind"), r.PathValue("name"))
	if err != nil {
		s.missing(w, err)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, f)
}

func (s *MirrorServer) missing(w http.ResponseWriter, err error) {
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, airgap.ErrNothing) {
		s.o.Log.Error("mirror: what was imported cannot be read", "error", err)
	}
	w.Header().Set("Cache-Control", "no-store")
	httpx.Write(w, http.StatusNotFound, "text/plain; charset=utf-8", []byte("not found\n"))
}

// Run serves until ctx ends, and keeps snapshot and timestamp fresh as long as they may be.
func (s *MirrorServer) Run(ctx context.Context, ln net.Listener) error {
	services, ctx := errgroup.WithContext(ctx)
	services.Go(func() error { return Serve(ctx, ln, s.Handler(), s.o.TLS) })
	services.Go(func() error { return s.expiry.run(ctx) })
	services.Go(func() error { return s.o.Mirror.Repo.Run(ctx) })
	return services.Wait()
}
