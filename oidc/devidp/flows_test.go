package devidp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/sigstore/sigstore/pkg/oauthflow"
)

// The browser flow with cosign's own client code: its listener, its PKCE, its checks of the token.
func TestUpstreamBrowserFlow(t *testing.T) {
	p := start(t)
	getter := &oauthflow.InteractiveIDTokenGetter{HTMLPage: "done", Input: strings.NewReader(""), Output: io.Discard,
		BrowserOpener: func(at string) error {
			if _, page := get(t, at); !strings.Contains(page, `name="email"`) {
				return fmt.Errorf("no sign-in page: %s", page)
			}
			go func() { // the client only listens once this returns
				resp, err := http.PostForm(at, url.Values{"email": {"dev@example.com"}})
				if err == nil {
					resp.Body.Close()
				}
			}()
			return nil
		}}
	tok, err := oauthflow.OIDConnect(p.url, "sigstore", "", "", getter)
	if err != nil {
		t.Fatal(err)
	}
	_, id := p.verify(t, tok.RawString)
	if tok.Subject != "dev@example.com" || id.Challenge != tok.Subject {
		t.Errorf("client signs %q, certificate wants %q", tok.Subject, id.Challenge)
	}
}

// The same client where no browser opens: the code is copied from the page.
func TestUpstreamOutOfBandFlow(t *testing.T) {
	p := start(t)
	out := &bytes.Buffer{}
	getter := &oauthflow.InteractiveIDTokenGetter{Output: out, BrowserOpener: func(string) error { return fmt.Errorf("no display") }}
	getter.Input = readerFunc(func(b []byte) (int, error) {
		at := regexp.MustCompile(`http://\S+`).FindString(out.String())
		resp, err := http.PostForm(at, url.Values{"email": {"dev@example.com"}})
		if err != nil {
			return 0, err
		}
		code := regexp.MustCompile(`<output[^>]*>([^<]+)</output>`).FindStringSubmatch(body(t, resp))
		return copy(b, code[1]+"\n"), nil
	})
	getter.Input = io.MultiReader(&onceReader{r: getter.Input})
	tok, err := oauthflow.OIDConnect(p.url, "sigstore", "", "", getter)
	if err != nil {
		t.Fatal(err)
	}
	p.verify(t, tok.RawString)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// onceReader asks its source once and hands the bytes out one by one, as fmt.Fscanf reads them.
type onceReader struct {
	r    io.Reader
	have []byte
	done bool
}

func (o *onceReader) Read(b []byte) (int, error) {
	if !o.done {
		buf := make([]byte, 1024)
		n, err := o.r.Read(buf)
		if err != nil {
			return 0, err
		}
		o.have, o.done = buf[:n], true
	}
	if len(o.have) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:1], o.have)
	o.have = o.have[n:]
	return n, nil
}

func TestUpstreamDeviceFlow(t *testing.T) {
	p := start(t)
	getter := oauthflow.NewDeviceFlowTokenGetterForIssuer(p.url)
	polls := 0
	var at string
	getter.MessagePrinter = func(s string) {
		if m := regexp.MustCompile(`http://\S+`).FindString(s); m != "" {
			at = m
		}
	}
	getter.Sleeper = func(d time.Duration) {
		polls++
		p.clock.Advance(d)
		if polls == 2 {
			u, err := url.Parse(at)
			if err != nil {
				t.Error(err)
			}
			if _, page := get(t, at); !strings.Contains(page, u.Query().Get("user_code")) {
				t.Error("the page does not show the code that the address brought")
			}
			if resp, page := post(t, p.url+"/device", url.Values{"user_code": {strings.ToLower(u.Query().Get("user_code"))}, "email": {"dev@example.com"}}); resp.StatusCode != http.StatusOK {
				t.Errorf("%d\n%s", resp.StatusCode, page)
			}
		}
	}
	tok, err := oauthflow.OIDConnect(p.url, "sigstore", "", "", getter)
	if err != nil {
		t.Fatal(err)
	}
	if p.verify(t, tok.RawString); tok.Subject != "dev@example.com" || polls != 2 {
		t.Errorf("subject %q after %d polls", tok.Subject, polls)
	}
}

func TestDeviceRefuses(t *testing.T) {
	p := start(t)
	begin := func(t *testing.T) (deviceCode, userCode string) {
		t.Helper()
		resp, raw := post(t, p.url+"/device_authorization", url.Values{"client_id": {"sigstore"}, "scope": {"openid email"}, "code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"}})
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", resp.StatusCode, raw)
		}
		doc := decodeJSON(t, raw)
		return doc["device_code"].(string), doc["user_code"].(string)
	}
	poll := func(t *testing.T, code string, over map[string]string) string {
		t.Helper()
		f := url.Values{"grant_type": {grantDevice}, "client_id": {"sigstore"}, "device_code": {code}, "code_verifier": {verifier}}
		for k, v := range over {
			f.Set(k, v)
		}
		_, raw := post(t, p.url+"/token", f)
		doc := decodeJSON(t, raw)
		if doc["id_token"] != nil {
			return "token"
		}
		return doc["error"].(string)
	}
	decide := func(t *testing.T, userCode, email, decision string) int {
		t.Helper()
		resp, _ := post(t, p.url+"/device", url.Values{"user_code": {userCode}, "email": {email}, "decision": {decision}})
		return resp.StatusCode
	}
	t.Run("denied", func(t *testing.T) {
		id, user := begin(t)
		if decide(t, user, "", "deny") != http.StatusOK || poll(t, id, nil) != "access_denied" {
			t.Error("not denied")
		}
		if decide(t, user, "dev@example.com", "approve") != http.StatusBadRequest {
			t.Error("approved after it was denied")
		}
	})
	t.Run("asked too often", func(t *testing.T) {
		id, _ := begin(t)
		got := []string{poll(t, id, nil), poll(t, id, nil)}
		p.clock.Advance(deviceInterval)
		if got = append(got, poll(t, id, nil)); !slices.Equal(got, []string{"authorization_pending", "slow_down", "authorization_pending"}) {
			t.Errorf("%v", got)
		}
	})
	t.Run("expired", func(t *testing.T) {
		id, user := begin(t)
		p.clock.Advance(deviceLifetime)
		if decide(t, user, "dev@example.com", "") != http.StatusBadRequest || poll(t, id, nil) != "expired_token" {
			t.Error("still valid")
		}
	})
	t.Run("wrong verifier", func(t *testing.T) {
		id, user := begin(t)
		decide(t, user, "dev@example.com", "")
		if got := poll(t, id, map[string]string{"code_verifier": strings.Repeat("x", 43)}); got != "invalid_grant" {
			t.Error(got)
		}
		if got := poll(t, id, nil); got != "invalid_grant" {
			t.Errorf("after a wrong verifier: %s", got)
		}
	})
	t.Run("another client", func(t *testing.T) {
		id, user := begin(t)
		decide(t, user, "dev@example.com", "")
		if got := poll(t, id, map[string]string{"client_id": "other"}); got != "invalid_grant" {
			t.Error(got)
		}
	})
	t.Run("used twice", func(t *testing.T) {
		id, user := begin(t)
		decide(t, user, "dev@example.com", "")
		if first, second := poll(t, id, nil), poll(t, id, nil); first != "token" || second != "invalid_grant" {
			t.Errorf("%s, then %s", first, second)
		}
	})
	t.Run("wrong code or address", func(t *testing.T) {
		_, user := begin(t)
		if decide(t, "BBBB-BBBB", "dev@example.com", "") != http.StatusBadRequest || decide(t, user, "dev", "") != http.StatusBadRequest {
			t.Error("accepted")
		}
	})
	t.Run("challenge without S256", func(t *testing.T) {
		if resp, _ := post(t, p.url+"/device_authorization", url.Values{"client_id": {"sigstore"}, "code_challenge": {challenge(verifier)}}); resp.StatusCode != http.StatusBadRequest {
			t.Error(resp.StatusCode)
		}
	})
	t.Run("too many", func(t *testing.T) {
		for len(p.devices.byID) < maxDevices {
			begin(t)
		}
		if resp, raw := post(t, p.url+"/device_authorization", url.Values{"client_id": {"sigstore"}}); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%d %s", resp.StatusCode, raw)
		}
		p.clock.Advance(2 * deviceLifetime)
		begin(t)
		if n := len(p.devices.byID); n != 1 {
			t.Errorf("%d devices are left after they expired", n)
		}
	})
}

// A machine of the development issuer has a URI for a name, which its certificate carries.
func TestUpstreamClientCredentials(t *testing.T) {
	p := start(t)
	tok, err := oauthflow.OIDConnect(p.url, "sigstore", "secret", "", oauthflow.NewClientCredentialsFlow(p.url))
	if err != nil {
		t.Fatal(err)
	}
	verified, id := p.verify(t, tok.RawString)
	if want := p.url + "/clients/sigstore"; id.SANText != want || id.Challenge != tok.Subject || verified.Claims["email"] != nil {
		t.Errorf("identity %+v, claims %v", id, verified.Claims)
	}
}

func TestMint(t *testing.T) {
	p := start(t)
	now := p.clock.Now().Unix()
	for _, tc := range []struct {
		name, in string
		want     map[string]any // of the token's claims; nil means absent
	}{
		{"an address", `{"email":"a@example.com"}`, map[string]any{"iss": p.url, "aud": "sigstore", "sub": "user:a@example.com", "email_verified": true, "iat": now, "nbf": now, "exp": now + 3600}},
		{"a workflow", `{"repository":"o/r","ref":"refs/heads/main"}`, map[string]any{"sub": "repo:o/r:ref:refs/heads/main", "email": nil, "email_verified": nil}},
		{"a subject", `{"sub":"x"}`, map[string]any{"sub": "x", "email_verified": nil}},
		{"everything its own", `{"sub":"x","aud":["a","b"],"exp":1,"iat":2,"nbf":3,"email":"a@example.com","email_verified":false}`, map[string]any{"aud": []any{"a", "b"}, "exp": 1, "iat": 2, "nbf": 3, "email_verified": false, "sub": "x"}},
		{"left out on purpose", `{"email":"a@example.com","sub":null,"email_verified":null,"exp":null,"aud":null}`, map[string]any{"sub": nil, "email_verified": nil, "exp": nil, "aud": nil}},
		{"our issuer by name", `{"sub":"x","iss":"` + p.url + `"}`, map[string]any{"iss": p.url}},
		{"large numbers stay what they are", `{"sub":"x","n":9007199254740993}`, map[string]any{"n": json.Number("9007199254740993")}},
		{"angle brackets are not escaped", `{"sub":"<x>"}`, map[string]any{"sub": "<x>"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp, err := http.Post(p.url+"/mint", "application/json", strings.NewReader(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			raw := body(t, resp)
			if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") || strings.HasSuffix(raw, "\n") {
				t.Fatalf("%d %v %q", resp.StatusCode, resp.Header, raw)
			}
			claims := claimsOf(t, raw)
			for k, want := range tc.want {
				if got := claims[k]; fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s = %v, want %v", k, got, want)
				}
			}
		})
	}
	for name, in := range map[string]string{
		"empty": "", "a list": `[]`, "null": "null", "nobody": `{}`, "another issuer": `{"sub":"x","iss":"https://accounts.google.com"}`,
		"issuer with a slash": `{"sub":"x","iss":"` + p.url + `/"}`, "a claim twice": `{"sub":"x","SUB":"y"}`, "two values": `{"sub":"x"}{}`, "not UTF-8": "{\"sub\":\"\xff\"}",
	} {
		resp, err := http.Post(p.url+"/mint", "application/json", strings.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		if raw := body(t, resp); resp.StatusCode != http.StatusBadRequest || decodeJSON(t, raw)["error_description"] == "" {
			t.Errorf("%s: %d %s", name, resp.StatusCode, raw)
		}
	}
}

func claimsOf(t testing.TB, raw string) map[string]any {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	if err := dec.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// The endpoint behaves as GitHub's does towards the clients' own code: a query is there already.
func TestActionsToken(t *testing.T) {
	p := start(t)
	ask := func(t *testing.T, query, authorization string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/actions/token?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body(t, resp)
	}
	bearer := func(claims string) string { return "bearer " + base64.RawURLEncoding.EncodeToString([]byte(claims)) }
	for _, tc := range []struct{ name, query, auth, san, sub string }{
		{"as it comes", "x=1&audience=sigstore", "bearer anything",
			"https://github.com/sigbox/example/.github/workflows/release.yml@refs/heads/main", "repo:sigbox/example:ref:refs/heads/main"},
		{"sigstore-java's capital B, another run in the query", "repository=org/app&ref=refs/tags/v1&workflow=ship&audience=sigstore", "Bearer x",
			"https://github.com/org/app/.github/workflows/ship.yml@refs/tags/v1", "repo:org/app:ref:refs/tags/v1"},
		{"claims in the token", "audience=sigstore", bearer(`{"sub":"repo:a/b:environment:prod","job_workflow_ref":"a/b/c.yml@refs/heads/x"}`),
			"https://github.com/a/b/c.yml@refs/heads/x", "repo:a/b:environment:prod"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, raw := ask(t, tc.query, tc.auth)
			value, _ := decodeJSON(t, raw)["value"].(string)
			if status != http.StatusOK || value == "" {
				t.Fatalf("%d %s", status, raw)
			}
			tok, id := p.verify(t, value)
			if id.SANText != tc.san || id.Challenge != tc.sub || tok.Claims["email"] != nil || len(id.Extensions) != 22 {
				t.Errorf("SAN %q, challenge %q, %d extensions", id.SANText, id.Challenge, len(id.Extensions))
			}
		})
	}
	if _, raw := ask(t, "x=1", "bearer x"); claimsOf(t, decodeJSON(t, raw)["value"].(string))["aud"] != "https://github.com/sigbox" {
		t.Error("the audience without one asked for is not GitHub's")
	}
	for name, auth := range map[string]string{"no token": "", "basic": "Basic eDp5", "empty token": "bearer "} {
		if status, raw := ask(t, "audience=sigstore", auth); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, status, raw)
		}
	}
	if status, raw := ask(t, "audience=sigstore", bearer(`{"sub":`)); status != http.StatusBadRequest {
		t.Errorf("broken claims: %d %s", status, raw)
	}
}

// Tokens verify with go-oidc over the network, as any other OpenID Connect client does it.
func TestGoOIDC(t *testing.T) {
	p := start(t)
	provider, err := gooidc.NewProvider(t.Context(), p.url)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := p.Mint(map[string]any{"email": "dev@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := provider.Verifier(&gooidc.Config{ClientID: "sigstore"}).Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if subject, err := oauthflow.SubjectFromToken(tok); err != nil || subject != "dev@example.com" {
		t.Errorf("%q, %v", subject, err)
	}
}

func TestFetchToken(t *testing.T) {
	p := start(t)
	raw, err := FetchToken(t.Context(), p.url+"/", map[string]any{"email": "dev@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	p.verify(t, raw)
	other := func(status int, text string) string {
		mux := http.NewServeMux()
		mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, text) })
		return serve(t, mux)
	}
	for _, tc := range []struct{ name, url, want string }{
		{"nothing listens", "http://127.0.0.1:1", `sigbox up`},
		{"no URL", "127.0.0.1:8080", "is not the URL"},
		{"no such endpoint", other(http.StatusNotFound, "404"), "has no development issuer"},
		{"another host name", other(http.StatusMisdirectedRequest, ""), "host name"},
		{"another server", other(http.StatusOK, "<html>hello</html>"), "is no token"},
		{"a broken server", other(http.StatusInternalServerError, "boom"), "status 500"},
	} {
		if _, err := FetchToken(t.Context(), tc.url, map[string]any{"sub": "x"}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q in it", tc.name, err, tc.want)
		}
	}
	if _, err := FetchToken(t.Context(), p.url, map[string]any{}); err == nil || !strings.Contains(err.Error(), "email, repository and sub") {
		t.Errorf("no claims: %v", err)
	}
}

func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	return web.URL
}
