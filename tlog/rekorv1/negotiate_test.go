package rekorv1_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestAccept: a client gets what it says it takes, or is told that there is none.
func TestAccept(t *testing.T) {
	s := newServer(t)
	s.add(artifact(t, 0))
	const info, key = "/api/v1/log", "/api/v1/log/publicKey"
	for _, row := range []struct {
		path, accept string
		status       int
		contentType  string
	}{
		{info, "-", 200, "application/json"},
		{info, "*/*", 200, "application/json"},
		{info, "application/*", 200, "application/json"},
		{info, "text/html, */*;q=0.1", 200, "application/json"},
		{info, "", 406, "application/json"},
		{info, "text/html", 406, "application/json"},
		{info, "application/json;q=0", 406, "application/json"},
		{info, "application/x-pem-file", 406, "application/json"},
		{key, "-", 200, "application/x-pem-file"},
		{key, "*/*", 200, "application/x-pem-file"},
		{key, "application/json", 200, "application/json"},
		{key, "application/json;q=0.5, application/x-pem-file;q=0.6", 200, "application/x-pem-file"},
		{key, "application/x-pem-file;q=0.5, application/json", 200, "application/json"},
		{key, "*/*, application/json", 200, "application/json"}, // named more closely
		{key, "image/png", 406, "application/json"},
	} {
		header := map[string]string{"Accept": row.accept}
		if row.accept == "-" {
			header = nil
		}
		a := s.do(http.MethodGet, row.path, header, nil)
		if a.StatusCode != row.status || a.Header.Get("Content-Type") != row.contentType {
			t.Errorf("%s, Accept %q: %d %s", row.path, row.accept, a.StatusCode, a.Header.Get("Content-Type"))
		}
		if row.path == key && row.status == 200 && strings.HasPrefix(string(a.body), `"`) != (row.contentType == "application/json") {
			t.Errorf("Accept %q: %s", row.accept, a.body)
		}
	}
}

// TestPaths: a slash at the end is taken at every path, and a page of another origin is told what it may.
func TestPaths(t *testing.T) {
	s := newServer(t)
	entry := artifact(t, 0)
	id, _ := s.add(entry)
	for _, row := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/api/v1/log/", 200}, {"GET", "/api/v1/log/publicKey/", 200}, {"GET", "/api/v1/log/proof/?lastSize=1", 200}, {"GET", entriesPath + "/?logIndex=0", 200}, {"GET", entriesPath + "/" + id + "/", 200},
		{"POST", entriesPath + "/", 409}, {"POST", "/api/v1/log/entries/retrieve/", 422}, {"POST", "/api/v1/index/retrieve/", 422},
		{"GET", "/ping/", 404}, {"GET", "/api/v1/log/x/", 404}, {"OPTIONS", "/api/v1/log", 405}, {"TRACE", "/api/v1/log", 405},
	} {
		var body []byte
		if row.status == 409 {
			body = entry
		} else if row.method == "POST" {
			body = []byte(`{}`)
		}
		if a := s.do(row.method, row.path, nil, body); a.StatusCode != row.status {
			t.Errorf("%s %s: %d %s", row.method, row.path, a.StatusCode, a.body)
		}
	}
	for _, row := range []struct {
		method, headers string
		allowed         bool
	}{{"POST", "Content-Type", true}, {"GET", "", true}, {"DELETE", "", false}, {"POST", "authorization", false}, {"POST", "accept, authorization", false}} {
		header := map[string]string{"Origin": "https://a.example", "Access-Control-Request-Method": row.method}
		if row.headers != "" {
			header["Access-Control-Request-Headers"] = row.headers
		}
		a := s.do("OPTIONS", entriesPath, header, nil)
		if got := a.Header.Get("Access-Control-Allow-Origin") == "*"; a.StatusCode != http.StatusNoContent || got != row.allowed {
			t.Errorf("preflight of %s with %q: %d %v", row.method, row.headers, a.StatusCode, a.Header)
		}
	}
}
