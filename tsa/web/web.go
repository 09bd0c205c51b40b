package web

import (
	"context"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/tsa"
)

const (
	maxBody = 1 << 20 // upstream's default, bytes
	maxJSON = 1 << 10 // upstream's limit for the JSON form: reading a decimal nonce is quadratic

	typeQuery = "application/timestamp-query"
	typeReply = "application/timestamp-reply"
	typeJSON  = "application/json"
	typeChain = "application/pem-certificate-chain"
)

// The texts that clients of upstream's server know.
const (
	textFailed    = "Error generating timestamp response"
	textTooLarge  = "timestamp request is too large"
	textWeakHash  = "Weak hash algorithm in timestamp request"
	textDigest    = "Message digest has incorrect length for specified algorithm"
	textOID       = "OID should be comprised of at most 128 components"
	textPolicy    = "unaccepted policy: requested TSA policy is not supported by the TSA"
	textExtension = "unaccepted extension: requested extensions are not supported by the TSA"
	textTime      = "time source not trusted"
	textMedia     = "unsupported media type, only [application/timestamp-query application/json] are allowed"
)

// Face answers timestamp requests from an authority.
type Face struct {
	used   atomic.Pointer[used]
	quotas *quota.Quotas
	log    *slog.Logger
}

// used is what is answered from now.
type used struct {
	authority *tsa.Authority
	chain     []byte
}

// New returns a face over authority. Nil quotas are none; a nil log writes nothing.
func New(authority *tsa.Authority, quotas *quota.Quotas, log *slog.Logger) *Face {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &Face{quotas: quotas, log: log}
	f.Use(authority)
	return f
}

// Use has another authority answer from now on.
func (f *Face) Use(authority *tsa.Authority) {
	f.used.Store(&used{authority, authority.ChainPEM()})
}

// Register adds the face's routes to mux.
func (f *Face) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v1/timestamp", f.stamp)
	mux.HandleFunc("GET /api/v1/timestamp/certchain", f.certChain)
}

func (f *Face) certChain(w http.ResponseWriter, _ *http.Request) {
	httpx.Write(w, http.StatusOK, typeChain, f.used.Load().chain)
}

func (f *Face) stamp(w http.ResponseWriter, r *http.Request) {
	visit, err := f.quotas.Arrive(r)
	if err != nil {
		f.refuse(w, r, refusalOf(err))
		return
	}
	defer visit.End()
	resp, refused := f.answer(w, r)
	if refused != nil {
		visit.Settle(refused.status >= http.StatusInternalServerError)
		f.refuse(w, r, refused)
		return
	}
	visit.Settle(false)
	httpx.Write(w, http.StatusCreated, typeReply, resp)
}

func (f *Face) answer(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	media, ok := mediaType(r)
	if !ok {
		return nil, &refusal{http.StatusUnsupportedMediaType, textMedia, nil}
	}
	body, err := httpx.ReadBody(w, r, maxBody)
	if err != nil {
		var e *httpx.Error
		errors.As(err, &e)
		return nil, &refusal{e.Status, e.Message, err}
	}
	parse := parseQuery
	if media == typeJSON {
		parse = parseJSON
	}
	req, refused := parse(body)
	if refused != nil {
		return nil, refused
	}
	return f.stampParsed(r.Context(), req)
}

func (f *Face) stampParsed(ctx context.Context, req tsa.Request) ([]byte, *refusal) {
	resp, err := f.used.Load().authority.Stamp(ctx, req)
	if err != nil {
		return nil, refusalOf(err)
	}
	return resp, nil
}

// mediaType takes the two types, in UTF-8 where a character set is named.
func mediaType(r *http.Request) (string, bool) {
	t, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || t != typeQuery && t != typeJSON {
		return "", false
	}
	if cs, ok := params["charset"]; ok && !strings.EqualFold(cs, "utf-8") {
		return "", false
	}
	return t, true
}

// refusal is an answer that is not a timestamp: what the client reads and why.
type refusal struct {
	status int
	text   string
	cause  error
}

func (f *Face) logRefused(ctx context.Context, ref *refusal) {
	level := slog.LevelWarn
	if ref.status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	f.log.Log(ctx, level, "timestamp refused", "request_id", httpx.RequestID(ctx), "status", ref.status, "text", ref.text, "cause", ref.cause)
}

func (f *Face) refuse(w http.ResponseWriter, r *http.Request, ref *refusal) {
	f.logRefused(r.Context(), ref)
	var exceeded *quota.ExceededError
	switch {
	case errors.As(ref.cause, &exceeded):
		w.Header().Set("Retry-After", strconv.Itoa(exceeded.Seconds()))
	case ref.status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Set(httpx.ErrorCode, codeOf(ref))
	httpx.WriteJSON(w, ref.status, struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{ref.status, ref.text})
}

// codeOf is the word for a refusal.
func codeOf(ref *refusal) string {
	for _, row := range []struct {
		is   error
		code string
	}{
		{tsa.ErrWeakHash, "weak_hash"}, {tsa.ErrDigestLength, "digest_length"}, {tsa.ErrPolicy, "policy"}, {tsa.ErrExtension, "extension"},
		{tsa.ErrNonce, "nonce"}, {tsa.ErrUnsupportedHash, "hash"}, {tsa.ErrTime, "clock"},
	} {
		if errors.Is(ref.cause, row.is) {
			return row.code
		}
	}
	return httpx.CodeOf(ref.status)
}

// refusalOf is the one table from the authority's errors to answers.
func refusalOf(err error) *refusal {
	var exceeded *quota.ExceededError
	if errors.As(err, &exceeded) {
		return &refusal{http.StatusTooManyRequests, exceeded.Error(), err}
	}
	for _, row := range []struct {
		is     error
		status int
		text   string
	}{
		{tsa.ErrWeakHash, http.StatusBadRequest, textWeakHash},
		{tsa.ErrDigestLength, http.StatusBadRequest, textDigest},
		{tsa.ErrPolicy, http.StatusBadRequest, textPolicy},
		{tsa.ErrExtension, http.StatusBadRequest, textExtension},
		{tsa.ErrNonce, http.StatusBadRequest, textTooLarge},
		{tsa.ErrMalformed, http.StatusBadRequest, textFailed},
		{tsa.ErrUnsupportedHash, http.StatusBadRequest, textFailed},
		{tsa.ErrTime, http.StatusServiceUnavailable, textTime},
	} {
		if errors.Is(err, row.is) {
			return &refusal{row.status, row.text, err}
		}
	}
	return &refusal{http.StatusInternalServerError, textFailed, err}
}
