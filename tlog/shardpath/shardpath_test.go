package shardpath_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/tlog/shardpath"
)

// TestPathIsItsPattern: what the trust root names is what is served.
func TestPathIsItsPattern(t *testing.T) {
	id := [32]byte{0xab, 31: 0x01}
	var got string
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+shardpath.Pattern+"/api/v2/checkpoint", func(_ http.ResponseWriter, r *http.Request) { got = shardpath.ID(r) })
	mux.HandleFunc("GET /api/v2/checkpoint", func(_ http.ResponseWriter, r *http.Request) { got = shardpath.ID(r) })
	for path, want := range map[string]string{
		shardpath.Of(id) + "/api/v2/checkpoint": "ab" + strings.Repeat("0", 60) + "01",
		"/api/v2/checkpoint":                    "",
	} {
		got = "nobody"
		mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
		if got != want {
			t.Errorf("%s names %q, want %q", path, got, want)
		}
		if url := "https://log.example.com" + path; shardpath.In(url) != (want != "") {
			t.Errorf("In(%s) = %v", url, shardpath.In(url))
		}
	}
}
