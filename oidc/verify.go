package oidc

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox/internal/clock"
)

// Options configures a Verifier. The zero value is usable: system clock, no log, no static keys,
// the default HTTP policy.
type Options struct {
	Clock  clock.Clock
	Logger *slog.Logger
	// Keys are the key sets of issuers, by exact issuer URL, that need no network: the in-process
	// development issuer, or a JWKS file for the air gap.
	Keys map[string]KeySet
	// HTTP bounds how the keys of all other issuers are fetched.
	HTTP HTTPPolicy
	// Leeway is how far in the future nbf and iat may lie; 60 s if zero. exp has none, as upstream.
	Leeway time.Duration
	// MaxLifetime bounds how far in the future exp may lie; 24 h if zero.
	MaxLifetime time.Duration
	// MaxAge, if not zero, refuses tokens whose iat is older, or missing.
	MaxAge time.Duration
}

// Verifier checks tokens against a Config. It is safe for concurrent use.
type Verifier struct {
	cfg    *Config
	opts   Options
	remote *remote
}

// NewVerifier returns a Verifier of the issuers of cfg, which must not change any more.
func NewVerifier(cfg *Config, opts Options) *Verifier {
	if opts.Clock == nil {
		opts.Clock = clock.System{}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Leeway == 0 {
		opts.Leeway = time.Minute
	}
	if opts.MaxLifetime == 0 {
		opts.MaxLifetime = 24 * time.Hour
	}
	return &Verifier{cfg: cfg, opts: opts, remote: newRemote(opts.HTTP, opts.Clock, opts.Logger)}
}

// Verify checks a raw token (compact JWS, without "Bearer"). The error is always a *TokenError; it
// is an ErrUnavailable too where the issuer's keys could not be fetched.
func (v *Verifier) Verify(ctx context.Context, raw string) (*Token, error) {
	alg, payload, claims, err := dissect(raw)
	if err != nil {
		return nil, err
	}
	claimed, err := v.cfg.unverified(claims)
	if err != nil {
		return nil, err
	}
	issuer, iss := claimed.Issuer, claimed.IssuerURL
	now := v.opts.Clock.Now()
	if err := v.checkClaims(claims, issuer, now); err != nil {
		return nil, err
	}
	keys, algs, err := v.keys(ctx, issuer, iss)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(algs, alg) {
		return nil, Refuse(ReasonAlgorithm, "issuer %q does not advertise %s", clip(iss), alg)
	}
	seen := &witness{KeySet: keys}
	idToken, err := gooidc.NewVerifier(iss, seen, &gooidc.Config{
		ClientID: issuer.Audience, SupportedSigningAlgs: algs, Now: func() time.Time { return now },
	}).Verify(ctx, raw)
	if err != nil {
		if errors.Is(seen.err, errNoKey) {
			return nil, &TokenError{ReasonKey, err}
		}
		return nil, &TokenError{ReasonSignature, err}
	}
	if !bytes.Equal(seen.payload, payload) { // of one token: the claims that were read are those that were signed
		return nil, Refuse(ReasonMalformed, "the payload that was verified is not the one that was read")
	}
	return &Token{Issuer: issuer, IssuerURL: idToken.Issuer, Subject: idToken.Subject, Claims: claims}, nil
}

// witness keeps what a key set has verified, and its error, which go-oidc flattens to text.
type witness struct {
	KeySet
	payload []byte
	err     error
}

func (w *witness) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	w.payload, w.err = w.KeySet.VerifySignature(ctx, raw)
	return w.payload, w.err
}

func (v *Verifier) keys(ctx context.Context, issuer *Issuer, url string) (KeySet, []string, error) {
	if k, ok := v.opts.Keys[url]; ok {
		algs := make([]string, 0, len(algorithms()))
		for _, a := range algorithms() {
			algs = append(algs, string(a))
		}
		return k, algs, nil
	}
	return v.remote.keys(ctx, issuer, url)
}

// dissect takes a token apart without trusting it: size, three parts of plain base64url, a header
// that asks for nothing special, a payload that is one unambiguous object.
func dissect(raw string) (alg string, payload []byte, claims map[string]any, err error) {
	if raw == "" || len(raw) > MaxTokenBytes {
		return "", nil, nil, Refuse(ReasonSize, "token has %d bytes: want 1 to %d", len(raw), MaxTokenBytes)
	}
	if n := strings.Count(raw, "."); n != 2 {
		return "", nil, nil, Refuse(ReasonMalformed, "token has %d parts: want 3", n+1)
	}
	parts := strings.Split(raw, ".")
	var decoded [3][]byte
	for i, p := range parts {
		// Strict, and by hand: Go's decoder skips line breaks.
		if strings.ContainsAny(p, "\r\n") {
			return "", nil, nil, Refuse(ReasonMalformed, "part %d of the token holds a line break", i+1)
		}
		decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(p)
		if err != nil {
			return "", nil, nil, Refuse(ReasonMalformed, "part %d of the token is not canonical base64url", i+1)
		}
	}
	if alg, err = checkHeader(decoded[0]); err != nil {
		return "", nil, nil, err
	}
	if len(decoded[2]) == 0 {
		return "", nil, nil, Refuse(ReasonMalformed, "token has no signature")
	}
	claims, err = decodeObject(decoded[1])
	if err != nil {
		return "", nil, nil, Refuse(ReasonMalformed, "payload: %w", err)
	}
	return alg, decoded[1], claims, nil
}

// checkHeader returns the algorithm. Headers that point at keys (jku, jwk, x5u, x5c) are ignored.
func checkHeader(raw []byte) (string, error) {
	h, err := decodeObject(raw)
	if err != nil {
		return "", Refuse(ReasonMalformed, "header: %w", err)
	}
	alg, _ := h["alg"].(string)
	if !slices.Contains(algorithms(), jose.SignatureAlgorithm(alg)) {
		return "", Refuse(ReasonAlgorithm, "algorithm %q is not accepted", clip(alg))
	}
	for _, name := range []string{"crit", "b64", "zip", "enc"} {
		if _, ok := h[name]; ok {
			return "", Refuse(ReasonHeader, "header %s is not supported", name)
		}
	}
	if kid, ok := h["kid"]; ok {
		if s, isText := kid.(string); !isText || len(s) > maxIssuerBytes {
			return "", Refuse(ReasonHeader, "kid is not a string of at most %d bytes", maxIssuerBytes)
		}
	}
	return alg, nil
}
