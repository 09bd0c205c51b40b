package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// provider is an OAuth client that does by hand what cosign and a browser do between them.
type provider struct {
	AuthorizationEndpoint string `json:"authorization_endpoint"`
	TokenEndpoint         string `json:"token_endpoint"`
	DeviceEndpoint        string `json:"device_authorization_endpoint"`
	client                http.Client
}

func newProvider(t *testing.T, issuer string) *provider {
	t.Helper()
	p := &provider{client: http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	resp, body := p.do(t, http.MethodGet, issuer+"/.well-known/openid-configuration", nil, nil)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("discovery: %s\n%s", resp.Status, body)
	}
	if err := json.Unmarshal(body, p); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *provider) do(t *testing.T, method, target string, form url.Values, header http.Header) (*http.Response, []byte) {
	t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(context.Background(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if h := header.Get("Host"); h != "" {
		req.Host = h
	}
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp, out
}

const (
	verifier = "a-verifier-of-more-than-forty-three-characters-0123456789"
	callback = "http://localhost:33333/auth/callback"
)

// authorization is a request as cosign makes it; with changes laid over it, "" removes.
func authorization(change map[string]string) url.Values {
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"response_type": {"code"}, "client_id": {"sigstore"}, "redirect_uri": {callback}, "scope": {"openid email"},
		"state": {"s"}, "nonce": {"n"}, "access_type": {"online"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for k, v := range change {
		q.Set(k, v)
		if v == "" {
			q.Del(k)
		}
	}
	return q
}

// code signs in and returns the code of the redirect.
func (p *provider) code(t *testing.T) string {
	t.Helper()
	resp, body := p.do(t, http.MethodPost, p.AuthorizationEndpoint+"?"+authorization(nil).Encode(), url.Values{"email": {"dev@example.com"}}, nil)
	to, err := resp.Location()
	if err != nil {
		t.Fatalf("sign in: %s\n%s", resp.Status, body)
	}
	if to.Query().Get("code") == "" || to.Query().Get("state") != "s" || !strings.HasPrefix(to.String(), callback+"?") {
		t.Fatalf("redirect to %s", to)
	}
	return to.Query().Get("code")
}

func (p *provider) exchange(t *testing.T, code string, change map[string]string) (int, map[string]any) {
	t.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "client_id": {"sigstore"}, "code_verifier": {verifier}}
	for k, v := range change {
		form.Set(k, v)
		if v == "" {
			form.Del(k)
		}
	}
	resp, body := p.do(t, http.MethodPost, p.TokenEndpoint, form, nil)
	var out map[string]any
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatalf("token endpoint: %s\n%s", resp.Status, body)
	}
	return resp.StatusCode, out
}

// TestOAuthRefusals: what the development issuer must not let pass, over the real listener.
func TestOAuthRefusals(t *testing.T) {
	t.Parallel()
	r := start(t)
	p := newProvider(t, r.URL)

	for name, change := range map[string]map[string]string{
		"no PKCE":          {"code_challenge": "", "code_challenge_method": ""},
		"no S256":          {"code_challenge_method": ""},
		"plain":            {"code_challenge_method": "plain"},
		"wrong redirect":   {"redirect_uri": "https://evil.example.com/auth/callback"},
		"localhost prefix": {"redirect_uri": "http://localhost.evil.example.com/"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			var form url.Values
			if method == http.MethodPost {
				form = url.Values{"email": {"dev@example.com"}}
			}
			resp, body := p.do(t, method, p.AuthorizationEndpoint+"?"+authorization(change).Encode(), form, nil)
			to := resp.Header.Get("Location")
			if resp.StatusCode == http.StatusOK || strings.Contains(to, "code=") || strings.Contains(to, "evil") {
				t.Errorf("%s %s: %s to %q\n%s", method, name, resp.Status, to, body)
			}
		}
	}

	for name, change := range map[string]map[string]string{
		"wrong verifier":   {"code_verifier": "another-verifier-of-more-than-forty-three-characters-012"},
		"no verifier":      {"code_verifier": ""},
		"another redirect": {"redirect_uri": "http://localhost:33333/other"},
		"another client":   {"client_id": "other"},
	} {
		if status, out := p.exchange(t, p.code(t), change); status != http.StatusBadRequest || out["error"] == "" || out["id_token"] != nil {
			t.Errorf("%s: %d %v", name, status, out)
		}
	}

	code := p.code(t)
	if status, out := p.exchange(t, code, nil); status != http.StatusOK || out["id_token"] == nil {
		t.Fatalf("the good exchange: %d %v", status, out)
	}
	if status, out := p.exchange(t, code, nil); status != http.StatusBadRequest || out["error"] != "invalid_grant" {
		t.Errorf("replayed code: %d %v", status, out)
	}

	for name, header := range map[string]http.Header{
		"cross-origin post":  {"Origin": {"https://evil.example.com"}, "Sec-Fetch-Site": {"cross-site"}},
		"another Host":       {"Host": {"evil.example.com"}},
		"another Host, port": {"Host": {"evil.example.com:" + strings.Split(r.Addr, ":")[1]}},
	} {
		resp, body := p.do(t, http.MethodPost, p.AuthorizationEndpoint+"?"+authorization(nil).Encode(), url.Values{"email": {"dev@example.com"}}, header)
		if resp.StatusCode < 400 || resp.StatusCode >= 500 {
			t.Errorf("%s: %s\n%s", name, resp.Status, body)
		}
	}
}
