package stack

import (
	_ "embed"
	"html/template"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/clients"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tuf"
)

//go:embed index.html
var indexHTML string

var indexPage = template.Must(template.New("index").Parse(indexHTML))

// clientsPath is where the files and settings of clients are shown.
const clientsPath = "/clients"

// addClients adds the page of clients, for what repo publishes at url.
func addClients(mux *http.ServeMux, url string, repo *tuf.Repository, log *slog.Logger) error {
	page, err := clients.NewPage(url+tufPrefix, repo.Published, log)
	if err != nil {
		return err
	}
	page.Register(mux)
	return nil
}

// addOperations adds what people and probes look at.
func (s *Stack) addOperations() {
	s.mux.HandleFunc("GET /{$}", s.index)
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		httpx.WriteJSON(w, http.StatusOK, map[string]string{"status": "SERVING"})
	})
	s.mux.HandleFunc("GET /readyz", s.readyz)
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
}

// readyz answers 200 as long as a restart could mend nothing: a log that refuses writes still
// serves proofs, and a restart would not change its mind. What is wrong is in the body.
func (s *Stack) readyz(w http.ResponseWriter, r *http.Request) {
	checks, status := map[string]string{}, "ok"
	check := func(name string, err error) {
		checks[name] = "ok"
		if err != nil {
			checks[name], status = err.Error(), "degraded"
		}
	}
	for _, l := range s.health.allLogs() {
		check("log "+l.name, l.engine.Health())
		if f := frozen(r.Context(), l.engine); f != "" {
			checks["log "+l.name] = f
		}
	}
	check("shards", s.shards.check(r.Context()))
	check("tuf", s.repo.Health().Err)
	check("expiry", s.expiry.check(r.Context()))
	body := map[string]any{"status": status, "checks": checks}
	if name, text := s.expiry.note(r.Context()); text != "" {
		body["notes"] = map[string]string{name: text}
	}
	httpx.WriteJSON(w, http.StatusOK, body)
}

type service struct{ Name, Path, Link string }

// Services lists what runs where, as the page and the command line show it.
func (s *Stack) Services() []service {
	u := s.opts.URL
	return []service{
		{"Fulcio (CA)", u + "/api/v2/signingCert", u + "/api/v2/configuration"},
		{"Rekor v1", u + "/api/v1/log/entries", u + "/api/v1/log"},
		{"Rekor v2", u + "/api/v2/log/entries", u + "/api/v2/checkpoint"},
		{"CT log", u + "/ct/v1/add-pre-chain", u + "/ct/v1/get-sth"},
		{"Timestamps", u + tsaPath, u + tsaPath + "/certchain"},
		{"TUF mirror", u + tufPrefix, u + tufPrefix + "/root.json"},
		{"Clients", u + clientsPath, u + clientsPath},
		{"Dev issuer", u, u + "/.well-known/openid-configuration"},
		{"Health", u + "/readyz", u + "/readyz"},
		{"Metrics", u + "/metrics", u + "/metrics"},
	}
}

func (s *Stack) index(w http.ResponseWriter, _ *http.Request) {
	tour := s.Tour()
	var page strings.Builder
	err := indexPage.Execute(&page, map[string]any{
		"URL": s.opts.URL, "Services": s.Services(), "Cosign3": tour.Cosign3(), "Cosign2": tour.Cosign2(),
	})
	if err != nil { // our own template over our own strings
		panic(err)
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	httpx.Write(w, http.StatusOK, "text/html; charset=utf-8", []byte(page.String()))
}

// Tour is what to type against this instance.
func (s *Stack) Tour() Tour {
	return Tour{URL: s.opts.URL, Trust: s.opts.Dir.File("trust"), Self: Self()}
}
