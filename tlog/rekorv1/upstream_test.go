package rekorv1_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-openapi/errors"
	"github.com/go-openapi/runtime"
	"github.com/go-openapi/runtime/middleware"
	"github.com/go-openapi/strfmt"
	"github.com/sigstore/rekor/pkg/generated/restapi/operations/entries"
	"github.com/sigstore/rekor/pkg/generated/restapi/operations/index"
	"github.com/sigstore/rekor/pkg/generated/restapi/operations/pubkey"
	"github.com/sigstore/rekor/pkg/generated/restapi/operations/tlog"
)

// binder is a parameter struct of Rekor's generated server.
type binder interface {
	BindRequest(*http.Request, *middleware.MatchedRoute) error
}

// bind answers a request as Rekor's server does up to the handler: 200 where its schema has
// nothing against the request.
func bind(t *testing.T, method, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	route := &middleware.MatchedRoute{Consumer: runtime.JSONConsumer()}
	route.Formats = strfmt.Default
	var p binder
	switch path := r.URL.Path; {
	case method == "POST" && path == "/api/v1/log/entries":
		p = ptr(entries.NewCreateLogEntryParams())
	case path == "/api/v1/log/entries":
		p = ptr(entries.NewGetLogEntryByIndexParams())
	case path == "/api/v1/log/entries/retrieve":
		p = ptr(entries.NewSearchLogQueryParams())
	case path == "/api/v1/index/retrieve":
		p = ptr(index.NewSearchIndexParams())
	case path == "/api/v1/log/proof":
		p = ptr(tlog.NewGetLogProofParams())
	case path == "/api/v1/log/publicKey":
		p = ptr(pubkey.NewGetPublicKeyParams())
	default:
		id, ok := strings.CutPrefix(path, "/api/v1/log/entries/")
		if !ok {
			t.Fatalf("no such operation: %s %s", method, target)
		}
		route.Params = middleware.RouteParams{{Name: "entryUUID", Value: id}}
		p = ptr(entries.NewGetLogEntryByUUIDParams())
	}
	w := httptest.NewRecorder()
	if err := p.BindRequest(r, route); err != nil {
		errors.ServeError(w, r, err)
	}
	return w
}

// TestSchemaErrorsAreUpstreams: where the schema refuses a request, status, code and message are
// those of Rekor's server.
func TestSchemaErrorsAreUpstreams(t *testing.T) {
	s := newServer(t)
	s.add(artifact(t, 0))
	hex64, hex80 := strings.Repeat("ab", 32), strings.Repeat("ab", 40)
	for _, row := range []struct{ name, method, target, body string }{
		{"no body", "POST", "/api/v1/log/entries", ""},
		{"body null", "POST", "/api/v1/log/entries", `null`},
		{"kind missing", "POST", "/api/v1/log/entries", `{"apiVersion":"0.0.1","spec":{}}`},
		{"kind empty", "POST", "/api/v1/log/entries", `{"kind":"","apiVersion":"0.0.1","spec":{}}`},
		{"kind null", "POST", "/api/v1/log/entries", `{"kind":null,"apiVersion":"0.0.1","spec":{}}`},
		{"kind unknown", "POST", "/api/v1/log/entries", `{"kind":"nosuch","apiVersion":"0.0.1","spec":{}}`},
		{"kind in other case", "POST", "/api/v1/log/entries", `{"kind":"HashedRekord","apiVersion":"0.0.1","spec":{}}`},
		{"apiVersion missing", "POST", "/api/v1/log/entries", `{"kind":"hashedrekord","spec":{}}`},
		{"apiVersion null", "POST", "/api/v1/log/entries", `{"kind":"dsse","apiVersion":null,"spec":{}}`},
		{"apiVersion not semver", "POST", "/api/v1/log/entries", `{"kind":"dsse","apiVersion":"1","spec":{}}`},
		{"apiVersion empty", "POST", "/api/v1/log/entries", `{"kind":"dsse","apiVersion":"","spec":{}}`},
		{"spec missing", "POST", "/api/v1/log/entries", `{"kind":"dsse","apiVersion":"0.0.1"}`},
		{"spec null", "POST", "/api/v1/log/entries", `{"kind":"dsse","apiVersion":"0.0.1","spec":null}`},

		{"logIndex missing", "GET", "/api/v1/log/entries", ""},
		{"logIndex empty", "GET", "/api/v1/log/entries?logIndex=", ""},
		{"logIndex word", "GET", "/api/v1/log/entries?logIndex=abc", ""},
		{"logIndex negative", "GET", "/api/v1/log/entries?logIndex=-1", ""},
		{"logIndex fraction", "GET", "/api/v1/log/entries?logIndex=1.5", ""},
		{"logIndex 2^63", "GET", "/api/v1/log/entries?logIndex=9223372036854775808", ""},
		{"logIndex 2^64", "GET", "/api/v1/log/entries?logIndex=18446744073709551616", ""},
		{"UUID of 63", "GET", "/api/v1/log/entries/" + hex64[1:], ""},
		{"UUID of 65", "GET", "/api/v1/log/entries/" + hex64 + "a", ""},
		{"UUID of 79", "GET", "/api/v1/log/entries/" + hex80[1:], ""},
		{"UUID of 81", "GET", "/api/v1/log/entries/" + hex80 + "a", ""},
		{"UUID no hex", "GET", "/api/v1/log/entries/" + hex64[1:] + "g", ""},
		{"tree id no hex", "GET", "/api/v1/log/entries/" + hex80[:3] + "x" + hex80[4:], ""},

		{"proof without lastSize", "GET", "/api/v1/log/proof", ""},
		{"proof, lastSize 0", "GET", "/api/v1/log/proof?lastSize=0", ""},
		{"proof, lastSize negative", "GET", "/api/v1/log/proof?lastSize=-1", ""},
		{"proof, lastSize word", "GET", "/api/v1/log/proof?lastSize=x", ""},
		{"proof, firstSize 0", "GET", "/api/v1/log/proof?firstSize=0&lastSize=1", ""},
		{"proof, firstSize word", "GET", "/api/v1/log/proof?firstSize=x&lastSize=1", ""},
		{"proof, treeID word", "GET", "/api/v1/log/proof?lastSize=1&treeID=abc", ""},
		{"proof, treeID negative", "GET", "/api/v1/log/proof?lastSize=1&treeID=-1", ""},
		{"key, treeID word", "GET", "/api/v1/log/publicKey?treeID=abc", ""},
		{"key, treeID path", "GET", "/api/v1/log/publicKey?treeID=../", ""},

		{"retrieve without body", "POST", "/api/v1/log/entries/retrieve", ""},
		{"retrieve, no UUIDs", "POST", "/api/v1/log/entries/retrieve", `{"entryUUIDs":[]}`},
		{"retrieve, no indexes", "POST", "/api/v1/log/entries/retrieve", `{"logIndexes":[]}`},
		{"retrieve, bad UUID", "POST", "/api/v1/log/entries/retrieve", `{"entryUUIDs":["` + hex64 + `","zz"]}`},
		{"retrieve, index negative", "POST", "/api/v1/log/entries/retrieve", `{"logIndexes":[0,-1]}`},
		{"retrieve, 11 indexes", "POST", "/api/v1/log/entries/retrieve", `{"logIndexes":[0,1,2,3,4,5,6,7,8,9,10]}`},
		{"retrieve, 11 UUIDs", "POST", "/api/v1/log/entries/retrieve", `{"entryUUIDs":[` + strings.Repeat(`"`+hex64+`",`, 10) + `"` + hex64 + `"]}`},
		{"retrieve, apiVersion missing", "POST", "/api/v1/log/entries/retrieve", `{"entries":[{"kind":"dsse","spec":{}}]}`},
		{"retrieve, spec missing", "POST", "/api/v1/log/entries/retrieve", `{"entries":[{"kind":"dsse","apiVersion":"0.0.1"}]}`},

		{"search without body", "POST", "/api/v1/index/retrieve", ""},
		{"search, no email", "POST", "/api/v1/index/retrieve", `{"email":"x"}`},
		{"search, short hash", "POST", "/api/v1/index/retrieve", `{"hash":"sha256:00"}`},
		{"search, hash with wrong name", "POST", "/api/v1/index/retrieve", `{"hash":"sha1:` + hex64 + `"}`},
		{"search, operator", "POST", "/api/v1/index/retrieve", `{"hash":"` + hex64 + `","operator":"xor"}`},
		{"search, key without format", "POST", "/api/v1/index/retrieve", `{"publicKey":{"content":"eA=="}}`},
		{"search, key of unknown format", "POST", "/api/v1/index/retrieve", `{"publicKey":{"format":"raw","content":"eA=="}}`},
		{"search, long subject", "POST", "/api/v1/index/retrieve", `{"subject":"` + strings.Repeat("\u00e9", 513) + `"}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			want := bind(t, row.method, row.target, row.body)
			if want.Code != http.StatusUnprocessableEntity {
				t.Fatalf("the row is wrong: upstream answers %d %s", want.Code, want.Body)
			}
			var body []byte
			if row.method == "POST" {
				body = []byte(row.body)
			}
			got := s.do(row.method, row.target, nil, body)
			if got.StatusCode != want.Code || strings.TrimSpace(string(got.body)) != strings.TrimSpace(want.Body.String()) {
				t.Errorf("%d %s\nupstream %d %s", got.StatusCode, got.body, want.Code, want.Body)
			}
		})
	}
	if s.size() != 1 {
		t.Errorf("%d entries: a refused request left a trace", s.size())
	}
}
