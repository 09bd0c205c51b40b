package rekorv1

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/writers"
)

// statusClientClosed is what upstream answers when the client has gone.
const statusClientClosed = 499

// Codes of schema errors (go-openapi/errors); the status is 422 for all of them.
const (
	codeKind     = 422
	codeType     = 601
	codeRequired = 602
	codeTooLong  = 603
	codePattern  = 605
	codeEnum     = 606
	codeMinimum  = 609
	codeMaxItems = 611
	codeMinItems = 612
)

// problem is a refusal: a status, the code of its body, and a message for the client. The cause
// is for our log.
type problem struct {
	status, code int
	message      string
	cause        error
}

func (p *problem) Error() string { return p.message }
func (p *problem) Unwrap() error { return p.cause }

func refuse(status int, format string, args ...any) *problem {
	return &problem{status: status, code: status, message: fmt.Sprintf(format, args...)}
}

func schema(code int, format string, args ...any) *problem {
	return &problem{status: http.StatusUnprocessableEntity, code: code, message: fmt.Sprintf(format, args...)}
}

// errUnread is the cause where not even the kind of a proposed entry can be told.
var errUnread = errors.New("no kind")

func unreadable(code int, format string, args ...any) *problem {
	p := schema(code, format, args...)
	p.cause = errUnread
	return p
}

// asProblem turns any error into what the client is told.
func asProblem(err error) *problem {
	var p *problem
	var h *httpx.Error
	var refused *writers.RefusedError
	var exceeded *quota.ExceededError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &h):
		message := h.Message
		if h.Status == http.StatusRequestEntityTooLarge {
			message += " (tlog.limits.body)" // upstream's words, and what an operator looks for
		}
		return &problem{h.Status, h.Status, message, err}
	case errors.As(err, &refused):
		return &problem{http.StatusForbidden, http.StatusForbidden, refused.Error(), err}
	case errors.As(err, &exceeded):
		return &problem{http.StatusTooManyRequests, http.StatusTooManyRequests, exceeded.Error(), err}
	case errors.Is(err, tlog.ErrTooLarge):
		return &problem{http.StatusRequestEntityTooLarge, http.StatusRequestEntityTooLarge, "entry is larger than the log takes (tlog.limits.entry)", err}
	case errors.Is(err, tlog.ErrFrozen):
		return &problem{http.StatusMethodNotAllowed, http.StatusMethodNotAllowed, "This log has been frozen, please switch to the latest log.", err}
	case errors.Is(err, tlog.ErrBusy):
		return &problem{http.StatusServiceUnavailable, http.StatusServiceUnavailable, "too many entries are waiting; retry", err}
	case errors.Is(err, tlog.ErrUnavailable):
		return &problem{http.StatusServiceUnavailable, http.StatusServiceUnavailable, "the log cannot be reached now; retry", err}
	case errors.Is(err, context.Canceled):
		return &problem{statusClientClosed, statusClientClosed, "client disconnected during request", err}
	case errors.Is(err, context.DeadlineExceeded):
		return &problem{http.StatusGatewayTimeout, http.StatusGatewayTimeout, http.StatusText(http.StatusGatewayTimeout), err}
	case errors.Is(err, tlog.ErrCorrupt):
		return &problem{http.StatusInternalServerError, http.StatusInternalServerError, "integrity check failed", err}
	}
	return &problem{http.StatusInternalServerError, http.StatusInternalServerError, "unexpected result from transparency log", err}
}

// fail answers with an error. The cause goes to our log, under the request's id.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := asProblem(err)
	cause := p.cause
	if c := entry.Cause(err); c != nil {
		cause = c
	}
	attrs := []any{"request_id", httpx.RequestID(r.Context()), "path", r.Pattern, "status", p.status, "message", p.message, "cause", cause}
	if p.status >= 500 {
		s.logger.ErrorContext(r.Context(), "rekor v1: request failed", attrs...)
	} else {
		s.logger.InfoContext(r.Context(), "rekor v1: request refused", attrs...)
	}
	var exceeded *quota.ExceededError
	switch {
	case errors.As(err, &exceeded):
		w.Header().Set("Retry-After", strconv.Itoa(exceeded.Seconds()))
	case p.status == http.StatusServiceUnavailable:
		// Spread out, so that clients that were turned away together do not return together.
		w.Header().Set("Retry-After", strconv.Itoa(1+rand.IntN(5))) // not a secret
	}
	if p.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, HEAD")
	}
	httpx.WriteJSON(w, p.status, struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{p.code, p.message})
}

// notFound answers 404 without a body, as upstream does for entries.
func notFound(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }

func (s *Server) methodNotAllowed(allowed map[string]http.HandlerFunc) http.HandlerFunc {
	var names []string
	for name := range allowed {
		names = append(names, name)
	}
	slices.Sort(names)
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", strings.Join(names, ","))
		httpx.WriteJSON(w, http.StatusMethodNotAllowed, struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}{http.StatusMethodNotAllowed, fmt.Sprintf("method %s is not allowed, but [%s] are", r.Method, strings.Join(names, ","))})
	}
}
