package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox/internal/clock"
)

// start is the time at which the tests' clocks stand.
var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// testKeys are made once: RSA keys take a while.
var testKeys = sync.OnceValue(func() (k struct {
	rsa, other, small *rsa.PrivateKey
	p256, p384        *ecdsa.PrivateKey
	ed                ed25519.PrivateKey
}) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.other, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.small, err = rsa.GenerateKey(rand.Reader, 1024)
	must(err)
	k.p256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.p384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return k
})

// issuer is a real issuer on loopback whose documents a test can replace.
type issuer struct {
	*httptest.Server
	mu        sync.Mutex
	algs      []string
	jwks      func() any
	discovery func(w http.ResponseWriter, r *http.Request)
	keys      func(w http.ResponseWriter, r *http.Request)

	asked, askedKeys atomic.Int32
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{algs: []string{"RS256", "PS256", "ES256", "ES384"}}
	k := testKeys()
	i.jwks = func() any {
		return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
			{Key: k.rsa.Public(), KeyID: "rsa", Algorithm: "RS256", Use: "sig"},
			{Key: k.p256.Public(), KeyID: "p256"},
			{Key: k.p384.Public(), KeyID: "p384"},
			{Key: k.ed.Public(), KeyID: "ed"},
		}}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		i.mu.Lock()
		f := i.discovery
		i.mu.Unlock()
		if f != nil {
			f(w, r)
			return
		}
		i.document(w, map[string]any{})
	})
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, r *http.Request) {
		i.askedKeys.Add(1)
		i.mu.Lock()
		f, set := i.keys, i.jwks
		i.mu.Unlock()
		if f != nil {
			f(w, r)
			return
		}
		writeJSON(w, set())
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// set replaces the issuer's answers while it serves.
func (i *issuer) set(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

func (i *issuer) document(w http.ResponseWriter, over map[string]any) {
	doc := map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/jwks", "authorization_endpoint": i.URL + "/auth",
		"token_endpoint": i.URL + "/token", "id_token_signing_alg_values_supported": i.algs}
	for k, v := range over {
		doc[k] = v
	}
	writeJSON(w, doc)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may have hung up
}

// config trusts the issuers for audience sigstore, type email.
func config(t testing.TB, issuers ...Issuer) *Config {
	t.Helper()
	c := &Config{}
	for _, i := range issuers {
		if i.Audience == "" {
			i.Audience = "sigstore"
		}
		if i.Type == "" {
			i.Type = TypeEmail
		}
		if err := c.Add(i); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (i *issuer) verifier(t testing.TB, opts Options) *Verifier {
	t.Helper()
	if opts.Clock == nil {
		opts.Clock = clock.NewManual(start)
	}
	return NewVerifier(config(t, Issuer{URL: i.URL}), opts)
}

// claims are those of a good token.
func (i *issuer) claims(over map[string]any) map[string]any {
	c := map[string]any{"iss": i.URL, "sub": "somebody", "aud": "sigstore", "email": "dev@example.com", "email_verified": true,
		"iat": start.Unix(), "nbf": start.Unix(), "exp": start.Add(10 * time.Minute).Unix()}
	for k, v := range over {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

// token signs the claims of a good token, changed by over, with the issuer's RSA key.
func (i *issuer) token(t testing.TB, over map[string]any) string {
	t.Helper()
	return sign(t, testKeys().rsa, "RS256", map[string]any{"kid": "rsa", "typ": "JWT"}, i.claims(over))
}

// sign makes a compact JWS over claims: a []byte as it is, anything else as JSON.
func sign(t testing.TB, key any, alg string, header map[string]any, claims any) string {
	t.Helper()
	payload, ok := claims.([]byte)
	if !ok {
		var err error
		if payload, err = json.Marshal(claims); err != nil {
			t.Fatal(err)
		}
	}
	opts := &jose.SignerOptions{}
	for k, v := range header {
		opts = opts.WithHeader(jose.HeaderKey(k), v)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// signRaw signs a header that jose would not write, with the issuer's RSA key and RS256.
func signRaw(t testing.TB, header string, claims any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	input := b64([]byte(header)) + "." + b64(payload)
	h := crypto.SHA256.New()
	h.Write([]byte(input))
	sig, err := testKeys().rsa.Sign(rand.Reader, h.Sum(nil), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + b64(sig)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func reasonOf(err error) string {
	if te, ok := err.(*TokenError); ok {
		return string(te.Reason)
	}
	return fmt.Sprintf("no TokenError: %v", err)
}

func b64dec(s string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(s) }
