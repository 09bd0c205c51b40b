package fulcio

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/oidc"
)

// maxBody is upstream's message limit.
const maxBody = 4 << 20

// pemChain is the media type of v1 answers.
const pemChain = "application/pem-certificate-chain"

// Register adds the routes of both API versions to mux.
func (s *Server) Register(mux *http.ServeMux) {
	handle(mux, http.MethodPost, "/api/v2/signingCert", s.signV2)
	handle(mux, http.MethodGet, "/api/v2/trustBundle", func(w http.ResponseWriter, _ *http.Request) error {
		return writeProto(w, s.trustBundle())
	})
	handle(mux, http.MethodGet, "/api/v2/configuration", func(w http.ResponseWriter, _ *http.Request) error {
		return writeProto(w, s.configuration())
	})
	handle(mux, http.MethodPost, "/api/v1/signingCert", s.signV1)
	handle(mux, http.MethodGet, "/api/v1/rootCert", func(w http.ResponseWriter, _ *http.Request) error {
		httpx.Write(w, http.StatusOK, pemChain, []byte(strings.Join(pems(s.authority.Chain()), "\n")))
		return nil
	})
}

// handle registers a route that browsers of any origin may use, without credentials of theirs, and
// that writes the error of f in the shape of upstream's gateway.
func handle(mux *http.ServeMux, method, path string, f func(http.ResponseWriter, *http.Request) error) {
	mux.HandleFunc(method+" "+path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Cache-Control", "no-store")
		if err := f(w, r); err != nil {
			writeError(w, err)
		}
	})
	mux.HandleFunc("OPTIONS "+path, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Methods", method)
		h.Set("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, X-Requested-With")
		h.Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
	})
}

func (s *Server) signV2(w http.ResponseWriter, r *http.Request) error {
	chain, err := s.sign(w, r, &requestV2{})
	if err != nil {
		return err
	}
	var a answerV2
	a.Embedded.Chain.Certificates = pems(chain)
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	httpx.Write(w, http.StatusOK, "application/json", body)
	return nil
}

// signV1 answers 201 with the chain as PEM; older clients compare the status.
func (s *Server) signV1(w http.ResponseWriter, r *http.Request) error {
	chain, err := s.sign(w, r, &requestV1{})
	if err != nil {
		return err
	}
	httpx.Write(w, http.StatusCreated, pemChain, []byte(strings.Join(pems(chain), "\n")))
	return nil
}

func (s *Server) sign(w http.ResponseWriter, r *http.Request, body jsonRequest) ([]*x509.Certificate, error) {
	visit, err := s.quotas.Arrive(r)
	if err != nil {
		return nil, s.fail(r.Context(), err)
	}
	defer visit.End()
	req, err := read(w, r, body)
	if err != nil {
		visit.Settle(false)
		return nil, err
	}
	return s.issue(r.Context(), req, visit)
}

// jsonRequest is the body of a signing request.
type jsonRequest interface{ request() (request, error) }

// read reads a signing request: the JSON body, and the token from the Authorization header where
// the body holds none.
func read(w http.ResponseWriter, r *http.Request, body jsonRequest) (request, error) {
	if httpx.MediaType(r) != "application/json" {
		return request{}, httpx.Errorf(http.StatusUnsupportedMediaType, "content type must be application/json")
	}
	raw, err := httpx.ReadBody(w, r, maxBody)
	if err != nil {
		return request{}, err
	}
	if err := httpx.DecodeJSON(raw, body, false); err != nil {
		return request{}, err
	}
	req, err := body.request()
	if err != nil {
		return request{}, err
	}
	values := r.Header.Values("Authorization")
	switch {
	case len(values) > 1: // of two, one proxy believes the first and the next the last
		return request{}, &failure{code: codes.InvalidArgument, http: http.StatusBadRequest, message: badToken, word: "token_" + string(oidc.ReasonMalformed)}
	case req.token == "" && len(values) == 1:
		req.token, _ = strings.CutPrefix(values[0], "Bearer ")
	}
	return req, nil
}

// writeProto answers as upstream's gateway does: camelCase, unpopulated fields written out.
func writeProto(w http.ResponseWriter, m proto.Message) error {
	b, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := json.Compact(&buf, b); err != nil { // protojson varies its spaces on purpose
		return err
	}
	httpx.Write(w, http.StatusOK, "application/json", buf.Bytes())
	return nil
}

// writeError answers in the shape of upstream's gateway.
func writeError(w http.ResponseWriter, err error) {
	f := &failure{code: codes.Internal, http: http.StatusInternalServerError, message: badBackend}
	var known *failure
	var bad *httpx.Error
	switch {
	case errors.As(err, &known):
		f = known
	case errors.As(err, &bad):
		f = &failure{code: codes.InvalidArgument, http: bad.Status, message: bad.Message}
	}
	if f.word == "" {
		f.word = httpx.CodeOf(f.http)
	}
	w.Header().Set(httpx.ErrorCode, f.word)
	switch {
	case f.exceeded != nil:
		w.Header().Set("Retry-After", strconv.Itoa(f.exceeded.Seconds()))
	case f.http == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
	}
	httpx.WriteJSON(w, f.http, map[string]any{"code": int(f.code), "message": f.message, "details": []any{}})
}
