package web_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
	"github.com/sigbox/sigbox/tuf/web"
)

// serve puts a repository behind the handlers of the real server.
func serve(t testing.TB, r *tuf.Repository) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	web.New("/tuf", r.Published, r.Look).Register(mux)
	srv := httptest.NewServer(httpx.Handler(mux, slog.New(slog.DiscardHandler), httpx.NewMetrics(prometheus.NewRegistry())))
	t.Cleanup(srv.Close)
	return srv
}

// instance is a repository that holds the material of an instance at its own server's URL.
func instance(t testing.TB) (*httptest.Server, *tuf.Repository, trustroot.Material) {
	t.Helper()
	r := tuf.New(tuftest.Config(t, clock.System{}))
	srv := serve(t, r)
	m := tuftest.Material(t, srv.URL, time.Now())
	targets := append(tuftest.Compose(t, m), tuf.Target{Name: "acme.trusted_root.json", Content: []byte("{}")})
	if err := r.Create(t.Context(), targets); err != nil {
		t.Fatal(err)
	}
	return srv, r, m
}

func newServer(t testing.TB, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// get follows no redirect: a client that meets one has lost.
func get(t testing.TB, method, url string, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req) // adds no Accept-Encoding that is set here
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, body
}

// TestFiles asks for every published file and holds the answer against the set: exact bytes and
// length, strong ETag, type, caching.
func TestFiles(t *testing.T) {
	srv, r, _ := instance(t)
	check := func(path string, f tuf.File, cache string) {
		t.Helper()
		for _, header := range [][]string{nil, {"Accept-Encoding", "gzip"}, {"Accept", "application/xml"}} {
			res, body := get(t, "GET", srv.URL+path, header...)
			if res.StatusCode != 200 || !bytes.Equal(body, f.Bytes) {
				t.Fatalf("%s: %d, %d bytes, want %d", path, res.StatusCode, len(body), len(f.Bytes))
			}
			if res.ContentLength != int64(len(f.Bytes)) || res.Header.Get("Content-Length") != strconv.Itoa(len(f.Bytes)) {
				t.Errorf("%s: Content-Length %q", path, res.Header.Get("Content-Length"))
			}
			if want := fmt.Sprintf(`"%x"`, sha256.Sum256(f.Bytes)); res.Header.Get("Etag") != want {
				t.Errorf("%s: ETag %s", path, res.Header.Get("Etag"))
			}
			if got := res.Header.Get("Cache-Control"); got != cache {
				t.Errorf("%s: Cache-Control %q, want %q", path, got, cache)
			}
			if res.Header.Get("Content-Encoding") != "" {
				t.Errorf("%s is encoded", path)
			}
			want := "application/json"
			if !strings.HasSuffix(path, ".json") {
				want = "application/x-pem-file"
			}
			if got := res.Header.Get("Content-Type"); got != want {
				t.Errorf("%s: Content-Type %q", path, got)
			}
		}
	}
	const short, immutable = "public, max-age=30", "public, max-age=31536000, immutable"
	paths := map[string]bool{}
	for _, f := range r.Published().Files() {
		paths[f.Path] = true
		cache := immutable
		if f.Path == "root.json" || f.Path == "timestamp.json" {
			cache = short
		}
		check("/tuf/"+f.Path, f, cache)
	}
	for _, path := range []string{"root.json", "1.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"} {
		if !paths[path] {
			t.Errorf("%s is not published", path)
		}
	}
	for _, name := range []string{
		trustroot.TrustedRootName, trustroot.SigningConfigName, trustroot.SigningConfigV2Name,
		trustroot.FulcioName, trustroot.RekorName, trustroot.RekorV2Name, trustroot.CTName, trustroot.TSAName,
	} {
		f, ok := r.Published().Target(name)
		if !ok {
			t.Fatalf("no target %s", name)
		}
		check("/trust/"+name, f, short)
	}
	acme, _ := r.Published().Target("acme.trusted_root.json")
	check("/trust/acme/trusted_root.json", acme, short)
	for _, path := range []string{
		"/trust/other/trusted_root.json", "/trust/ACME/trusted_root.json", "/trust/acme/rekor.pub", "/trust/acme/trusted_root.json/", "/trust/x/acme/trusted_root.json",
		"/trust/acme", "/trust/acme/",
	} {
		if res, _ := get(t, "GET", srv.URL+path); res.StatusCode != 404 || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, Cache-Control %q", path, res.StatusCode, res.Header.Get("Cache-Control"))
		}
	}
}

// B-205: partial, conditional and bodyless requests see the same bytes.
func TestPartialAndConditional(t *testing.T) {
	srv, r, _ := instance(t)
	f, _ := r.Published().File("timestamp.json")
	url := srv.URL + "/tuf/timestamp.json"
	etag := fmt.Sprintf(`"%x"`, f.SHA256)
	for _, tc := range []struct {
		name, method string
		header       []string
		status       int
		body         []byte
		length       int
	}{
		{"HEAD", "HEAD", nil, 200, nil, len(f.Bytes)},
		{"a range", "GET", []string{"Range", "bytes=5-9"}, 206, f.Bytes[5:10], 5},
		{"the end", "GET", []string{"Range", "bytes=-3"}, 206, f.Bytes[len(f.Bytes)-3:], 3},
		{"a range of this version", "GET", []string{"Range", "bytes=0-0", "If-Range", etag}, 206, f.Bytes[:1], 1},
		{"a range of another version", "GET", []string{"Range", "bytes=0-0", "If-Range", `"x"`}, 200, f.Bytes, len(f.Bytes)},
		{"a range beyond the end", "GET", []string{"Range", "bytes=999999-"}, 416, nil, -1},
		{"held already", "GET", []string{"If-None-Match", etag}, 304, nil, -1},
		{"another one held", "GET", []string{"If-None-Match", `"x"`}, 200, f.Bytes, len(f.Bytes)},
	} {
		res, body := get(t, tc.method, url, tc.header...)
		if res.StatusCode != tc.status || tc.body != nil && !bytes.Equal(body, tc.body) {
			t.Errorf("%s: %d %q", tc.name, res.StatusCode, body)
		}
		if tc.length >= 0 && res.Header.Get("Content-Length") != strconv.Itoa(tc.length) {
			t.Errorf("%s: Content-Length %q", tc.name, res.Header.Get("Content-Length"))
		}
	}
}

// B-203, B-204: a clean 404, at once, whatever the spelling; never a redirect, which older
// clients do not expect, and never a 403, at which they stop.
func TestNotFound(t *testing.T) {
	srv, r, _ := instance(t)
	published := map[string]bool{}
	for _, f := range r.Published().Files() {
		published["/tuf/"+f.Path] = true
	}
	target, _ := r.Published().Target("trusted_root.json")
	sum := fmt.Sprintf("%x", target.SHA256)
	for _, path := range []string{
		"/tuf", "/tuf/", "/tuf/targets", "/tuf/targets/", "/trust", "/trust/",
		"/tuf/2.root.json", "/tuf/0.root.json", "/tuf/01.root.json", "/tuf/-1.root.json", "/tuf/+1.root.json", "/tuf/1.ROOT.json",
		"/tuf/1.Root.json", "/tuf/999999999999999999999.root.json", "/tuf/1.root.json/", "/tuf/1.root.json.", "/tuf/1.root",
		"/tuf/1.timestamp.json", "/tuf/snapshot.json", "/tuf/targets.json", "/TUF/root.json", "/tuf/%31.root.json", "/tuf/root%2ejson",
		"/tuf/../root.json", "/tuf/../tuf/root.json", "/tuf/./root.json", "/tuf/%2e%2e/tuf/root.json", "/tuf/..%2ftuf%2froot.json", "/tuf/targets/../../keys",
		"/tuf/targets/../root.json", "/tuf/.git/config", "/tuf/.new-1", "/tuf/root.json%00", "/tuf/root.json%0a", "/tuf/root.json;x", "/tuf/\\root.json",
		"/tuf/targets/trusted_root.json", "/tuf/targets/" + strings.ToUpper(sum) + ".trusted_root.json", "/tuf/targets/" + sum, "/tuf/targets/" + sum + ".other",
		"/tuf/targets/x/" + sum + ".trusted_root.json", "/tuf/" + sum + ".trusted_root.json",
		"/trust/root.json", "/trust/../tuf/root.json", "/trust/TRUSTED_ROOT.JSON", "/trust/" + sum + ".trusted_root.json", "/trust/keys/root.pem",
		"/tuf/caf\xc3\xa9", "/tuf/\xff\xfe", "/tuf/" + strings.Repeat("a", 8000),
	} {
		if published[path] {
			t.Fatalf("%s is published", path)
		}
		status, location, cache := raw(t, srv, path)
		if status != 404 || location != "" {
			t.Errorf("%.80q: %d, Location %q", path, status, location)
		}
		if cache != "" && cache != "no-store" {
			t.Errorf("%.80q: Cache-Control %q would hide the next root", path, cache)
		}
	}
}

// raw sends the path as it is: a client library would clean it first.
func raw(t *testing.T, srv *httptest.Server, path string) (status int, location, cache string) {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(answer), "\r\n") {
		if _, err := fmt.Sscanf(line, "HTTP/1.0 %d", &status); err == nil {
			continue
		}
		if name, value, ok := strings.Cut(line, ": "); ok && strings.EqualFold(name, "Location") {
			location = value
		} else if ok && strings.EqualFold(name, "Cache-Control") {
			cache = value
		}
	}
	return status, location, cache
}

// TestMethods: the repository is read-only.
func TestMethods(t *testing.T) {
	srv, _, _ := instance(t)
	for _, path := range []string{"/tuf/root.json", "/tuf/x", "/trust/trusted_root.json"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
			res, _ := get(t, method, srv.URL+path)
			if res.StatusCode != 405 || res.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, Allow %q", method, path, res.StatusCode, res.Header.Get("Allow"))
			}
		}
	}
}

// TestNotPublishedYet: not a 404, which a client would take for an answer.
func TestNotPublishedYet(t *testing.T) {
	r := tuf.New(tuftest.Config(t, clock.System{}))
	res, _ := get(t, "GET", serve(t, r).URL+"/tuf/timestamp.json")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}
