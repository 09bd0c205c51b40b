package rekorv1_test

import (
	"bytes"
	"crypto"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

// TestEveryEndpoint: status, content type and headers of each endpoint (COMPAT.md 2.1), and that
// a slash at its end or two in its middle make no difference, as upstream cleans paths.
func TestEveryEndpoint(t *testing.T) {
	s := newServer(t)
	proposed := artifact(t, 0)
	id, _ := s.add(proposed)
	const jsonType, pemType = "application/json", "application/x-pem-file"
	for _, tc := range []struct {
		name, method, path, query, body string
		status                          int
		contentType                     string // "" where there is no body
		headers                         map[string]string
	}{
		{"log info", "GET", "/api/v1/log", "", "", 200, jsonType, nil},
		{"public key", "GET", "/api/v1/log/publicKey", "", "", 200, pemType, nil},
		{"public key of a tree", "GET", "/api/v1/log/publicKey", "treeID=4711", "", 200, pemType, nil},
		{"public key of no tree", "GET", "/api/v1/log/publicKey", "treeID=4712", "", 400, jsonType, nil},
		{"proof", "GET", "/api/v1/log/proof", "lastSize=1", "", 200, jsonType, nil},
		{"proof beyond the end", "GET", "/api/v1/log/proof", "lastSize=2", "", 400, jsonType, nil},
		{"proof without an end", "GET", "/api/v1/log/proof", "", "", 422, jsonType, nil},
		{"entry by index", "GET", "/api/v1/log/entries", "logIndex=0", "", 200, jsonType, nil},
		{"entry by index beyond the end", "GET", "/api/v1/log/entries", "logIndex=1", "", 404, "", nil},
		{"entry by no index", "GET", "/api/v1/log/entries", "", "", 422, jsonType, nil},
		{"entry by id", "GET", "/api/v1/log/entries/" + id, "", "", 200, jsonType, nil},
		{"entry by UUID", "GET", "/api/v1/log/entries/" + id[16:], "", "", 200, jsonType, nil},
		{"entry that is not there", "GET", "/api/v1/log/entries/" + strings.Repeat("0", 64), "", "", 404, "", nil},
		{"entry by nonsense", "GET", "/api/v1/log/entries/nonsense", "", "", 422, jsonType, nil},
		{"create, a duplicate", "POST", "/api/v1/log/entries", "", string(proposed), 409, jsonType, map[string]string{"Location": "/api/v1/log/entries/" + id, "ETag": ""}},
		{"create, malformed", "POST", "/api/v1/log/entries", "", "{", 400, jsonType, nil},
		{"create, no kind", "POST", "/api/v1/log/entries", "", "{}", 422, jsonType, nil},
		{"retrieve", "POST", "/api/v1/log/entries/retrieve", "", fmt.Sprintf(`{"entryUUIDs":[%q]}`, id), 200, jsonType, nil},
		{"retrieve, nothing", "POST", "/api/v1/log/entries/retrieve", "", `{}`, 422, jsonType, nil},
		{"search", "POST", "/api/v1/index/retrieve", "", `{"email":"dev@example.com"}`, 200, jsonType, map[string]string{"Sigbox-Tree-Size": "1", "Sigbox-Tree-ID": "4711", "Sigbox-Results-From": ""}},
		{"search, nothing", "POST", "/api/v1/index/retrieve", "", `{}`, 422, jsonType, nil},
		{"a method that is not there", "PUT", "/api/v1/log/entries", "", "", 405, jsonType, map[string]string{"Allow": "GET,POST"}},
		{"another method that is not there", "POST", "/api/v1/log", "", "", 405, jsonType, map[string]string{"Allow": "GET"}},
		{"log info, head only", "HEAD", "/api/v1/log", "", "", 200, jsonType, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var first string
			for _, path := range []string{tc.path, tc.path + "/", tc.path + "//", "/" + strings.ReplaceAll(tc.path, "/", "//")} {
				target := path
				if tc.query != "" {
					target += "?" + tc.query
				}
				var body []byte
				header := map[string]string{"X-Request-Id": "echo-7", "Origin": "https://elsewhere.example.com"}
				if tc.body != "" {
					body, header["Content-Type"] = []byte(tc.body), jsonType
				}
				a := s.do(tc.method, target, header, body)
				kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
				if a.StatusCode != tc.status || kind != tc.contentType {
					t.Errorf("%s: %d %q, want %d %q: %s", path, a.StatusCode, kind, tc.status, tc.contentType, a.body)
				}
				if tc.contentType == "" && len(a.body) > 0 {
					t.Errorf("%s: a body: %s", path, a.body)
				}
				if tc.status >= 400 && tc.contentType == jsonType {
					var e struct {
						Code    int
						Message string
					}
					if err := json.Unmarshal(a.body, &e); err != nil || e.Code == 0 || e.Message == "" {
						t.Errorf("%s: not upstream's shape of errors: %s", path, a.body)
					}
				}
				want := map[string]string{"X-Request-Id": "echo-7", "Access-Control-Allow-Origin": "*"}
				if tc.method == "GET" || tc.method == "HEAD" {
					want["Cache-Control"] = "no-cache, no-store, no-transform, must-revalidate, private, max-age=0"
				}
				for name, value := range tc.headers {
					want[name] = value
				}
				for name, value := range want {
					if got := a.Header.Get(name); got != value {
						t.Errorf("%s: %s is %q, want %q", path, name, got, value)
					}
				}
				if first == "" {
					first = string(a.body)
				} else if tc.name != "log info" && !strings.Contains(first, "signedEntryTimestamp") && string(a.body) != first {
					t.Errorf("%s: another answer: %s, not %s", path, a.body, first)
				}
			}
		})
	}
	a := s.do(http.MethodPost, "/api/v1//log/entries/", map[string]string{"Content-Type": "application/json"}, artifact(t, 1))
	created, _ := only(t, a.body)
	if a.StatusCode != http.StatusCreated || a.Header.Get("ETag") != created || a.Header.Get("Location") != "/api/v1/log/entries/"+created {
		t.Errorf("create: %d %v", a.StatusCode, a.Header)
	}
}

// TestLimitsHaveNames: what is too large is answered 413 with the name of the limit, and leaves no trace.
func TestLimitsHaveNames(t *testing.T) {
	s := newServer(t, func(c *rekorv1.Config, l *tlog.Config) {
		c.MaxBody, l.MaxEntry = 1<<20, 2<<10
	})
	bigKey := func(n int) []byte { // a body of so many signers
		var keys []crypto.Signer
		var pems [][]byte
		for range n {
			key := entrytest.P256(t)
			keys, pems = append(keys, key), append(pems, entrytest.PEM(t, key.Public()))
		}
		return entrytest.DSSE(t, entrytest.Envelope(t, "text/plain", []byte("payload"), keys...), pems...)
	}
	for name, tc := range map[string]struct {
		body []byte
		want string
	}{
		"the body":  {bytes.Repeat([]byte(" "), 1<<20+1), "Request Entity Too Large. Limit set to 1048576 (tlog.limits.body)"},
		"the entry": {bigKey(10), "entry is larger than the log takes (tlog.limits.entry)"},
	} {
		a := s.post(entriesPath, tc.body)
		if code, text := errorBody(t, a); a.StatusCode != http.StatusRequestEntityTooLarge || code != a.StatusCode || text != tc.want {
			t.Errorf("%s: %d %s, want 413 %q", name, a.StatusCode, a.body, tc.want)
		}
	}
	if s.size() != 0 {
		t.Errorf("the log has %d entries", s.size())
	}
}
