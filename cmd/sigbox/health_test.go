package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestHealth(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/readyz" {
				t.Errorf("asked for %s", r.URL.Path)
			}
			if status == http.StatusFound {
				w.Header().Set("Location", "/elsewhere")
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		path    string // after the server's URL
		want    string // printed, where err is empty
		err     string
	}{
		{name: "ready", handler: answer(200, `{"status":"ok"}`+"\n"), want: `{"status":"ok"}` + "\n"},
		{name: "degraded is ready, and says so", handler: answer(200, `{"status":"degraded"}`), want: `{"status":"degraded"}` + "\n"},
		{name: "slash at the end", handler: answer(200, "ok"), path: "/", want: "ok\n"},
		{name: "stopping", handler: answer(503, "stopping"), err: "answered 503 Service Unavailable: stopping"},
		{name: "not a sigbox", handler: answer(404, "no"), err: "answered 404"},
		{name: "a redirect is no answer", handler: answer(302, ""), err: "answered 302"},
		{name: "a path is a mistake", handler: answer(200, "ok"), path: "/readyz", err: "want http://HOST:PORT"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(test.handler)
			defer server.Close()
			var out strings.Builder
			err := health(context.Background(), server.URL+test.path, &out)
			switch {
			case test.err == "" && err != nil:
				t.Fatal(err)
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Fatalf("error %v, want %q", err, test.err)
			case out.String() != test.want:
				t.Fatalf("printed %q, want %q", out.String(), test.want)
			}
		})
	}
}

func TestHealthOfNobody(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	silent := "http://" + ln.Addr().String() // takes connections and answers none
	for _, test := range []struct{ url, err string }{
		{silent, "no answer within 3s"},
		{"http://127.0.0.1:1", "connection refused"},
		{"127.0.0.1:8080", "want http://HOST:PORT"},
		{"ftp://127.0.0.1", "want http://HOST:PORT"},
	} {
		start := time.Now()
		if err := health(context.Background(), test.url, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: error %v, want %q", test.url, err, test.err)
		}
		if d := time.Since(start); d > healthLimit+time.Second {
			t.Errorf("%s: took %s", test.url, d)
		}
	}
}
