package web_test

import (
	"crypto"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/digitorus/timestamp"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tsa"
	"github.com/sigbox/sigbox/tsa/web"
)

// FuzzTimestamp: any body of either form is stamped, or refused with a 4xx in the shape of upstream. What is
// stamped parses, and is over a digest of a hash that we take.
func FuzzTimestamp(f *testing.F) {
	chain, err := tsa.NewChain(clock.System{}, "sigbox")
	if err != nil {
		f.Fatal(err)
	}
	a, err := tsa.New(tsa.Config{Key: chain.Leaf.Key, Chain: chain.Certificates(), Clock: clock.System{}})
	if err != nil {
		f.Fatal(err)
	}
	mux := http.NewServeMux()
	web.New(a, nil, nil).Register(mux)
	f.Add(true, `{"artifactHash":"`+sum64+`","hashAlgorithm":"sha256","nonce":1,"certificates":true,"tsaPolicyOID":"1.3.6.1.4.1.57264.2"}`)
	f.Add(true, `{"artifactHash":"`+sum64+`","hashAlgorithm":"sha512","Nonce":-1}`)
	query, err := (&timestamp.Request{HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Certificates: true}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(false, string(query))
	f.Add(false, string(query[:20]))
	f.Fuzz(func(t *testing.T, asJSON bool, body string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/timestamp", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/timestamp-query")
		if asJSON {
			r.Header.Set("Content-Type", "application/json")
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code == http.StatusCreated {
			ts, err := timestamp.ParseResponse(w.Body.Bytes())
			if err != nil || len(ts.HashedMessage) != ts.HashAlgorithm.Size() || ts.HashAlgorithm == crypto.SHA1 {
				t.Fatalf("stamped %+v, %v", ts, err)
			}
			return
		}
		var got struct {
			Code    int
			Message string
		}
		if json.Unmarshal(w.Body.Bytes(), &got) != nil || got.Code != w.Code || got.Message == "" || w.Code < 400 || w.Code > 499 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}
