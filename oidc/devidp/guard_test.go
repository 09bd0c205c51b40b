package devidp

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestForeignPagesAreRefused: what a page of another site, or one behind a rebound name, can send.
func TestForeignPagesAreRefused(t *testing.T) {
	p := start(t)
	paths := map[string][]string{
		http.MethodGet:  {"/.well-known/openid-configuration", "/keys", "/auth?" + authQuery(nil).Encode(), "/device", "/actions/token?audience=sigstore"},
		http.MethodPost: {"/auth?" + authQuery(nil).Encode(), "/token", "/device_authorization", "/device", "/mint"},
	}
	for _, tc := range []struct {
		name   string
		host   string
		header map[string]string
		get    int // expected of GET and POST; 0 means any but a refusal
		post   int
	}{
		{"a name that was not told", "evil.example", nil, 421, 421},
		{"our port under another name", "localhost" + p.url[strings.LastIndex(p.url, ":"):], nil, 421, 421},
		{"a name that was told", "ISSUER.test", nil, 0, 0},
		{"cross-site by the browser's word", "", map[string]string{"Sec-Fetch-Site": "cross-site"}, 0, 403},
		{"same site, another port", "", map[string]string{"Sec-Fetch-Site": "same-site"}, 0, 403},
		{"another origin, old browser", "", map[string]string{"Origin": "https://evil.example"}, 0, 403},
		{"another port, old browser", "", map[string]string{"Origin": "http://127.0.0.1:1"}, 0, 403},
		{"sandboxed frame", "", map[string]string{"Origin": "null"}, 0, 403},
		{"our own page", "", map[string]string{"Origin": p.url, "Sec-Fetch-Site": "same-origin"}, 0, 0},
		{"typed by a person", "", map[string]string{"Sec-Fetch-Site": "none"}, 0, 0},
	} {
		for method, want := range map[string]int{http.MethodGet: tc.get, http.MethodPost: tc.post} {
			for _, path := range paths[method] {
				req, err := http.NewRequestWithContext(t.Context(), method, p.url+path, strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "text/plain") // what a form of another site can send
				for k, v := range tc.header {
					req.Header.Set(k, v)
				}
				if tc.host != "" {
					req.Host = tc.host
				}
				resp, err := noRedirect().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body(t, resp)
				refused := resp.StatusCode == 421 || resp.StatusCode == 403
				if want != 0 && resp.StatusCode != want || want == 0 && refused {
					t.Errorf("%s: %s %s: %d, want %d", tc.name, method, path, resp.StatusCode, want)
				}
				if resp.Header.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s %s answers CORS", method, path)
				}
			}
		}
	}
}

func TestPagesAllowNothingForeign(t *testing.T) {
	p := start(t)
	for _, path := range []string{"/auth?" + authQuery(nil).Encode(), "/device?user_code=bcdf-ghjk", "/auth"} {
		resp, page := get(t, p.url+path)
		policy := resp.Header.Get("Content-Security-Policy")
		css := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
		sum := sha256.Sum256([]byte(css[1]))
		if !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
			t.Errorf("%s: the policy does not match the style sheet: %s", path, policy)
		}
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: policy %s", path, policy)
			}
		}
		if m := regexp.MustCompile(`(?i)(src|href)\s*=|<script|@import|url\(`).FindString(page); m != "" {
			t.Errorf("%s: the page asks for %q", path, m)
		}
	}
	resp, _ := get(t, p.url+"/auth?"+authQuery(nil).Encode())
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasSuffix(csp, "form-action 'self' http://localhost:4711") {
		t.Errorf("the browser would block the redirect: %s", csp)
	}
}
