package httpx

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"path"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts requests by route pattern, so that unknown paths add no series.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// NewMetrics registers the request metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sigbox_http_requests_total", Help: "HTTP requests by route and status class.",
		}, []string{"route", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sigbox_http_request_seconds", Help: "Time to answer, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"route"}),
	}
	reg.MustRegister(m.requests, m.seconds)
	return m
}

// Handler wraps next with what every request gets: a request id (answered as X-Request-Id), a
// cleaned path, a panic barrier, one log line and one metric. Log lines name the route pattern,
// never a header, a query or a body; they are for debugging.
func Handler(next *http.ServeMux, log *slog.Logger, m *Metrics) http.Handler {
	return Logged(next, log, m, nil)
}

// Logged is [Handler] with a say about the log lines.
func Logged(next *http.ServeMux, log *slog.Logger, m *Metrics, how *Requests) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		// In turns: a connection whose client answers at once would be served again and again while requests
		// that were there before wait, for as long as Go lets a goroutine run.
		runtime.Gosched()
		id := NewRequestID(r.Header.Values("X-Request-Id"))
		stamp(w.Header(), id)
		r = r.WithContext(WithRequestID(r.Context(), id))
		rec := &recorder{ResponseWriter: w}
		defer func() {
			abort := barrier(recover(), rec, r, id, log)
			observe(r, rec, time.Since(start), id, log, m, how)
			if abort {
				panic(http.ErrAbortHandler)
			}
		}()
		p, ok := cleanPath(r.URL.Path)
		if !ok || strings.Contains(r.URL.RawPath, "%2f") || strings.Contains(r.URL.RawPath, "%2F") {
			WriteJSON(rec, http.StatusNotFound, map[string]any{"code": 404, "message": "path " + http.StatusText(http.StatusNotFound)})
			return
		}
		if p != r.URL.Path {
			u := *r.URL
			u.Path, u.RawPath = p, ""
			r.URL = &u
		}
		next.ServeHTTP(rec, r)
	})
}

// stamp sets the headers of every answer.
func stamp(h http.Header, id string) {
	h.Set("X-Request-Id", id)
	h.Set("X-Content-Type-Options", "nosniff")
}

// barrier deals with what a handler panicked with, nil if it did not. It answers 500 without
// the headers that were meant for another answer. If that has begun already it returns true: only
// a broken connection tells the client that what it got is not whole.
func barrier(v any, rec *recorder, r *http.Request, id string, log *slog.Logger) (abort bool) {
	if v == nil || v == http.ErrAbortHandler {
		return v != nil
	}
	log.ErrorContext(r.Context(), "panic in handler", "request_id", id, "panic", v, "stack", string(debug.Stack()))
	if rec.status != 0 {
		return true
	}
	clear(rec.Header())
	stamp(rec.Header(), id)
	WriteJSON(rec, http.StatusInternalServerError, map[string]any{"code": 500, "message": "internal error"})
	return false
}

func observe(r *http.Request, rec *recorder, took time.Duration, id string, log *slog.Logger, m *Metrics, how *Requests) {
	route, status := r.Pattern, rec.status
	if route == "" {
		route = "unmatched"
	}
	if status == 0 {
		status = http.StatusOK
	}
	m.requests.WithLabelValues(route, string('0'+byte(status/100))+"xx").Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
	level := how.Level(route)
	if !log.Enabled(r.Context(), level) {
		return
	}
	log.LogAttrs(r.Context(), level, "request", slog.String("request_id", id), slog.String("method", method(r.Method)), slog.String("route", route),
		slog.Int("status", status), slog.Int64("bytes", rec.bytes), Took(took), slog.String("client", how.Client(r.RemoteAddr, r.Header)))
}

// Took is how long a request took, in milliseconds, as log lines have it.
func Took(d time.Duration) slog.Attr {
	return slog.Float64("ms", float64(d.Round(10*time.Microsecond))/float64(time.Millisecond))
}

// method keeps what a client makes up out of log lines.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return m
	}
	return "other"
}

// cleanPath collapses repeated slashes, which clients with a base URL that ends in one send;
// answering them with a redirect would lose a POST body. Dot segments, backslashes and what is not
// UTF-8 are refused: somebody else may read another path in them.
func cleanPath(p string) (string, bool) {
	if !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "\x00\\") || !utf8.ValidString(p) {
		return "", false
	}
	for strings.Contains(p, "//") {
		p = strings.ReplaceAll(p, "//", "/")
	}
	clean := path.Clean(p)
	if clean != "/" && strings.HasSuffix(p, "/") {
		clean += "/"
	}
	return p, clean == p
}

type idKey struct{}

// RequestID returns the id of the request that ctx belongs to, "" outside one. It is for log
// lines only; nothing decides by it.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(idKey{}).(string)
	return id
}

// WithRequestID returns a context of the request with an id.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, idKey{}, id)
}

// NewRequestID takes over the id that a client sent, if it is one and short and plain, and makes one
// otherwise.
func NewRequestID(sent []string) string {
	if v := sent; len(v) == 1 && len(v[0]) <= 64 && len(v[0]) > 0 {
		if strings.Trim(v[0], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == "" {
			return v[0]
		}
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// recorder remembers the status for the log line, 0 as long as the answer has not begun, and counts
// the bytes of the body. Unwrap keeps deadlines reachable (http.ResponseController).
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 { // 1xx come before the answer
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Flush implements http.Flusher, which libraries ask for by type. It begins the answer.
func (r *recorder) Flush() {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	if f, ok := r.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}
