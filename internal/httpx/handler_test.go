package httpx_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/internal/httpx"
)

// rig is the outer handler over a mux of its own, with what it logged and counted.
type rig struct {
	http.Handler
	mux *http.ServeMux
	log bytes.Buffer
	reg *prometheus.Registry
}

func newRig() *rig {
	r := &rig{mux: http.NewServeMux(), reg: prometheus.NewRegistry()}
	log := slog.New(slog.NewJSONHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.Handler = httpx.Handler(r.mux, log, httpx.NewMetrics(r.reg))
	return r
}

// lines returns the log, one map per line.
func (r *rig) lines(t *testing.T) (lines []map[string]any) {
	t.Helper()
	for dec := json.NewDecoder(bytes.NewReader(r.log.Bytes())); ; {
		var line map[string]any
		if err := dec.Decode(&line); errors.Is(err, io.EOF) {
			return lines
		} else if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
}

// counted returns the request counters as "route class count", sorted.
func (r *rig) counted(t *testing.T) (out []string) {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "sigbox_http_requests_total" {
			for _, m := range f.GetMetric() {
				label := map[string]string{}
				for _, l := range m.GetLabel() {
					label[l.GetName()] = l.GetValue()
				}
				out = append(out, fmt.Sprintf("%s %s %g", label["route"], label["class"], m.GetCounter().GetValue()))
			}
		} else if f.GetName() != "sigbox_http_request_seconds" {
			t.Errorf("unknown metric %s", f.GetName())
		}
	}
	slices.Sort(out)
	return out
}

func TestRequestID(t *testing.T) {
	const plain = "ABCxyz-0123456789_."
	for _, tc := range []struct {
		name  string
		in    []string
		taken bool
	}{
		{"plain", []string{plain}, true},
		{"64 characters", []string{strings.Repeat("a", 64)}, true},
		{"65 characters", []string{strings.Repeat("a", 65)}, false},
		{"missing", nil, false},
		{"empty", []string{""}, false},
		{"two values", []string{plain, plain}, false},
		{"line break", []string{"a\r\nSet-Cookie: b"}, false},
		{"escape sequence", []string{"a\x1b[2Jb"}, false},
		{"JSON", []string{`a","level":"ERROR`}, false},
		{"space inside", []string{"a b"}, false},
		{"letter beyond ASCII", []string{"aéb"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rig, seen := newRig(), ""
			rig.mux.HandleFunc("GET /", func(_ http.ResponseWriter, r *http.Request) { seen = httpx.RequestID(r.Context()) })
			r := httptest.NewRequest("GET", "/", nil)
			r.Header["X-Request-Id"] = tc.in
			rec := httptest.NewRecorder()
			rig.ServeHTTP(rec, r)
			answered := rec.Header()["X-Request-Id"]
			if len(answered) != 1 || answered[0] != seen {
				t.Fatalf("answered %q, the handler saw %q", answered, seen)
			}
			if tc.taken && seen != tc.in[0] || !tc.taken && (len(seen) != 16 || slices.Contains(tc.in, seen)) {
				t.Errorf("id %q", seen)
			}
			if lines := rig.lines(t); len(lines) != 1 || lines[0]["request_id"] != seen {
				t.Errorf("log %v", lines)
			}
		})
	}
	if id := httpx.RequestID(context.Background()); id != "" {
		t.Errorf("id %q outside a request", id)
	}
	if a, b := idOf(t), idOf(t); a == b {
		t.Errorf("two requests have the id %q", a)
	}
}

func idOf(t *testing.T) string {
	t.Helper()
	rec := httptest.NewRecorder()
	newRig().ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	return rec.Header().Get("X-Request-Id")
}

func TestPath(t *testing.T) {
	for _, tc := range []struct{ name, path, want string }{
		{"as it is", "/api/v1/log", "/api/v1/log"},
		{"root", "/", "/"},
		{"two slashes in front", "//api/v1/log", "/api/v1/log"},
		{"slashes everywhere", "///api//v1////log", "/api/v1/log"},
		{"slash at the end is another path", "/api/v1/log/", "/api/v1/log/"},
		{"slashes at the end", "/api/v1/log//", "/api/v1/log/"},
		{"slashes only", "///", "/"},
		{"escapes stay what they are", "/api/%41%20", "/api/A "},
		{"escaped percent is not unescaped twice", "/a/%252e%252e/b", "/a/%2e%2e/b"},
		{"slashes and an escape", "//a/%41", "/a/A"},
		{"query is not a path", "/a?p=//../", "/a"},
		{"three dots are a name", "/a/.../b", "/a/.../b"},
		{"letters beyond ASCII", "/a/%C3%A9", "/a/é"},

		{"dot segment", "/a/./b", ""},
		{"two dots", "/a/../b", ""},
		{"two dots at the end", "/a/..", ""},
		{"two dots, escaped", "/a/%2e%2e/b", ""},
		{"two dots, half escaped", "/a/.%2E/b", ""},
		{"two dots behind slashes", "/a//..//b", ""},
		{"escaped slash", "/a%2fb", ""},
		{"escaped slash in capitals", "/a%2Fb", ""},
		{"escaped slash beside slashes", "//a%2Fb", ""},
		{"NUL", "/a%00b", ""},
		{"backslash", `/a/..\b`, ""},
		{"backslash, escaped", "/a/..%5cb", ""},
		{"overlong dot", "/a/%c0%ae%c0%ae/b", ""},
		{"overlong slash", "/a%c0%afb", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rig, seen := newRig(), ""
			rig.mux.HandleFunc("POST /", func(_ http.ResponseWriter, r *http.Request) { seen = r.URL.Path })
			u, err := url.ParseRequestURI(tc.path)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest("POST", "/", strings.NewReader("body"))
			r.URL = u
			rec := httptest.NewRecorder()
			rig.ServeHTTP(rec, r)
			status := http.StatusOK // and never a redirect, which would lose the body
			if tc.want == "" {
				status = http.StatusNotFound
			}
			if rec.Code != status || seen != tc.want {
				t.Errorf("status %d, the handler saw %q, want %d and %q", rec.Code, seen, status, tc.want)
			}
			if tc.want == "" && rec.Body.String() != `{"code":404,"message":"path Not Found"}`+"\n" {
				t.Errorf("body %q", rec.Body)
			}
		})
	}
}

// A CONNECT request and OPTIONS * have no path at all.
func TestNoPath(t *testing.T) {
	for _, path := range []string{"", "*", "a/b"} {
		rig := newRig()
		rig.mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { t.Errorf("path %q reached the handler", path) })
		r := httptest.NewRequest("OPTIONS", "/", nil)
		r.URL = &url.URL{Path: path}
		rec := httptest.NewRecorder()
		if rig.ServeHTTP(rec, r); rec.Code != http.StatusNotFound {
			t.Errorf("path %q: status %d", path, rec.Code)
		}
	}
}

func TestPanicIsAnswered(t *testing.T) {
	const secret = "db password hunter2"
	for _, tc := range []struct {
		name  string
		value any
	}{
		{"error", errors.New(secret)}, {"string", secret}, {"stringer", slog.StringValue(secret)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rig := newRig()
			rig.mux.HandleFunc("GET /tile/{n}", func(w http.ResponseWriter, _ *http.Request) {
				for name, value := range map[string]string{"Cache-Control": "immutable", "Location": "/x", "ETag": `"x"`, "X-Request-Id": "x"} {
					w.Header().Set(name, value)
				}
				panic(tc.value)
			})
			rec := httptest.NewRecorder()
			rig.ServeHTTP(rec, httptest.NewRequest("GET", "/tile/7", nil))
			if rec.Code != http.StatusInternalServerError || rec.Body.String() != `{"code":500,"message":"internal error"}`+"\n" {
				t.Errorf("answered %d %q", rec.Code, rec.Body)
			}
			lines := rig.lines(t)
			if len(lines) != 2 {
				t.Fatalf("log %v", lines)
			}
			stack, _ := lines[0]["stack"].(string)
			if lines[0]["level"] != "ERROR" || !strings.Contains(fmt.Sprint(lines[0]["panic"]), secret) || !strings.Contains(stack, "TestPanicIsAnswered") {
				t.Errorf("the log line lacks cause or place: %v", lines[0])
			}
			want := http.Header{"Content-Type": {"application/json"}, "Content-Length": {"40"},
				"X-Content-Type-Options": {"nosniff"}, "X-Request-Id": {fmt.Sprint(lines[0]["request_id"])}}
			if got := rec.Header(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("headers of another answer are left: %v, want %v", got, want)
			}
			if got := rig.counted(t); !slices.Equal(got, []string{"GET /tile/{n} 5xx 1"}) {
				t.Errorf("counted %q", got)
			}
		})
	}
}

// A client must not take half an answer for a whole one, so the connection breaks.
func TestPanicAfterTheAnswerBegan(t *testing.T) {
	for name, f := range map[string]http.HandlerFunc{
		"after a flush alone": func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			panic("bug")
		},
		"after some bytes": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic("bug")
		},
		"on purpose": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			rig := newRig()
			rig.mux.HandleFunc("GET /", f)
			srv := httptest.NewServer(rig)
			resp, err := http.Get(srv.URL)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			srv.Close() // the handler is done, its log complete
			if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
				t.Errorf("the client saw %v, want a connection that broke", err)
			}
			lines := rig.lines(t)
			if logged := lines[0]["msg"] == "panic in handler"; logged != (name != "on purpose") || lines[len(lines)-1]["msg"] != "request" {
				t.Errorf("log %v", lines)
			}
		})
	}
}

func TestStatusIsLogged(t *testing.T) {
	for _, tc := range []struct {
		name   string
		f      http.HandlerFunc
		status float64
		class  string
	}{
		{"none", func(http.ResponseWriter, *http.Request) {}, 200, "2xx"},
		{"bytes alone", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(nil) }, 200, "2xx"},
		{"header", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(409) }, 409, "4xx"},
		{"first one counts", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); _, _ = w.Write(nil) }, 503, "5xx"},
		{"hint before the answer", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(404) }, 404, "4xx"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rig := newRig()
			rig.mux.HandleFunc("POST /entries/{uuid}", tc.f)
			r := httptest.NewRequest("POST", "/entries/SECRET?q=SECRET", strings.NewReader("SECRET"))
			r.Header.Set("Authorization", "SECRET")
			rig.ServeHTTP(httptest.NewRecorder(), r)
			lines := rig.lines(t)
			if len(lines) != 1 || lines[0]["status"] != tc.status || lines[0]["route"] != "POST /entries/{uuid}" || lines[0]["method"] != "POST" {
				t.Errorf("log %v", lines)
			}
			if strings.Contains(rig.log.String(), "SECRET") {
				t.Errorf("the log tells what the client sent: %s", &rig.log)
			}
			if got := rig.counted(t); !slices.Equal(got, []string{"POST /entries/{uuid} " + tc.class + " 1"}) {
				t.Errorf("counted %q", got)
			}
		})
	}
}

// Nothing that a client makes up becomes a label.
func TestSeriesAreBounded(t *testing.T) {
	rig := newRig()
	rig.mux.HandleFunc("GET /entries/{uuid}", func(http.ResponseWriter, *http.Request) {})
	rig.mux.HandleFunc("GET /users/{name}/", func(http.ResponseWriter, *http.Request) {})
	for i := range 20 {
		for _, r := range []*http.Request{
			httptest.NewRequest("GET", fmt.Sprintf("/entries/%d", i), nil),
			httptest.NewRequest("GET", fmt.Sprintf("/nothing/%d", i), nil),
			httptest.NewRequest(fmt.Sprintf("METHOD%d", i), "/entries/1", nil),
			httptest.NewRequest("GET", fmt.Sprintf("/users/%d", i), nil), // the mux redirects it
			httptest.NewRequest("GET", fmt.Sprintf("/a/../%d", i), nil),
		} {
			r.Host = fmt.Sprintf("host%d.example", i)
			rig.ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	want := []string{"GET /entries/{uuid} 2xx 20", "GET /users/{name}/ 3xx 20", "unmatched 4xx 60"}
	if got := rig.counted(t); !slices.Equal(got, want) {
		t.Errorf("counted %q, want %q", got, want)
	}
}

func TestFlushPassesThrough(t *testing.T) {
	rig, release := newRig(), make(chan struct{})
	rig.mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-release
	})
	srv := httptest.NewServer(rig)
	defer srv.Close()
	defer close(release)
	client := http.Client{Timeout: 10 * time.Second} // where the flush is lost it waits for ever
	resp, err := client.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "first" {
		t.Errorf("read %q, %v", first, err)
	}
}

// Deadlines of the connection can be set through the recorder.
func TestResponseControllerReachesTheConnection(t *testing.T) {
	rig := newRig()
	rig.mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
	})
	srv := httptest.NewServer(rig)
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}
