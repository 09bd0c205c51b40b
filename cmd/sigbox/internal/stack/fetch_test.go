package stack

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/oidc"
)

// TestFetch: each row is one thing of ca.fetch, and what it does to how an issuer's keys are fetched. A token
// with a signature that is none says whether they could be.
func TestFetch(t *testing.T) {
	const had, missing, refused = oidc.ReasonSignature, oidc.ReasonUnavailable, oidc.ReasonDiscovery
	jwks := &httptest.Server{Config: &http.Server{Handler: keySet(t), ReadHeaderTimeout: time.Minute}}
	var err error
	if jwks.Listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.2:0"); err != nil {
		t.Fatal(err)
	}
	jwks.Start()
	t.Cleanup(jwks.Close)
	asked := atomic.Int32{}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) { asked.Add(1) }})
	t.Cleanup(proxy.Close)
	through := config.Origin(proxy.URL)
	for _, tc := range []struct {
		name      string
		tls       bool // of the issuer
		elsewhere bool // its keys are at another private address
		fetch     *config.Fetch
		want      oidc.Reason
		asked     int32 // of the proxy
	}{
		{"nothing", false, false, nil, had, 0},
		{"proxy", false, false, &config.Fetch{Proxy: through}, had, 2},
		{"proxy, and the host directly", false, false, &config.Fetch{Proxy: through, Direct: []config.Host{"127.0.0.1"}}, had, 0},
		{"proxy, and another host directly", false, false, &config.Fetch{Proxy: through, Direct: []config.Host{"127.0.0.2"}}, had, 2},
		{"a certificate of nobody's", true, false, &config.Fetch{}, missing, 0},
		{"its roots", true, false, &config.Fetch{Certificates: "roots.pem"}, had, 0},
		{"a private address", false, true, &config.Fetch{}, refused, 0},
		{"its network", false, true, &config.Fetch{Private: []config.Network{"127.0.0.2/32"}}, had, 0},
		{"another network", false, true, &config.Fetch{Private: []config.Network{"127.0.0.3/32"}}, refused, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			issuer, dir := httptest.NewUnstartedServer(nil), t.TempDir()
			issuer.Config.ErrorLog = log.New(io.Discard, "", 0)
			if tc.tls {
				issuer.StartTLS()
				put(t, dir, "roots.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw})), 0o644)
			} else {
				issuer.Start()
			}
			t.Cleanup(issuer.Close)
			mux, at := http.NewServeMux(), issuer.URL
			if tc.elsewhere {
				at = jwks.URL
			}
			mux.Handle("/keys", keySet(t))
			mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"issuer": %q, "jwks_uri": %q}`, issuer.URL, at+"/keys")
			})
			issuer.Config.Handler = mux
			put(t, dir, "issuers.yaml", fmt.Sprintf(oneIssuer, issuer.URL, issuer.URL), 0o644)
			if tc.fetch != nil && tc.fetch.Certificates != "" {
				tc.fetch.Certificates = config.File(filepath.Join(dir, string(tc.fetch.Certificates)))
			}
			asked.Store(0)
			i := &issuers{clock: clock.System{}, log: slog.New(slog.DiscardHandler)}
			cfg := &config.Config{CA: &config.CA{Issuers: config.File(filepath.Join(dir, "issuers.yaml")), Fetch: tc.fetch}}
			if err := i.load(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			_, err := i.trust().Verifier.Verify(t.Context(), unsigned(issuer.URL))
			var reason *oidc.TokenError
			if !errors.As(err, &reason) || reason.Reason != tc.want || asked.Load() != tc.asked {
				t.Errorf("%v, and the proxy was asked %d times; want %s and %d", err, asked.Load(), tc.want, tc.asked)
			}
			before := i.now.Load().verifier
			if err := i.load(t.Context(), cfg); err != nil || i.now.Load().verifier != before {
				t.Errorf("what has not changed was read anew: %v", err)
			}
			cfg.CA.Fetch = &config.Fetch{Direct: []config.Host{"changed.example.com"}}
			if err := i.load(t.Context(), cfg); err != nil || i.now.Load().verifier == before {
				t.Errorf("a change was not taken over: %v", err)
			}
		})
	}
}

// keySet answers a key set with one key, 1.
func keySet(t *testing.T) http.Handler {
	t.Helper()
	raw, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: newKey(t, keys.NewRSA).Public(), KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(raw) })
}

// unsigned is a token of an issuer that is right but for its signature.
func unsigned(issuer string) string {
	now := time.Now().Unix()
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return strings.Join([]string{
		part(`{"alg":"RS256","kid":"1"}`),
		part(fmt.Sprintf(`{"iss":%q,"aud":"sigstore","sub":"x","email":"dev@example.com","email_verified":true,"iat":%d,"exp":%d}`, issuer, now, now+60)),
		part(strings.Repeat("x", 256)),
	}, ".")
}
