package fulcio_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzBody: any body of either API is answered in the gateway's shape, never by a 5xx, and issues nothing
// without a token.
func FuzzBody(f *testing.F) {
	s := newStack(f)
	mux := http.NewServeMux()
	s.server.Register(mux)
	k := newKeyPair(f)
	proof := k.prove(f, "dev@example.com")
	f.Add(true, text(f, bodyV2("a.b.c", k, proof)))
	f.Add(true, text(f, object{"credentials": object{"oidcIdentityToken": "x"}, "certificateSigningRequest": k.csr(f)}))
	f.Add(false, text(f, object{"publicKey": object{"content": []byte(k.pem)}, "signedEmailAddress": proof}))
	f.Add(true, `{"credentials":null,"publicKeyRequest":{},"public_key_request":{}}`)
	f.Add(true, `[`)
	f.Fuzz(func(t *testing.T, v2 bool, body string) {
		path := "/api/v1/signingCert"
		if v2 {
			path = "/api/v2/signingCert"
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		raw, err := io.ReadAll(w.Body)
		var got struct {
			Code    int
			Message string
		}
		if err != nil || json.Unmarshal(raw, &got) != nil || got.Code == 0 || got.Message == "" || w.Code < 400 || w.Code > 499 {
			t.Fatalf("%d %s", w.Code, raw)
		}
	})
}
