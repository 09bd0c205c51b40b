package ctlog

import (
	"context"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tlog"
)

// maxBody bounds a submission: ten certificates of the size that real ones have, in base64.
const maxBody = 512 << 10

// Register adds the routes of RFC 6962 section 4 to mux.
func (s *Server) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST "+ct.AddChainPath, s.answer(s.postChain))
	mux.HandleFunc("POST "+ct.AddPreChainPath, s.answer(s.postPreChain))
	mux.HandleFunc("GET "+ct.GetSTHPath, s.answer(s.getSTH))
	mux.HandleFunc("GET "+ct.GetSTHConsistencyPath, s.answer(s.getSTHConsistency))
	mux.HandleFunc("GET "+ct.GetProofByHashPath, s.answer(s.getProofByHash))
	mux.HandleFunc("GET "+ct.GetEntriesPath, s.answer(s.getEntries))
	mux.HandleFunc("GET "+ct.GetRootsPath, s.answer(s.getRoots))
	mux.HandleFunc("GET "+ct.GetEntryAndProofPath, s.answer(s.getEntryAndProof))
}

// answer writes what f returns: its value as JSON, or its error as RFC 6962 logs write errors,
// the status text and a line of detail.
func (s *Server) answer(f func(http.ResponseWriter, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store") // a cache that drops the query would fork the log in its clients' eyes
		v, err := f(w, r)
		if err == nil {
			httpx.WriteJSON(w, http.StatusOK, v)
			return
		}
		status, detail := statusOf(err)
		w.Header().Set(httpx.ErrorCode, codeOf(err, status))
		if status >= http.StatusInternalServerError {
			s.logger.ErrorContext(r.Context(), "ct request failed", "path", r.URL.Path, "error", err, "request_id", httpx.RequestID(r.Context()))
		}
		if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", strconv.Itoa(1+rand.IntN(3))) // jitter, so that a crowd does not come back as one
		}
		httpx.Write(w, status, "text/plain; charset=utf-8", []byte(http.StatusText(status)+"\n"+detail+"\n"))
	}
}

// statusOf maps an error to a status and a text that is fit for the client.
func statusOf(err error) (int, string) {
	var shown *httpx.Error
	var refused refusal
	switch {
	case errors.As(err, &shown):
		return shown.Status, shown.Message
	case errors.As(err, &refused):
		return http.StatusBadRequest, refused.Error()
	case errors.Is(err, tlog.ErrFrozen):
		return http.StatusForbidden, "log is frozen"
	case errors.Is(err, tlog.ErrTooLarge):
		return http.StatusRequestEntityTooLarge, "entry is larger than the log takes"
	case errors.Is(err, tlog.ErrBusy):
		return http.StatusTooManyRequests, "log is busy"
	case errors.Is(err, tlog.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable, "log is not healthy"
	}
	return http.StatusInternalServerError, "internal error"
}

// codeOf is the word for an error.
func codeOf(err error, status int) string {
	var refused refusal
	switch {
	case errors.As(err, &refused):
		return "refused"
	case errors.Is(err, tlog.ErrFrozen):
		return "frozen"
	case errors.Is(err, tlog.ErrBusy):
		return "busy"
	}
	return httpx.CodeOf(status)
}

func (s *Server) postChain(w http.ResponseWriter, r *http.Request) (any, error) {
	return s.submit(w, r, false)
}

func (s *Server) postPreChain(w http.ResponseWriter, r *http.Request) (any, error) {
	return s.submit(w, r, true)
}

func (s *Server) submit(w http.ResponseWriter, r *http.Request, precert bool) (any, error) {
	chain, err := readChain(w, r)
	if err != nil {
		return nil, err
	}
	sct, err := s.add(r.Context(), chain, precert)
	if err != nil {
		return nil, err
	}
	sig, err := tls.Marshal(sct.Signature)
	if err != nil {
		return nil, err
	}
	return ct.AddChainResponse{
		SCTVersion: sct.SCTVersion, ID: sct.LogID.KeyID[:], Timestamp: sct.Timestamp,
		Extensions: base64.StdEncoding.EncodeToString(sct.Extensions), Signature: sig,
	}, nil
}

// readChain reads an AddChainRequest: {"chain": [base64 DER, ...]}.
func readChain(w http.ResponseWriter, r *http.Request) ([][]byte, error) {
	if httpx.MediaType(r) != "application/json" {
		return nil, httpx.Errorf(http.StatusUnsupportedMediaType, "content type must be application/json")
	}
	body, err := httpx.ReadBody(w, r, maxBody)
	if err != nil {
		return nil, err
	}
	var req struct {
		Chain []string `json:"chain"`
	}
	if err := httpx.DecodeJSON(body, &req, false); err != nil {
		return nil, err
	}
	if len(req.Chain) == 0 {
		return nil, refusef("cert chain was empty")
	}
	if len(req.Chain) > maxChain {
		return nil, refusef("cert chain too long: %d certificates, at most %d are accepted", len(req.Chain), maxChain)
	}
	chain := make([][]byte, len(req.Chain))
	for i, text := range req.Chain {
		if chain[i], err = base64.StdEncoding.Strict().DecodeString(text); err != nil || len(chain[i]) == 0 {
			return nil, refusef("chain[%d] is invalid: want a DER certificate in standard base64", i)
		}
	}
	return chain, nil
}
