package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// posts are the public endpoints that take a body, with a content type that each takes.
var posts = []struct{ path, contentType string }{
	{"/api/v1/signingCert", "application/json"},
	{"/api/v2/signingCert", "application/json"},
	{"/ct/v1/add-chain", "application/json"},
	{"/ct/v1/add-pre-chain", "application/json"},
	{"/api/v1/log/entries", "application/json"},
	{"/api/v1/log/entries/retrieve", "application/json"},
	{"/api/v1/log/entries/retrieve/", "application/json"},
	{"/api/v1/index/retrieve", "application/json"},
	{"/api/v2/log/entries", "application/json"},
	{"/api/v1/timestamp", "application/json"},
	{"/api/v1/timestamp", "application/timestamp-query"},
	{"/token", "application/x-www-form-urlencoded"},
	{"/device_authorization", "application/x-www-form-urlencoded"},
	{"/mint", "application/json"},
}

// heads are what must not move when bad input is refused.
func heads(t *testing.T, url string) string {
	return get(t, url+"/api/v1/log") + get(t, url+"/api/v2/checkpoint") + get(t, url+"/ct/v1/get-sth")
}

// TestEveryEndpointRefuses sends what no endpoint may take to each of them: a 4xx answers, soon,
// and no log has grown.
func TestEveryEndpointRefuses(t *testing.T) {
	r := start(t, "--data", newData(t), "--listen", freeAddr(t))
	before := heads(t, r.url)
	for _, bad := range []struct {
		name   string
		header http.Header
		body   func() io.Reader
		length int64 // of the Content-Length header where it lies
		only   string
		want   int // 0: any 4xx
	}{
		{name: "body of 10 GiB announced", body: func() io.Reader { return neverRead{} }, length: 10 << 30, want: 413},
		{name: "body without end", body: func() io.Reader { return neverEnds{} }, want: 413},
		{name: "compressed body", header: http.Header{"Content-Encoding": {"gzip"}}, body: text("\x1f\x8b"), want: 415},
		{name: "empty body", body: text("")},
		{name: "not JSON", body: text("{"), only: "json"},
		{name: "an array", body: text("[]"), only: "json"},
		{name: "a string", body: text(`"x"`), only: "json"},
		{name: "null", body: text("null"), only: "json"},
		{name: "two values", body: text("{} {}"), only: "json"},
		{name: "deep nesting", body: text(strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)), only: "json"},
		{name: "a key twice", body: text(`{"spec":1,"Spec":2}`), only: "json"},
		{name: "byte order mark", body: text("\xef\xbb\xbf{}"), only: "json"},
		{name: "invalid UTF-8", body: text("{\"a\":\"\xff\"}"), only: "json"},
		{name: "random bytes", body: text("\x00\x01\x02\x03")},
	} {
		for _, p := range posts {
			if bad.only != "" && !strings.Contains(p.contentType, bad.only) {
				continue
			}
			if bad.name == "null" && p.path == "/mint" || bad.name == "a key twice" && p.path == "/mint" {
				continue // the mint endpoint is for tests: what it makes of odd claims is its own affair
			}
			t.Run(bad.name+" to "+p.path+" as "+p.contentType, func(t *testing.T) {
				req, err := http.NewRequest(http.MethodPost, r.url+p.path, bad.body())
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", p.contentType)
				for k, v := range bad.header {
					req.Header[k] = v
				}
				if bad.length > 0 {
					req.ContentLength = bad.length
				}
				refused(t, req, bad.want)
			})
		}
	}
	if after := heads(t, r.url); after != before {
		t.Errorf("a log moved:\n%s\n%s", before, after)
	}
}

func refused(t *testing.T, req *http.Request, want int) {
	t.Helper()
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{ExpectContinueTimeout: time.Second}}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode < 400 || res.StatusCode > 499 || want != 0 && res.StatusCode != want {
		t.Errorf("status %d, want %d (0: any 4xx): %s", res.StatusCode, want, body)
	}
	for _, leak := range []string{".go:", "goroutine", "SQL", "panic"} {
		if bytes.Contains(body, []byte(leak)) {
			t.Errorf("the answer shows %q: %s", leak, body)
		}
	}
}

func text(s string) func() io.Reader { return func() io.Reader { return strings.NewReader(s) } }

// neverRead is a body whose length is announced and that is never sent.
type neverRead struct{}

func (neverRead) Read(p []byte) (int, error) {
	time.Sleep(10 * time.Millisecond) // a slow client; the server has answered long before
	return copy(p, "x"), nil
}

// neverEnds is sent in chunks until the server has enough.
type neverEnds struct{}

func (neverEnds) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// TestEveryListenerRefuses: what a listener must not pass on to any endpoint.
func TestEveryListenerRefuses(t *testing.T) {
	r := start(t, "--data", newData(t), "--listen", freeAddr(t))
	addr := strings.TrimPrefix(r.url, "http://")
	for _, tc := range []struct{ name, request, want string }{
		{"Content-Length and Transfer-Encoding that differ", "POST /api/v1/log/entries HTTP/1.1\r\nHost: " + addr + "\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "400"},
		{"folded header", "GET /healthz HTTP/1.1\r\nHost: " + addr + "\r\nX-A: b\r\n c\r\nBad Name: x\r\n\r\n", "400"},
		{"no host", "GET /healthz HTTP/1.1\r\n\r\n", "400"},
		{"header block of 1 MiB", "GET /healthz HTTP/1.1\r\nHost: " + addr + "\r\nX-A: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", "431"},
		{"NUL in the path", "GET /api/v1/log%00 HTTP/1.1\r\nHost: " + addr + "\r\n\r\n", "404"},
		{"dot segments", "GET /tuf/../keys HTTP/1.1\r\nHost: " + addr + "\r\n\r\n", "404"},
		{"encoded dot segments", "GET /tuf/%2e%2e/instance.json HTTP/1.1\r\nHost: " + addr + "\r\n\r\n", "404"},
		{"encoded slash", "GET /tuf/..%2finstance.json HTTP/1.1\r\nHost: " + addr + "\r\n\r\n", "404"},
		{"backslash", "GET /tuf\\root.json HTTP/1.1\r\nHost: " + addr + "\r\n\r\n", "404"},
		{"TRACE", "TRACE /healthz HTTP/1.1\r\nHost: " + addr + "\r\nX-Secret: s\r\n\r\n", "405"},
		{"CONNECT", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", "4"},
		{"PUT on a read", "PUT /tuf/root.json HTTP/1.1\r\nHost: " + addr + "\r\nContent-Length: 0\r\n\r\n", "405"},
		{"DELETE on a write", "DELETE /api/v1/log/entries HTTP/1.1\r\nHost: " + addr + "\r\n\r\n", "405"},
		{"profiles", "GET /debug/pprof/ HTTP/1.1\r\nHost: " + addr + "\r\n\r\n", "404"},
		{"not HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 64) + "\r\n\r\n", "400"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status := raw(t, addr, tc.request)
			if !strings.HasPrefix(status, tc.want) {
				t.Errorf("status %q, want %s", status, tc.want)
			}
		})
	}
	for _, tc := range []struct{ path, same string }{
		{"//api//v1//log", "/api/v1/log"},
		{"/api/v2//checkpoint", "/api/v2/checkpoint"},
	} {
		if got := get(t, r.url+tc.path); got != get(t, r.url+tc.same) {
			t.Errorf("%s is not %s: %s", tc.path, tc.same, got)
		}
	}
	t.Run("a million unknown paths add no series", func(t *testing.T) {
		before := strings.Count(get(t, r.url+"/metrics"), "\n")
		for i := range 300 {
			res, err := http.Get(fmt.Sprintf("%s/unknown/%d", r.url, i))
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
		}
		if after := strings.Count(get(t, r.url+"/metrics"), "\n"); after > before+20 {
			t.Errorf("%d lines of metrics before, %d after", before, after)
		}
	})
}

// TestSlowClientsAreCutOff: one header byte at a time does not hold a connection.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	r := start(t, "--data", newData(t), "--listen", freeAddr(t))
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("the connection was still open after 30 s: %v", err)
	}
	if get(t, r.url+"/healthz") == "" {
		t.Error("others were affected")
	}
}

// raw sends bytes as they are and returns the status code of the answer.
func raw(t *testing.T, addr, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, request) // the server may have answered before it read all
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	_, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	return rest
}
