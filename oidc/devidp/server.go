package devidp

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/oidc"
)

// Config is what the wiring decides.
type Config struct {
	Issuer       string        // the origin, scheme://host[:port] without a slash at the end; iss of every token
	Key          crypto.Signer // RSA, 2048 bits or more
	Clock        clock.Clock   // nil: the system's
	Logger       *slog.Logger  // nil: none
	AllowedHosts []string      // Host header values accepted besides the issuer's own
}

// Server is the provider. It is safe for concurrent use and has nothing to run or to close.
type Server struct {
	issuer string
	hosts  map[string]bool
	key    crypto.Signer
	public jose.JSONWebKey
	clock  clock.Clock
	log    *slog.Logger
	origin *http.CrossOriginProtection
	pages  *template.Template

	codes   *vault[grant]
	devices *devices
}

// New returns a Server. It refuses an issuer that is not a bare origin and a key that is not RSA.
func New(c Config) (*Server, error) {
	u, err := url.Parse(c.Issuer)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Scheme+"://"+u.Host != c.Issuer {
		return nil, fmt.Errorf("development issuer %q is not an origin: want http://HOST:PORT", c.Issuer)
	}
	if c.Key == nil {
		return nil, errors.New("development issuer has no key")
	}
	pub, ok := c.Key.Public().(*rsa.PublicKey)
	if !ok || pub.N.BitLen() < 2048 {
		return nil, fmt.Errorf("development issuer's key is a %T: want RSA of 2048 bits or more, cosign accepts no other", c.Key.Public())
	}
	s := &Server{issuer: c.Issuer, key: c.Key, clock: c.Clock, log: c.Logger, origin: http.NewCrossOriginProtection(),
		hosts: map[string]bool{strings.ToLower(u.Host): true}}
	for _, h := range c.AllowedHosts {
		s.hosts[strings.ToLower(h)] = true
	}
	if s.clock == nil {
		s.clock = clock.System{}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.public = jose.JSONWebKey{Key: pub, Algorithm: string(jose.RS256), Use: "sig"}
	print, err := s.public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("development issuer's key id: %w", err)
	}
	s.public.KeyID = base64.RawURLEncoding.EncodeToString(print)
	if s.pages, err = parsePages(); err != nil {
		return nil, fmt.Errorf("development issuer's pages: %w", err)
	}
	s.codes = newVault[grant](s.clock, maxCodes)
	s.devices = newDevices(s.clock)
	return s, nil
}

// Issuer returns how a Fulcio configuration describes this provider: its tokens name a person, a
// workflow run, or a client of its own, and are told apart by their claims.
func (s *Server) Issuer() oidc.Issuer { return IssuerAt(s.issuer) }

// IssuerAt is Issuer for a provider that runs elsewhere.
func IssuerAt(url string) oidc.Issuer {
	return oidc.Issuer{
		URL: url, Audience: defaultAudience, Type: oidc.TypeEmail,
		Alternatives: []oidc.Type{oidc.TypeGitHub, oidc.TypeURI}, SubjectDomain: url,
		Description: "Development issuer of this sigbox: signs in anybody",
	}
}

// Keys returns the key set that verifies this provider's tokens, for oidc.Options.Keys.
func (s *Server) Keys() (oidc.KeySet, error) { return oidc.StaticKeys(s.public.Key) }

// JWKS returns the public key set document.
func (s *Server) JWKS() jose.JSONWebKeySet {
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{s.public}}
}

// Register adds the provider's routes.
func (s *Server) Register(mux *http.ServeMux) {
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /.well-known/openid-configuration": s.discovery,
		"GET /keys":                             s.keys,
		"GET /auth":                             s.signInPage,
		"POST /auth":                            s.signIn,
		"POST /token":                           s.token,
		"POST /device_authorization":            s.deviceAuthorization,
		"GET /device":                           s.devicePage,
		"POST /device":                          s.deviceDecision,
		"POST /mint":                            s.mint,
		"GET /actions/token":                    s.actionsToken,
	} {
		mux.Handle(pattern, s.guard(h))
	}
}

// guard refuses what a foreign web page could send.
func (s *Server) guard(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		// Not no-referrer: with that, browsers send "Origin: null" with the sign-in form.
		h.Set("Referrer-Policy", "same-origin")
		if !s.hosts[strings.ToLower(r.Host)] {
			s.log.WarnContext(r.Context(), "development issuer: Host refused", "request_id", httpx.RequestID(r.Context()), "host", clip(r.Host))
			oauthError(w, http.StatusMisdirectedRequest, "invalid_request", "this host name is not one of the development issuer's")
			return
		}
		if err := s.origin.Check(r); err != nil || len(r.Header.Values("Origin")) > 1 {
			s.log.WarnContext(r.Context(), "development issuer: cross-origin request refused", "request_id", httpx.RequestID(r.Context()), "origin", clip(r.Header.Get("Origin")))
			oauthError(w, http.StatusForbidden, "access_denied", "cross-origin requests are refused")
			return
		}
		next(w, r)
	})
}

func (s *Server) discovery(w http.ResponseWriter, _ *http.Request) {
	httpx.WriteJSON(w, http.StatusOK, map[string]any{
		"issuer":                                s.issuer,
		"authorization_endpoint":                s.issuer + "/auth",
		"token_endpoint":                        s.issuer + "/token",
		"device_authorization_endpoint":         s.issuer + "/device_authorization",
		"jwks_uri":                              s.issuer + "/keys",
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query"},
		"grant_types_supported":                 []string{grantCode, grantDevice, grantClient},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"code_challenge_methods_supported":      []string{"S256"},
		"scopes_supported":                      []string{"openid", "email"},
		"token_endpoint_auth_methods_supported": []string{"none", "client_secret_basic", "client_secret_post"},
		"claims_supported":                      []string{"iss", "sub", "aud", "exp", "iat", "nbf", "email", "email_verified"},
		"request_parameter_supported":           false,
		"request_uri_parameter_supported":       false,
	})
}

func (s *Server) keys(w http.ResponseWriter, _ *http.Request) {
	httpx.WriteJSON(w, http.StatusOK, s.JWKS())
}

// oauthError answers in the shape of RFC 6749 section 5.2.
func oauthError(w http.ResponseWriter, status int, code, description string) {
	httpx.WriteJSON(w, status, map[string]string{"error": code, "error_description": description})
}

// random returns 256 random bits as base64url.
func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func clip(s string) string {
	if len(s) > 128 {
		return s[:128] + "..."
	}
	return s
}
