package devidp

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"

	"github.com/sigbox/sigbox/internal/httpx"
)

// Grant types of POST /token.
const (
	grantCode   = "authorization_code"
	grantDevice = "urn:ietf:params:oauth:grant-type:device_code"
	grantClient = "client_credentials"
)

// token is POST /token (RFC 6749 section 3.2). Fields that it does not know are ignored: cosign
// sends nonce, others scope.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	form, err := readForm(w, r)
	if err != nil {
		badRequest(w, err)
		return
	}
	client, ok := clientID(r, form)
	if !ok {
		oauthError(w, http.StatusBadRequest, "invalid_client", "name the client as client_id or as the user of HTTP Basic, once")
		return
	}
	switch form.Get("grant_type") {
	case grantCode:
		s.codeToken(w, r, client, form)
	case grantDevice:
		s.deviceToken(w, r, client, form)
	case grantClient:
		s.answer(w, r, map[string]any{"aud": client, "sub": s.issuer + "/clients/" + url.PathEscape(client)})
	default:
		oauthError(w, http.StatusBadRequest, "unsupported_grant_type", "grant_type must be "+grantCode+", "+grantDevice+" or "+grantClient)
	}
}

// clientID takes the client's name from the form or from HTTP Basic, where sigstore-python puts it
// with an empty password. Clients are public: a secret is neither asked for nor looked at.
func clientID(r *http.Request, form url.Values) (string, bool) {
	id := form.Get("client_id")
	if user, _, ok := r.BasicAuth(); ok {
		name, err := url.QueryUnescape(user) // RFC 6749 section 2.3.1
		if err != nil || id != "" && id != name {
			return "", false
		}
		id = name
	}
	return id, validClient(id)
}

// codeToken redeems a code. Whatever is wrong, the code is used up (RFC 6749 section 4.1.2).
func (s *Server) codeToken(w http.ResponseWriter, r *http.Request, client string, form url.Values) {
	g, ok := s.codes.take(form.Get("code"))
	switch {
	case !ok:
		oauthError(w, http.StatusBadRequest, "invalid_grant", "the code is unknown, used or older than two minutes")
	case g.client != client || g.redirect != form.Get("redirect_uri"):
		oauthError(w, http.StatusBadRequest, "invalid_grant", "the code was issued to another client or redirect_uri")
	case !verifies(g.challenge, form.Get("code_verifier")):
		oauthError(w, http.StatusBadRequest, "invalid_grant", "code_verifier does not match the code_challenge")
	default:
		s.answer(w, r, person(g.client, g.email, g.nonce))
	}
}

// verifies checks a PKCE verifier (RFC 7636 section 4.6).
func verifies(challenge, verifier string) bool {
	if len(verifier) < 43 || len(verifier) > 128 {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(challenge), []byte(base64.RawURLEncoding.EncodeToString(sum[:]))) == 1
}

// person returns the claims of somebody who signed in.
func person(client, email, nonce string) map[string]any {
	claims := map[string]any{"aud": client, "email": email}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	return claims
}

// answer mints a token and returns it as id_token and as access_token: sigstore-python uses the
// latter as the identity. There is no at_hash, which would be the token's hash of itself.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, claims map[string]any) {
	token, err := s.Mint(claims)
	if err != nil {
		s.mintError(w, r, err)
		return
	}
	httpx.WriteJSON(w, http.StatusOK, map[string]any{
		"access_token": token, "id_token": token, "token_type": "Bearer", "expires_in": int(lifetime.Seconds()), "scope": "openid email",
	})
}
