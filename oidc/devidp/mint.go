package devidp

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sigbox/sigbox/internal/httpx"
)

const (
	defaultAudience = "sigstore"
	lifetime        = time.Hour
	maxBody         = 64 << 10
)

// ErrClaims says that the claims asked for cannot be put into a token; its text says why.
var ErrClaims = errors.New("claims refused")

// Mint signs a token over the claims, with what is missing filled in as the package comment says.
// Numbers may be json.Number. The error is an ErrClaims, or the signer's.
func (s *Server) Mint(claims map[string]any) (string, error) {
	now := s.clock.Now()
	out := map[string]any{
		"iss": s.issuer, "aud": defaultAudience,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(lifetime).Unix(),
	}
	if email, ok := claims["email"].(string); ok && email != "" {
		out["sub"], out["email_verified"] = "user:"+email, true
	} else if repo, ok := claims["repository"].(string); ok {
		ref, _ := claims["ref"].(string)
		out["sub"] = "repo:" + repo + ":ref:" + ref
	}
	for name, v := range claims {
		if v == nil {
			delete(out, name)
			continue
		}
		out[name] = v
	}
	if iss, given := claims["iss"]; given && iss != nil && iss != s.issuer {
		return "", fmt.Errorf("%w: iss can only be %s, or be left out", ErrClaims, s.issuer)
	}
	if _, given := claims["sub"]; !given && out["sub"] == nil {
		return "", fmt.Errorf("%w: want at least one of email, repository and sub", ErrClaims)
	}
	return s.sign(out)
}

// sign makes a compact JWS (RFC 7515) with RS256.
func (s *Server) sign(claims map[string]any) (string, error) {
	header, err := encode(map[string]string{"alg": "RS256", "kid": s.public.KeyID, "typ": "JWT"})
	if err != nil {
		return "", err
	}
	payload, err := encode(claims)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrClaims, err)
	}
	digest := sha256.Sum256([]byte(header + "." + payload))
	sig, err := s.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return header + "." + payload + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}

func encode(v any) (string, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(bytes.TrimSuffix(buf.Bytes(), []byte("\n"))), nil
}

// mint is POST /mint.
func (s *Server) mint(w http.ResponseWriter, r *http.Request) {
	body, err := httpx.ReadBody(w, r, maxBody)
	if err != nil {
		badRequest(w, err)
		return
	}
	claims, err := decodeClaims(body)
	if err != nil {
		badRequest(w, err)
		return
	}
	token, err := s.Mint(claims)
	if err != nil {
		s.mintError(w, r, err)
		return
	}
	httpx.Write(w, http.StatusOK, "text/plain; charset=utf-8", []byte(token))
}

func decodeClaims(body []byte) (map[string]any, error) {
	v, err := httpx.ParseJSON(body)
	if err != nil {
		return nil, err
	}
	claims, ok := v.(map[string]any)
	if !ok {
		return nil, httpx.Errorf(http.StatusBadRequest, "want one JSON object of claims")
	}
	return claims, nil
}

// mintError tells claims that cannot be signed from a signer that fails.
func (s *Server) mintError(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, ErrClaims) {
		oauthError(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	s.log.ErrorContext(r.Context(), "development issuer: mint", "request_id", httpx.RequestID(r.Context()), "error", err)
	oauthError(w, http.StatusInternalServerError, "server_error", "the token could not be signed")
}

// badRequest answers with an httpx refusal in the OAuth shape.
func badRequest(w http.ResponseWriter, err error) {
	var refusal *httpx.Error
	if !errors.As(err, &refusal) {
		refusal = httpx.Errorf(http.StatusBadRequest, "request could not be read")
	}
	oauthError(w, refusal.Status, "invalid_request", refusal.Message)
}
