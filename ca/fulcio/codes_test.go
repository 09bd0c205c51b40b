package fulcio_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/httpx"
)

// TestErrorCodes: beside upstream's sentence, which is the same for all that may be wrong with a token, the
// answer has a word for the cause. An answer that is none of a refusal has none.
func TestErrorCodes(t *testing.T) {
	s := newStack(t)
	k := newKeyPair(t)
	proof := k.prove(t, "dev@example.com")
	v2 := func(token string) string { return text(t, bodyV2(token, k, proof)) }
	both := bodyV2(s.token(t, nil), k, proof)
	both["certificateSigningRequest"] = k.csr(t)
	now := s.clock.Now()
	for _, tc := range []struct {
		name   string
		header http.Header
		body   string
		want   string
	}{
		{"expired", nil, v2(s.token(t, map[string]any{"exp": now.Unix() - 1})), "token_expired"},
		{"another audience", nil, v2(s.token(t, map[string]any{"aud": "another"})), "token_audience"},
		{"another issuer", nil, v2(s.token(t, map[string]any{"iss": "https://other.example.com"})), "token_issuer"},
		{"not verified", nil, v2(s.token(t, map[string]any{"email_verified": false})), "token_email_unverified"},
		{"no token", nil, v2("x.y"), "token_malformed"},
		{"two headers", http.Header{"Authorization": {"Bearer a", "Bearer b"}}, v2(""), "token_malformed"},
		{"no proof", nil, text(t, bodyV2(s.token(t, nil), k, k.prove(t, "somebody else"))), "possession"},
		{"key and CSR", nil, text(t, both), "both_keys"},
		{"not JSON", nil, "{", "malformed"},
		{"text", http.Header{"Content-Type": {"text/plain"}}, v2(s.token(t, nil)), "media_type"},
		{"too large", nil, `{"x":"` + strings.Repeat("x", 4<<20) + `"}`, "too_large"},
		{"nothing wrong", nil, v2(s.token(t, nil)), ""},
	} {
		s.logged.take()
		a := s.do(t, http.MethodPost, "/api/v2/signingCert", tc.header, tc.body)
		if got := a.header.Get(httpx.ErrorCode); got != tc.want {
			t.Errorf("%s: %q, want %q (%d %s)", tc.name, got, tc.want, a.status, a.body)
		}
		if logged := s.logged.take(); strings.Contains(logged, "reason") && !strings.Contains(logged, `"error_code":"`+tc.want+`"`) {
			t.Errorf("%s: our log has another word, or none: %s", tc.name, logged)
		}
	}
}
