package httpx_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/httpx"
)

// Each row is a request as it is on the wire. The connection ends where the row ends.
func TestReadBody(t *testing.T) {
	const (
		limit     = 8
		tooLarge  = "413 Request Entity Too Large. Limit set to 8"
		encoding  = "415 content encoding not supported: send the body as it is"
		brokenOff = "400 request body could not be read to its end"
	)
	type result struct {
		body string
		err  error
		left bool // the body was not touched
	}
	results := make(chan result, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		watched := &watch{ReadCloser: r.Body}
		r.Body = watched
		body, err := httpx.ReadBody(w, r, limit)
		results <- result{string(body), err, !watched.read}
	}))
	t.Cleanup(srv.Close)

	for _, tc := range []struct{ name, headers, body, want string }{
		{"empty", "Content-Length: 0", "", "200 "},
		{"at the limit", "Content-Length: 8", "12345678", "200 12345678"},
		{"announced too large, refused unread", "Content-Length: 9", "123456789", tooLarge + " unread"},
		{"announced far too large, never sent", "Content-Length: 10737418240", "", tooLarge + " unread"},
		{"chunked, at the limit", "Transfer-Encoding: chunked", "5\r\n12345\r\n3\r\n678\r\n0\r\n\r\n", "200 12345678"},
		{"chunked, too large", "Transfer-Encoding: chunked", "5\r\n12345\r\n4\r\n6789\r\n0\r\n\r\n", tooLarge},
		{"chunked, too large, without an end", "Transfer-Encoding: chunked", "9\r\n123456789\r\n", tooLarge},
		{"gzip", "Content-Length: 2\r\nContent-Encoding: gzip", "\x1f\x8b", encoding + " unread"},
		{"gzip in a second header", "Content-Length: 2\r\nContent-Encoding: identity\r\nContent-Encoding: gzip", "\x1f\x8b", encoding + " unread"},
		{"gzip in a list", "Content-Length: 2\r\nContent-Encoding: identity, gzip", "\x1f\x8b", encoding + " unread"},
		{"identity", "Content-Length: 2\r\nContent-Encoding: identity", "ok", "200 ok"},
		{"broken off before the announced length", "Content-Length: 5", "1234", brokenOff},
		{"broken off in a chunk", "Transfer-Encoding: chunked", "5\r\n123", brokenOff},
		{"broken off between chunks", "Transfer-Encoding: chunked", "5\r\n12345\r\n", brokenOff},
		{"chunk size that is no number", "Transfer-Encoding: chunked", "x\r\n12345\r\n", brokenOff},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n%s", tc.headers, tc.body); err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			r := <-results
			got := "200 " + r.body
			if m := message(t, r.err, statusOf(r.err)); m != "" {
				got = fmt.Sprint(statusOf(r.err), " ", m)
				if r.left {
					got += " unread"
				}
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

type watch struct {
	io.ReadCloser
	read bool
}

func (w *watch) Read(b []byte) (int, error) {
	w.read = true
	return w.ReadCloser.Read(b)
}

func statusOf(err error) int {
	if e, ok := err.(*httpx.Error); ok {
		return e.Status
	}
	return 0
}

func TestMediaType(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []string
		want string
	}{
		{"plain", []string{"application/json"}, "application/json"},
		{"parameter and capitals", []string{"Application/JSON; charset=UTF-8"}, "application/json"},
		{"missing", nil, ""},
		{"empty", []string{""}, ""},
		{"repeated", []string{"application/json", "text/plain"}, ""},
		{"list", []string{"application/json, text/plain"}, ""},
		{"broken parameter", []string{"application/json; charset"}, ""},
		{"parameter twice", []string{"application/json; charset=a; charset=b"}, ""},
		{"named in a parameter only", []string{"multipart/form-data; boundary=application/json"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", nil)
			r.Header["Content-Type"] = tc.in
			if got := httpx.MediaType(r); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// Clients of the timestamp authority need the length, and net/http leaves it out of long answers.
func TestWriteLength(t *testing.T) {
	body := strings.Repeat("x", 1<<16)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		httpx.Write(w, http.StatusCreated, "", []byte(body))
	}))
	t.Cleanup(srv.Close)
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || string(got) != body || resp.ContentLength != int64(len(body)) || resp.StatusCode != http.StatusCreated {
		t.Errorf("status %d, length %d, %d bytes, %v", resp.StatusCode, resp.ContentLength, len(got), err)
	}
}
