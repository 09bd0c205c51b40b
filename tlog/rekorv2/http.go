package rekorv2

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/tlog"
)

// frozen is what upstream answers for a log that takes no entries, as plain text.
const frozen = "This log has been frozen, please switch to the latest log.\n"

func (s *Server) createHTTP(w http.ResponseWriter, r *http.Request) { s.post(w, r, s.chain.Append) }

// createInShard appends to the shard that the path names, and to no other.
func (s *Server) createInShard(w http.ResponseWriter, r *http.Request) {
	if sh := s.named(r); sh != nil {
		s.post(w, r, sh.put)
		return
	}
	http.NotFound(w, r)
}

// post answers a request with the entry that put has appended.
func (s *Server) post(w http.ResponseWriter, r *http.Request, put appender) {
	visit, err := s.quotas.Arrive(r)
	if err != nil {
		s.refuseHTTP(w, r, err)
		return
	}
	defer visit.End()
	req, err := s.readRequest(w, r)
	if err != nil {
		visit.Settle(false)
		s.failHTTP(w, err)
		return
	}
	tle, err := s.create(r.Context(), req, visit, put)
	if errors.Is(err, tlog.ErrFrozen) {
		visit.Settle(false)
		w.Header().Set("Allow", "")
		httpx.Write(w, http.StatusMethodNotAllowed, "text/plain; charset=utf-8", []byte(frozen))
		return
	}
	if err != nil {
		visit.Settle(quota.OurFault(s.refuseHTTP(w, r, err)))
		return
	}
	body, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(tle)
	visit.Settle(err != nil)
	if err != nil {
		s.failHTTP(w, err)
		return
	}
	httpx.Write(w, http.StatusCreated, "application/json", compact(body))
}

// refuseHTTP answers with what an error is over gRPC.
func (s *Server) refuseHTTP(w http.ResponseWriter, r *http.Request, err error) codes.Code {
	st := s.refuse(r.Context(), err)
	var exceeded *quota.ExceededError
	switch {
	case errors.As(err, &exceeded):
		w.Header().Set("Retry-After", strconv.Itoa(exceeded.Seconds()))
	case st.Code() == codes.Unavailable:
		// Spread out, so that clients that were turned away together do not return together.
		w.Header().Set("Retry-After", strconv.Itoa(1+rand.IntN(5))) // not a secret
	}
	writeError(w, httpStatus(st.Code()), st.Code(), st.Message())
	return st.Code()
}

// compact takes out the blanks that protojson strews in at random.
func compact(b []byte) []byte {
	var buf bytes.Buffer
	if err := json.Compact(&buf, b); err != nil {
		return b
	}
	return buf.Bytes()
}

func (s *Server) readRequest(w http.ResponseWriter, r *http.Request) (*pb.CreateEntryRequest, error) {
	if httpx.MediaType(r) != "application/json" && (r.ContentLength != 0 || r.Header.Get("Content-Type") != "") {
		return nil, httpx.Errorf(http.StatusUnsupportedMediaType, "content type must be application/json")
	}
	body, err := httpx.ReadBody(w, r, s.maxBody)
	var large *httpx.Error
	if errors.As(err, &large) && large.Status == http.StatusRequestEntityTooLarge {
		return nil, httpx.Errorf(large.Status, "%s (tlog.limits.body)", large.Message)
	}
	if err != nil {
		return nil, err
	}
	req := &pb.CreateEntryRequest{}
	if len(bytes.TrimSpace(body)) == 0 {
		return req, nil // no type, which is refused with the same words as a wrong one
	}
	if err := httpx.CheckJSON(body); err != nil {
		return nil, err
	}
	if err := protojson.Unmarshal(body, req); err != nil {
		return nil, httpx.Errorf(http.StatusBadRequest, "%s", protoMessage(err))
	}
	return req, nil
}

// protoMessage bounds the message of protojson, which quotes what it does not like. It strews in
// non-breaking spaces, so that nobody compares it.
func protoMessage(err error) string {
	msg := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	return strings.ToValidUTF8(msg[:min(len(msg), 160)], "")
}

func (s *Server) failHTTP(w http.ResponseWriter, err error) {
	var h *httpx.Error
	if !errors.As(err, &h) {
		s.logger.Error("rekor v2: request failed", "cause", err)
		writeError(w, http.StatusInternalServerError, codes.Internal, "internal error")
		return
	}
	s.logger.Info("rekor v2: request refused", "status", h.Status, "message", h.Message)
	code := codes.InvalidArgument
	if h.Status == http.StatusRequestEntityTooLarge {
		code = codes.ResourceExhausted
	}
	writeError(w, h.Status, code, h.Message)
}

// writeError answers in the shape of grpc-gateway.
func writeError(w http.ResponseWriter, status int, code codes.Code, message string) {
	httpx.WriteJSON(w, status, struct {
		Code    codes.Code `json:"code"`
		Message string     `json:"message"`
		Details []struct{} `json:"details"`
	}{code, message, []struct{}{}})
}

func methodNotAllowed(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Allow", "POST")
	writeError(w, http.StatusMethodNotAllowed, codes.Unimplemented, "Method Not Allowed")
}

// httpStatus is grpc-gateway's table, as far as statusOf goes.
func httpStatus(c codes.Code) int {
	switch c {
	case codes.InvalidArgument:
		return http.StatusBadRequest
	case codes.NotFound:
		return http.StatusNotFound
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.Canceled:
		return 499
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}
