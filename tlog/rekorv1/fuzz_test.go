package rekorv1_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/go-openapi/strfmt"
	"github.com/sigstore/rekor/pkg/generated/models"

	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

// queried posts a body and returns the answer, which is no failure of ours.
func queried(t *testing.T, h http.Handler, path string, body []byte) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code >= 500 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w
}

// model is one of upstream's request models.
type model interface{ Validate(strfmt.Registry) error }

// upstreamTakes reads a body as upstream's server does: into its model, which then checks itself.
func upstreamTakes(body []byte, m model) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(m); err != nil {
		return err
	}
	return m.Validate(strfmt.Default)
}

// against holds the answer to a query against upstream's model: what upstream refuses is not taken, and what
// it takes is no schema error, but for what tighter names.
func against(t *testing.T, w *httptest.ResponseRecorder, upstream error, tighter *regexp.Regexp) {
	t.Helper()
	switch {
	case w.Code == http.StatusOK && upstream != nil:
		t.Fatalf("taken, upstream says %v", upstream)
	case w.Code == http.StatusUnprocessableEntity && upstream == nil && !tighter.MatchString(w.Body.String()):
		t.Fatalf("refused with %s, upstream's schema takes it", w.Body)
	}
}

// FuzzSearch: POST /api/v1/index/retrieve.
func FuzzSearch(f *testing.F) {
	h := newHandler(f, slog.New(slog.DiscardHandler))
	pem := base64.StdEncoding.EncodeToString(entrytest.PEM(f, entrytest.P256(f).Public()))
	for _, seed := range []string{
		`{"email":"dev@example.com"}`, `{"email":"Dev <dev@example.com>","operator":"and","subject":"https://a/b"}`, `{"subject":"x","operator":"or"}`,
		`{"hash":"sha256:` + strings.Repeat("aB", 32) + `"}`, `{"hash":"` + strings.Repeat("0", 40) + `"}`, `{"hash":"sha512:` + strings.Repeat("f", 128) + `"}`,
		`{"publicKey":{"format":"x509","content":"` + pem + `"}}`, `{"publicKey":{"format":"pgp","url":"http://x"}}`, `{"publicKey":{}}`, `{"operator":"xor"}`, `{}`, `null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		against(t, queried(t, h, "/api/v1/index/retrieve", body), upstreamTakes(body, &models.SearchIndex{}),
			regexp.MustCompile(`query in body is required|should be at most 4096 bytes`))
	})
}

// FuzzRetrieve: POST /api/v1/log/entries/retrieve.
func FuzzRetrieve(f *testing.F) {
	h := newHandler(f, slog.New(slog.DiscardHandler))
	uuid, tree := strings.Repeat("0a", 32), fmt.Sprintf("%016x", treeID)
	for _, seed := range []string{
		`{"logIndexes":[0,1]}`, `{"logIndexes":[-1]}`, `{"logIndexes":[null]}`, `{"logIndexes":[9223372036854775808]}`, `{"entryUUIDs":["` + uuid + `","` + tree + uuid + `"]}`, `{"entryUUIDs":["x"]}`,
		`{"entries":[` + string(entrytest.NewHashedRekord(f, []byte("x"))) + `]}`, `{"entries":[null]}`, `{"logIndexes":[1,2,3,4,5,6,7,8,9,10,11]}`, `{}`, `null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		against(t, queried(t, h, "/api/v1/log/entries/retrieve", body), upstreamTakes(body, &models.SearchLogQuery{}),
			regexp.MustCompile(`entry in body is required: one of|logIndexes\.\d+ in body is required`))
	})
}
