package httpx_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/httpx"
)

// serveStream runs a server that lets no answer take longer than limit, with h behind Streaming.
func serveStream(t *testing.T, limit, patience time.Duration, h http.HandlerFunc) *http.Response {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h(httpx.Streaming(w, patience), r)
	}))
	srv.Config.WriteTimeout, srv.Config.ReadTimeout = limit, limit
	clear := new(http.Protocols)
	clear.SetUnencryptedHTTP2(true)
	srv.Config.Protocols = clear
	srv.Start()
	t.Cleanup(srv.Close)
	client := http.Client{Transport: &http.Transport{Protocols: clear}}
	t.Cleanup(client.CloseIdleConnections)
	answer, err := client.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.ProtoMajor != 2 {
		t.Fatalf("the answer came over %s", answer.Proto)
	}
	return answer
}

func TestStreamOutlivesTheWriteTimeout(t *testing.T) {
	const limit = time.Second // long beside what a busy machine takes to begin with a request
	answer := serveStream(t, limit, time.Minute, func(w http.ResponseWriter, r *http.Request) {
		for _, line := range []string{"one\n", "two\n", "three\n"} {
			if _, err := io.WriteString(w, line); err != nil {
				t.Error(err)
			}
			w.(http.Flusher).Flush()
			time.Sleep(2 * limit)
		}
	})
	lines := 0
	body := bufio.NewScanner(answer.Body)
	for body.Scan() {
		lines++
	}
	if err := body.Err(); err != nil || lines != 3 {
		t.Errorf("%d lines of 3, %v", lines, err)
	}
}

func TestStreamOfAClientThatTakesNothingEnds(t *testing.T) {
	ended := make(chan error, 1)
	serveStream(t, time.Minute, 20*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		for { // until flow control stops it, and the deadline ends that
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				ended <- err
				return
			}
		}
	})
	select {
	case err := <-ended:
		if err == nil {
			t.Error("ended without an error")
		}
	case <-time.After(20 * time.Second):
		t.Error("the stream goes on")
	}
}
