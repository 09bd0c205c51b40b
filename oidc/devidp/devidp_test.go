package devidp

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/ca/profile"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/oidc"
)

var testKey = sync.OnceValue(func() crypto.Signer {
	k, err := keys.NewRSA()
	if err != nil {
		panic(err)
	}
	return k
})

// provider is a running provider on loopback, behind the handler that the binary uses.
type provider struct {
	*Server
	url   string
	clock *clock.Manual
}

// start serves a provider. The clock stands at the present, because upstream's clients check expiry
// against the machine's.
func start(t testing.TB) *provider {
	t.Helper()
	mux := http.NewServeMux()
	web := httptest.NewUnstartedServer(httpx.Handler(mux, slog.New(slog.DiscardHandler), httpx.NewMetrics(prometheus.NewRegistry())))
	p := &provider{url: "http://" + web.Listener.Addr().String(), clock: clock.NewManual(time.Now())}
	var err error
	p.Server, err = New(Config{Issuer: p.url, Key: testKey(), Clock: p.clock, AllowedHosts: []string{"issuer.test"}})
	if err != nil {
		t.Fatal(err)
	}
	p.Register(mux)
	web.Start()
	t.Cleanup(web.Close)
	return p
}

// verify checks a token as our own Fulcio face does, and maps it to what a certificate would state.
func (p *provider) verify(t testing.TB, raw string) (*oidc.Token, profile.Identity) {
	t.Helper()
	cfg := &oidc.Config{}
	if err := cfg.Add(p.Issuer()); err != nil {
		t.Fatal(err)
	}
	set, err := p.Keys()
	if err != nil {
		t.Fatal(err)
	}
	tok, err := oidc.NewVerifier(cfg, oidc.Options{Clock: p.clock, Keys: map[string]oidc.KeySet{p.url: set}}).Verify(t.Context(), raw)
	if err != nil {
		t.Fatalf("our verifier: %v", err)
	}
	id, err := profile.FromToken(tok)
	if err != nil {
		t.Fatalf("our profile: %v", err)
	}
	return tok, id
}

// noRedirect is a client that shows redirects instead of following them.
func noRedirect() *http.Client {
	return &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func get(t testing.TB, url string) (*http.Response, string) {
	t.Helper()
	resp, err := noRedirect().Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body(t, resp)
}

func post(t testing.TB, url string, form url.Values, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for n := 0; n+1 < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	if h := req.Header.Get("Host"); h != "" {
		req.Host = h
	}
	resp, err := noRedirect().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body(t, resp)
}

func body(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B

func challenge(v string) string {
	sum := sha256.Sum256([]byte(v))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authQuery is a good authorization request, changed by over ("" removes).
func authQuery(over map[string]string) url.Values {
	q := url.Values{"response_type": {"code"}, "client_id": {"sigstore"}, "redirect_uri": {"http://localhost:4711/auth/callback"},
		"scope": {"openid email"}, "state": {"st&te="}, "nonce": {"n-1"}, "access_type": {"online"},
		"code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"}}
	for k, v := range over {
		if v == "" {
			q.Del(k)
		} else {
			q.Set(k, v)
		}
	}
	return q
}

// signIn fills the page in and returns the code.
func (p *provider) signInAs(t testing.TB, email string, over map[string]string) string {
	t.Helper()
	at := p.url + "/auth?" + authQuery(over).Encode()
	resp, page := get(t, at)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET /auth: %d\n%s", resp.StatusCode, page)
	}
	action := regexp.MustCompile(`action="([^"]+)"`).FindStringSubmatch(page)
	if action == nil {
		t.Fatalf("no form in\n%s", page)
	}
	resp, page = post(t, p.url+html.UnescapeString(action[1]), url.Values{"email": {email}}, "Origin", p.url)
	if resp.StatusCode == http.StatusOK { // the code is on the page
		return regexp.MustCompile(`<output[^>]*>([^<]+)</output>`).FindStringSubmatch(page)[1]
	}
	to, err := resp.Location()
	if err != nil || resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("POST /auth: %d %v\n%s", resp.StatusCode, err, page)
	}
	if to.Query().Get("state") != "st&te=" {
		t.Errorf("state came back as %q", to.Query().Get("state"))
	}
	return to.Query().Get("code")
}

// tokenForm redeems a code, changed by over.
func tokenForm(code string, over map[string]string) url.Values {
	f := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"http://localhost:4711/auth/callback"},
		"code_verifier": {verifier}, "client_id": {"sigstore"}, "nonce": {"ignored"}}
	for k, v := range over {
		if v == "" {
			f.Del(k)
		} else {
			f.Set(k, v)
		}
	}
	return f
}

func decodeJSON(t testing.TB, s string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if err := json.Unmarshal([]byte(s), &out); err != nil {
		t.Fatalf("%v in %q", err, s)
	}
	return out
}

func TestNewRefuses(t *testing.T) {
	ec, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{
		"slash at the end": {Issuer: "http://127.0.0.1:8080/", Key: testKey()},
		"path":             {Issuer: "http://127.0.0.1:8080/x", Key: testKey()},
		"no scheme":        {Issuer: "127.0.0.1:8080", Key: testKey()},
		"user":             {Issuer: "http://a@127.0.0.1", Key: testKey()},
		"no key":           {Issuer: "http://127.0.0.1:8080"},
		"EC key":           {Issuer: "http://127.0.0.1:8080", Key: ec},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDiscovery(t *testing.T) {
	p := start(t)
	_, raw := get(t, p.url+"/.well-known/openid-configuration")
	doc := decodeJSON(t, raw)
	if doc["issuer"] != p.url || fmt.Sprint(doc["code_challenge_methods_supported"]) != "[S256]" || fmt.Sprint(doc["id_token_signing_alg_values_supported"]) != "[RS256]" {
		t.Errorf("document %s", raw)
	}
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "jwks_uri"} {
		if s, _ := doc[name].(string); !strings.HasPrefix(s, p.url+"/") {
			t.Errorf("%s = %q", name, s)
		}
	}
	_, raw = get(t, doc["jwks_uri"].(string))
	key := decodeJSON(t, raw)["keys"].([]any)[0].(map[string]any)
	if key["alg"] != "RS256" || key["use"] != "sig" || key["kid"] == "" || key["kty"] != "RSA" || key["d"] != nil {
		t.Errorf("key %v", key)
	}
}

func TestCodeFlow(t *testing.T) {
	p := start(t)
	code := p.signInAs(t, "dev@example.com", nil)
	resp, raw := post(t, p.url+"/token", tokenForm(code, nil))
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, raw)
	}
	answer := decodeJSON(t, raw)
	if answer["token_type"] != "Bearer" || answer["access_token"] != answer["id_token"] {
		t.Errorf("answer %v", answer)
	}
	tok, id := p.verify(t, answer["id_token"].(string))
	if tok.Claims["nonce"] != "n-1" || tok.Claims["email_verified"] != true || tok.Claims["aud"] != "sigstore" || id.SANText != "dev@example.com" || id.Challenge != "dev@example.com" {
		t.Errorf("claims %v, identity %+v", tok.Claims, id)
	}
	if tok.Subject == "dev@example.com" {
		t.Error("sub equals email: a client that signs the wrong one would go unseen")
	}
	var header struct{ Alg, Kid, Typ string }
	head, err := base64.RawURLEncoding.DecodeString(strings.Split(answer["id_token"].(string), ".")[0])
	if err != nil || json.Unmarshal(head, &header) != nil || header.Alg != "RS256" || header.Kid == "" {
		t.Errorf("header %s", head)
	}
}

// sigstore-python names itself in HTTP Basic only, with an empty password.
func TestCodeFlowWithBasic(t *testing.T) {
	p := start(t)
	code := p.signInAs(t, "dev@example.com", nil)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("sigstore:"))
	resp, raw := post(t, p.url+"/token", tokenForm(code, map[string]string{"client_id": ""}), "Authorization", basic)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", resp.StatusCode, raw)
	}
	p.verify(t, decodeJSON(t, raw)["access_token"].(string))
}

// The code is shown where a client has no listener.
func TestOutOfBand(t *testing.T) {
	p := start(t)
	code := p.signInAs(t, "dev@example.com", map[string]string{"redirect_uri": oob})
	if resp, raw := post(t, p.url+"/token", tokenForm(code, map[string]string{"redirect_uri": oob})); resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, raw)
	}
}

func TestAuthRefuses(t *testing.T) {
	p := start(t)
	for _, tc := range []struct {
		name     string
		over     map[string]string
		redirect string // error code told to the client by redirect; "" means the page says it
	}{
		{"no PKCE", map[string]string{"code_challenge": "", "code_challenge_method": ""}, "invalid_request"},
		{"PKCE plain", map[string]string{"code_challenge_method": "plain"}, "invalid_request"},
		{"PKCE method left out, which means plain", map[string]string{"code_challenge_method": ""}, "invalid_request"},
		{"challenge that is no SHA-256", map[string]string{"code_challenge": "abc"}, "invalid_request"},
		{"implicit flow", map[string]string{"response_type": "id_token"}, "unsupported_response_type"},
		{"request object", map[string]string{"request_uri": "https://evil.example/r"}, "request_not_supported"},
		{"no client", map[string]string{"client_id": ""}, ""},
		{"client with a line break", map[string]string{"client_id": "a\nb"}, ""},
		{"no redirect", map[string]string{"redirect_uri": ""}, ""},
		{"redirect to another host", map[string]string{"redirect_uri": "http://evil.example/auth/callback"}, ""},
		{"redirect host that begins like loopback", map[string]string{"redirect_uri": "http://localhost.evil.example/"}, ""},
		{"redirect with loopback as user", map[string]string{"redirect_uri": "http://localhost:80@evil.example/"}, ""},
		{"redirect with user information", map[string]string{"redirect_uri": "http://x@localhost:1/"}, ""},
		{"redirect to https", map[string]string{"redirect_uri": "https://localhost/"}, ""},
		{"redirect to a script", map[string]string{"redirect_uri": "javascript:alert(1)"}, ""},
		{"redirect to a custom scheme", map[string]string{"redirect_uri": "myapp://localhost"}, ""},
		{"redirect with a fragment", map[string]string{"redirect_uri": "http://localhost:1/#x"}, ""},
		{"state too long", map[string]string{"state": strings.Repeat("s", maxParam+1)}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			at := p.url + "/auth?" + authQuery(tc.over).Encode()
			for _, method := range []string{"GET", "POST"} {
				resp, page := get(t, at)
				if method == "POST" { // not only the page is guarded
					resp, page = post(t, at, url.Values{"email": {"dev@example.com"}})
				}
				to, _ := resp.Location()
				switch {
				case tc.redirect == "" && (resp.StatusCode != http.StatusBadRequest || to != nil || !strings.Contains(page, `role="alert"`)):
					t.Errorf("%s: %d to %v\n%s", method, resp.StatusCode, to, page)
				case tc.redirect != "" && (to == nil || to.Query().Get("error") != tc.redirect || to.Query().Has("code") || to.Query().Get("state") != "st&te="):
					t.Errorf("%s: %d to %v", method, resp.StatusCode, to)
				}
			}
		})
	}
	twice := authQuery(nil)
	twice.Add("redirect_uri", "http://evil.example/")
	if resp, _ := get(t, p.url+"/auth?"+twice.Encode()); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("two redirect_uri: %d", resp.StatusCode)
	}
	if len(p.codes.items) != 0 {
		t.Errorf("%d codes were made", len(p.codes.items))
	}
}

func TestLoopbackRedirects(t *testing.T) {
	for _, r := range []string{"http://localhost:1/Callback", "http://127.0.0.1:65535/", "http://localhost", "http://[::1]:8/x?y=z", oob} {
		if !validRedirect(r) {
			t.Errorf("%s refused", r)
		}
	}
}

func TestWrongAddressIsAskedAgain(t *testing.T) {
	p := start(t)
	resp, page := post(t, p.url+"/auth?"+authQuery(nil).Encode(), url.Values{"email": {`"><script>alert(1)</script>`}})
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(page, "aria-invalid") || strings.Contains(page, "<script>") {
		t.Errorf("%d\n%s", resp.StatusCode, page)
	}
}

func TestTokenRefuses(t *testing.T) {
	p := start(t)
	other := challenge("another-verifier-another-verifier-another-ver")
	for _, tc := range []struct {
		name  string
		auth  map[string]string // changes the authorization request
		token map[string]string // changes the token request
		after time.Duration
		want  string
	}{
		{"wrong verifier", map[string]string{"code_challenge": other}, nil, 0, "invalid_grant"},
		{"no verifier", nil, map[string]string{"code_verifier": ""}, 0, "invalid_grant"},
		{"the challenge as verifier", nil, map[string]string{"code_verifier": challenge(verifier)}, 0, "invalid_grant"},
		{"another client's code", nil, map[string]string{"client_id": "other"}, 0, "invalid_grant"},
		{"another redirect", nil, map[string]string{"redirect_uri": "http://localhost:4712/auth/callback"}, 0, "invalid_grant"},
		{"no redirect", nil, map[string]string{"redirect_uri": ""}, 0, "invalid_grant"},
		{"no code", nil, map[string]string{"code": ""}, 0, "invalid_grant"},
		{"unknown code", nil, map[string]string{"code": "x"}, 0, "invalid_grant"},
		{"two minutes later", nil, nil, codeLifetime, "invalid_grant"},
		{"no client", nil, map[string]string{"client_id": ""}, 0, "invalid_client"},
		{"no grant type", nil, map[string]string{"grant_type": ""}, 0, "unsupported_grant_type"},
		{"password grant", nil, map[string]string{"grant_type": "password"}, 0, "unsupported_grant_type"},
		{"token exchange", nil, map[string]string{"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange"}, 0, "unsupported_grant_type"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code := p.signInAs(t, "dev@example.com", tc.auth)
			p.clock.Advance(tc.after)
			resp, raw := post(t, p.url+"/token", tokenForm(code, tc.token))
			if resp.StatusCode != http.StatusBadRequest || decodeJSON(t, raw)["error"] != tc.want {
				t.Errorf("%d %s, want %s", resp.StatusCode, raw, tc.want)
			}
		})
	}
	t.Run("replayed code", func(t *testing.T) {
		code := p.signInAs(t, "dev@example.com", nil)
		first, _ := post(t, p.url+"/token", tokenForm(code, nil))
		second, raw := post(t, p.url+"/token", tokenForm(code, nil))
		if first.StatusCode != http.StatusOK || second.StatusCode != http.StatusBadRequest || decodeJSON(t, raw)["error"] != "invalid_grant" {
			t.Errorf("%d, then %d %s", first.StatusCode, second.StatusCode, raw)
		}
	})
	t.Run("a failed attempt uses the code up", func(t *testing.T) {
		code := p.signInAs(t, "dev@example.com", nil)
		post(t, p.url+"/token", tokenForm(code, map[string]string{"code_verifier": strings.Repeat("x", 43)}))
		if resp, raw := post(t, p.url+"/token", tokenForm(code, nil)); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%d %s", resp.StatusCode, raw)
		}
	})
	t.Run("client named twice, differently", func(t *testing.T) {
		code := p.signInAs(t, "dev@example.com", nil)
		basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("other:"))
		if resp, raw := post(t, p.url+"/token", tokenForm(code, nil), "Authorization", basic); resp.StatusCode != http.StatusBadRequest || decodeJSON(t, raw)["error"] != "invalid_client" {
			t.Errorf("%d %s", resp.StatusCode, raw)
		}
	})
	for name, tc := range map[string]struct {
		contentType, body string
		want              int
	}{
		"JSON body":           {"application/json", `{"grant_type":"client_credentials"}`, http.StatusUnsupportedMediaType},
		"field twice":         {"application/x-www-form-urlencoded", "grant_type=client_credentials&client_id=a&client_id=b", http.StatusBadRequest},
		"broken escape":       {"application/x-www-form-urlencoded", "client_id=%zz", http.StatusBadRequest},
		"64 KiB and one byte": {"application/x-www-form-urlencoded", "x=" + strings.Repeat("y", maxBody), http.StatusRequestEntityTooLarge},
	} {
		resp, err := http.Post(p.url+"/token", tc.contentType, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		if raw := body(t, resp); resp.StatusCode != tc.want || decodeJSON(t, raw)["error"] == nil {
			t.Errorf("%s: %d %s", name, resp.StatusCode, raw)
		}
	}
}

func TestPendingCodesAreBounded(t *testing.T) {
	p := start(t)
	for n := range maxCodes {
		if !p.codes.put(fmt.Sprint(n), grant{}, codeLifetime) {
			t.Fatalf("full at %d", n)
		}
	}
	if resp, _ := post(t, p.url+"/auth?"+authQuery(nil).Encode(), url.Values{"email": {"dev@example.com"}}); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more: %d", resp.StatusCode)
	}
	p.clock.Advance(codeLifetime)
	p.signInAs(t, "dev@example.com", nil)
	if n := len(p.codes.items); n != 1 {
		t.Errorf("%d codes are left after they expired", n)
	}
}
