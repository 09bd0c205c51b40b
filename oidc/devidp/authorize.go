package devidp

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sigbox/sigbox/ca/profile"
	"github.com/sigbox/sigbox/internal/httpx"
)

const (
	codeLifetime = 2 * time.Minute
	maxCodes     = 1024
	maxParam     = 2048
	// oob asks for the code on the page instead of a redirect, for clients without a listener.
	oob = "urn:ietf:wg:oauth:2.0:oob"
)

// grant is what a code stands for.
type grant struct {
	client, redirect, challenge, nonce, email string
}

// authRequest is a checked authorization request (RFC 6749 section 4.1.1, RFC 7636 section 4.3).
type authRequest struct {
	client, redirect, state, nonce, challenge, hint string
}

// refusal is why an authorization request goes no further. Until client and redirect are known to be
// good it is shown to the person at the browser; after that the client is told by redirect.
type refusal struct{ code, text string }

// parseAuth checks a request. redirectable says that a refusal may go to the redirect URI.
func parseAuth(q url.Values) (req authRequest, redirectable bool, bad *refusal) {
	for name, v := range q {
		if len(v) != 1 || len(v[0]) > maxParam {
			return req, false, &refusal{"invalid_request", fmt.Sprintf("parameter %q is repeated or too long", clip(name))}
		}
	}
	req = authRequest{client: q.Get("client_id"), redirect: q.Get("redirect_uri"), state: q.Get("state"),
		nonce: q.Get("nonce"), challenge: q.Get("code_challenge"), hint: q.Get("login_hint")}
	if !validClient(req.client) {
		return req, false, &refusal{"invalid_request", "client_id is missing or malformed"}
	}
	if !validRedirect(req.redirect) {
		return req, false, &refusal{"invalid_request", "redirect_uri must be http://localhost or http://127.0.0.1, on any port and path, or " + oob}
	}
	switch {
	case q.Has("request") || q.Has("request_uri"):
		return req, true, &refusal{"request_not_supported", "request objects are not supported"}
	case q.Get("response_type") != "code":
		return req, true, &refusal{"unsupported_response_type", "response_type must be code"}
	case q.Get("code_challenge_method") != "S256":
		return req, true, &refusal{"invalid_request", "code_challenge_method must be S256: PKCE is required"}
	case !validChallenge(req.challenge):
		return req, true, &refusal{"invalid_request", "code_challenge is missing or not the base64url of a SHA-256"}
	}
	return req, true, nil
}

func validClient(s string) bool {
	return s != "" && len(s) <= 128 && strings.IndexFunc(s, func(r rune) bool { return r <= 0x20 || r >= 0x7f }) < 0
}

// validRedirect lets codes go to a listener on the same machine only (RFC 8252 section 7.3).
func validRedirect(s string) bool {
	if s == oob {
		return true
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" || u.User != nil || u.Fragment != "" || strings.Contains(s, "#") {
		return false
	}
	switch u.Hostname() {
	case "localhost", "127.0.0.1", "::1":
		return true
	}
	return false
}

func validChallenge(s string) bool {
	return len(s) == 43 && strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", r)
	}) < 0
}

// signInPage is GET /auth.
func (s *Server) signInPage(w http.ResponseWriter, r *http.Request) {
	if req, ok := s.authRequest(w, r); ok {
		s.showSignIn(w, r, req, http.StatusOK, req.hint, "")
	}
}

// authRequest reads the query, which GET and POST share, and answers where it is refused.
func (s *Server) authRequest(w http.ResponseWriter, r *http.Request) (authRequest, bool) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		s.showError(w, http.StatusBadRequest, "the request's parameters cannot be read")
		return authRequest{}, false
	}
	req, redirectable, bad := parseAuth(q)
	switch {
	case bad == nil:
		return req, true
	case redirectable && req.redirect != oob:
		http.Redirect(w, r, withQuery(req.redirect, url.Values{"error": {bad.code}, "error_description": {bad.text}, "state": {req.state}}), http.StatusSeeOther)
	default:
		s.showError(w, http.StatusBadRequest, bad.text)
	}
	return authRequest{}, false
}

// signIn is POST /auth: the form's e-mail address, for the request in the query.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	req, ok := s.authRequest(w, r)
	if !ok {
		return
	}
	form, err := readForm(w, r)
	if err != nil {
		badRequest(w, err)
		return
	}
	email := strings.TrimSpace(form.Get("email"))
	if err := profile.CheckEmail(email); err != nil {
		s.showSignIn(w, r, req, http.StatusBadRequest, email, err.Error())
		return
	}
	code := random()
	if !s.codes.put(code, grant{req.client, req.redirect, req.challenge, req.nonce, email}, codeLifetime) {
		s.showError(w, http.StatusServiceUnavailable, "too many sign-ins are waiting; try again in two minutes")
		return
	}
	if req.redirect == oob {
		s.showCode(w, code)
		return
	}
	http.Redirect(w, r, withQuery(req.redirect, url.Values{"code": {code}, "state": {req.state}}), http.StatusSeeOther)
}

// withQuery adds parameters to a redirect URI and keeps those that it has.
func withQuery(redirect string, add url.Values) string {
	u, err := url.Parse(redirect)
	if err != nil { // validRedirect parsed it
		return redirect
	}
	q := u.Query()
	for name, v := range add {
		if v[0] != "" {
			q[name] = v
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// readForm reads a form body of distinct fields, each bounded.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if t := httpx.MediaType(r); t != "application/x-www-form-urlencoded" {
		return nil, httpx.Errorf(http.StatusUnsupportedMediaType, "want Content-Type application/x-www-form-urlencoded")
	}
	body, err := httpx.ReadBody(w, r, maxBody)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || len(form) > 64 {
		return nil, httpx.Errorf(http.StatusBadRequest, "form body cannot be read")
	}
	for name, v := range form {
		if len(v) != 1 || len(v[0]) > maxParam {
			return nil, httpx.Errorf(http.StatusBadRequest, "form field %q is repeated or too long", clip(name))
		}
	}
	return form, nil
}
