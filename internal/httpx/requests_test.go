package httpx_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/internal/httpx"
)

// TestClient: whose word about a client's address is taken. 10.0.0.0/8 and 2001:db8::1 are proxies.
func TestClient(t *testing.T) {
	var r httpx.Requests
	r.Set(true, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::1/128")})
	many := strings.TrimSuffix(strings.Repeat("192.0.2.1, ", 40), ", ")
	for _, tc := range []struct{ name, remote, xff, forwarded, want string }{
		{"no proxy", "192.0.2.7:4711", "", "", "192.0.2.7"},
		{"a client that plays proxy", "192.0.2.7:4711", "198.51.100.1", "for=198.51.100.1", "192.0.2.7"},
		{"a proxy that says nothing", "10.0.0.1:80", "", "", "10.0.0.1"},
		{"a proxy", "10.0.0.1:80", "192.0.2.7", "", "192.0.2.7"},
		{"what the client wrote before", "10.0.0.1:80", "198.51.100.1, 192.0.2.7", "", "192.0.2.7"},
		{"two proxies", "10.0.0.1:80", "192.0.2.7, 10.0.0.2", "", "192.0.2.7"},
		{"proxies all the way", "10.0.0.1:80", "10.0.0.3, 10.0.0.2", "", "10.0.0.3"},
		{"nonsense before the client", "10.0.0.1:80", "nonsense, 192.0.2.7", "", "192.0.2.7"},
		{"nonsense", "10.0.0.1:80", "nonsense", "", "10.0.0.1"},
		{"nonsense behind a proxy", "10.0.0.1:80", "nonsense, 10.0.0.2", "", "10.0.0.2"},
		{"with a port", "10.0.0.1:80", "192.0.2.7:4711", "", "192.0.2.7"},
		{"IPv6", "[2001:db8::1]:80", "2001:db8::7", "", "2001:db8::7"},
		{"IPv6 in brackets", "[2001:db8::1]:80", "[2001:db8::7]:4711", "", "2001:db8::7"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:80", "::ffff:192.0.2.7", "", "192.0.2.7"},
		{"Forwarded", "10.0.0.1:80", "", `for=192.0.2.7;proto=https;by=10.0.0.1`, "192.0.2.7"},
		{"Forwarded in quotes", "[2001:db8::1]:80", "", `proto=https; For="[2001:db8::7]:4711"`, "2001:db8::7"},
		{"Forwarded twice", "10.0.0.1:80", "", `for=198.51.100.1, for=192.0.2.7`, "192.0.2.7"},
		{"Forwarded without address", "10.0.0.1:80", "", `for=unknown`, "10.0.0.1"},
		{"both agree", "10.0.0.1:80", "192.0.2.7", "for=192.0.2.7", "192.0.2.7"},
		{"both disagree", "10.0.0.1:80", "192.0.2.7", "for=198.51.100.1", "10.0.0.1"},
		{"too many", "10.0.0.1:80", many, "", "10.0.0.1"},
		{"too long", "10.0.0.1:80", strings.Repeat(" ", 5000) + "192.0.2.7", "", "10.0.0.1"},
		{"no address at all", "@", "192.0.2.7", "", ""},
	} {
		h := http.Header{}
		if tc.xff != "" {
			h.Set("X-Forwarded-For", tc.xff)
		}
		if tc.forwarded != "" {
			h.Set("Forwarded", tc.forwarded)
		}
		if got := r.Client(tc.remote, h); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	two := http.Header{"X-Forwarded-For": {"198.51.100.1", "192.0.2.7"}}
	if got := r.Client("10.0.0.1:80", two); got != "192.0.2.7" {
		t.Errorf("a header that is there twice: %q", got)
	}
	r.Set(true, nil)
	if got := r.Client("10.0.0.1:80", http.Header{"X-Forwarded-For": {"192.0.2.7"}}); got != "10.0.0.1" {
		t.Errorf("without proxies: %q", got)
	}
}

// TestOneLine: a request is one line, with nothing in it that the client may want kept.
func TestOneLine(t *testing.T) {
	const secret = "hunter2"
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, secret)
	}
	mux.HandleFunc("POST /entries/{id}", answer)
	mux.HandleFunc("GET /readyz", answer)
	var log bytes.Buffer
	var how httpx.Requests
	h := httpx.Logged(mux, slog.New(slog.NewJSONHandler(&log, nil)), httpx.NewMetrics(prometheus.NewRegistry()), &how)
	ask := func(method, target string) string {
		log.Reset()
		req := httptest.NewRequest(method, target, strings.NewReader(secret))
		req.Header.Set("Authorization", "Bearer "+secret)
		req.Header.Set("Cookie", secret)
		req.Header.Set("User-Agent", secret)
		h.ServeHTTP(httptest.NewRecorder(), req)
		return log.String()
	}
	if line := ask("POST", "/entries/7"); line != "" {
		t.Errorf("before it is wanted: %s", line)
	}
	how.Set(true, nil)
	line := ask("POST", "/entries/"+secret+"?token="+secret+"#"+secret)
	for _, want := range []string{`"msg":"request"`, `"request_id":"`, `"method":"POST"`, `"route":"POST /entries/{id}"`, `"status":201`, `"bytes":7`, `"ms":`, `"client":"192.0.2.1"`} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in %s", want, line)
		}
	}
	for _, l := range []string{line, ask(secret, "/entries/7"), ask("POST", "/"+secret)} {
		if strings.Contains(l, secret) || strings.Count(l, "\n") != 1 {
			t.Errorf("not one line, or a secret in it: %s", l)
		}
	}
	if line := ask("GET", "/readyz"); line != "" {
		t.Errorf("a probe: %s", line)
	}
}
