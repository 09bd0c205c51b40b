package httpx_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/httpx"
)

// TestRefusalReachesASlowSender: a body goes on arriving for longer than net/http waits after an answer.
func TestRefusalReachesASlowSender(t *testing.T) {
	const size = 3 << 20 // a half of it is too much
	piece := strings.Repeat("a", size/2)
	for _, c := range []struct {
		name, header string
		first, last  string
		requests     int // that one connection takes
	}{
		{"length", fmt.Sprintf("Content-Length: %d\r\n", size), piece, piece, 2},
		{"chunks", "Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n", size/2, piece), fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", size/2, piece), 1}, // MaxBytesReader closes it
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn, answers := refusing(t)
			for range c.requests {
				send(t, conn, "POST / HTTP/1.1\r\nHost: x\r\n"+c.header+"\r\n"+c.first)
				time.Sleep(700 * time.Millisecond) // net/http waits for 500
				send(t, conn, c.last)
				refused(t, answers)
			}
		})
	}
}

func TestRefusalWithoutTheBody(t *testing.T) {
	t.Run("a client that asks first", func(t *testing.T) {
		t.Parallel()
		conn, answers := refusing(t)
		send(t, conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2097152\r\nExpect: 100-continue\r\n\r\n")
		refused(t, answers)
	})
	t.Run("a client that waits for the answer", func(t *testing.T) {
		t.Parallel()
		conn, answers := refusing(t)
		send(t, conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2097152\r\n\r\n")
		refused(t, answers)
	})
	t.Run("a body without end", func(t *testing.T) {
		t.Parallel()
		conn, answers := refusing(t)
		send(t, conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\n")
		refused(t, answers)
		piece, sent := make([]byte, 1<<20), 0
		for range 1024 {
			n, err := conn.Write(piece)
			if sent += n; err != nil {
				return
			}
		}
		t.Errorf("%d bytes were taken", sent)
	})
}

// TestNoRequestBehindABrokenBody: what comes after a body that broke off is not taken for a request.
func TestNoRequestBehindABrokenBody(t *testing.T) {
	const hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
	some := strings.Repeat("a", 200<<10)
	for _, c := range []struct {
		name, request string
		late          bool // what is hidden comes when the server has stopped to wait for the body
	}{
		{"chunks", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n", false},
		{"a chunk longer than it says", "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd", false},
		{"no more of a length", "Content-Length: 400000\r\n\r\n" + some, true},
		{"no more chunks", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true},
	} {
		for name, reads := range map[string]bool{"read": true, "unread": false} {
			t.Run(c.name+", "+name, func(t *testing.T) {
				t.Parallel()
				var answers atomic.Int32
				srv := httptest.NewUnstartedServer(httpx.Linger(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					answers.Add(1)
					if reads {
						_, _ = httpx.ReadBody(w, r, 1<<20)
					}
					httpx.Write(w, http.StatusBadRequest, "", nil)
				})))
				srv.Config.ReadTimeout, srv.Config.IdleTimeout = time.Second, time.Minute
				srv.Start()
				t.Cleanup(srv.Close)
				conn, err := net.Dial("tcp", srv.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
					t.Fatal(err)
				}
				send(t, conn, "POST / HTTP/1.1\r\nHost: x\r\n"+c.request)
				if c.late {
					time.Sleep(1500 * time.Millisecond) // the server waits for 1000
				}
				_, _ = io.WriteString(conn, hidden) // to nobody
				_, _ = io.Copy(io.Discard, conn)    // ends when the server closes it
				if n := answers.Load(); n != 1 {
					t.Errorf("%d requests", n)
				}
			})
		}
	}
}

// refusing is a connection to a server that takes bodies of 1 MiB.
func refusing(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	srv := httptest.NewServer(httpx.Linger(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := httpx.ReadBody(w, r, 1<<20)
		var refusal *httpx.Error
		if !errors.As(err, &refusal) {
			t.Errorf("%v: want a refusal", err)
			return
		}
		httpx.Write(w, refusal.Status, "text/plain", []byte(refusal.Message))
	})))
	t.Cleanup(srv.Close)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, answers *bufio.Reader) {
	t.Helper()
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusRequestEntityTooLarge || !strings.HasSuffix(string(body), "Limit set to 1048576") {
		t.Fatalf("%s %q %v", answer.Status, body, err)
	}
}
