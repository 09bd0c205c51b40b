package images

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Front passes everything on to a registry and counts what is read there.
type Front struct {
	Addr string // HOST:PORT

	mu    sync.Mutex
	reads map[string]int
}

// NewFront is a front of the registry, at an address of its own until the test ends.
func NewFront(t testing.TB, registry string) *Front {
	f := &Front{reads: map[string]int{}}
	target := &url.URL{Scheme: "http", Host: registry}
	srv := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // the registry answers with addresses of its own, which are to be the front's
		},
		ModifyResponse: func(resp *http.Response) error {
			if resp.Request.Method == http.MethodGet && resp.StatusCode == http.StatusOK {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.reads[resp.Request.URL.Path]++
			}
			return nil
		},
	})
	t.Cleanup(srv.Close)
	f.Addr = strings.TrimPrefix(srv.URL, "http://")
	return f
}

// Reads are the answers that held something, so far, by path.
func (f *Front) Reads() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.reads)
}
