package fulcio

import (
	"errors"
	"fmt"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/rules"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/oidc"
)

// What clients read: upstream's sentences, which some of them match.
const (
	badToken     = "There was an error processing the identity token"
	badKey       = "The public key supplied in the request could not be parsed"
	insecureKey  = "The public key supplied in the request is insecure"
	badCSR       = "The certificate signing request could not be parsed"
	badSignature = "The signature supplied in the request could not be verified"
	badCTL       = "Error entering certificate in CTL"
	endedCTL     = "The certificate transparency log is frozen, and no certificate is issued without it"
	badBackend   = "error communicating with CA backend"
	notAllowed   = "This identity is not allowed to sign here"
	bothKeys     = "exactly one of publicKeyRequest and certificateSigningRequest must be set"
)

var errBothKeys = errors.New("request holds a public key and a CSR")

// failure is an error as the client reads it.
type failure struct {
	code     codes.Code
	http     int
	message  string
	word     string               // for httpx.ErrorCode; "" for what the status says
	exceeded *quota.ExceededError // nil unless it is that
}

func (f *failure) Error() string { return f.message }

// GRPCStatus lets grpc-go answer with the same code and message.
func (f *failure) GRPCStatus() *status.Status {
	if f.exceeded != nil {
		return f.exceeded.GRPCStatus()
	}
	return status.New(f.code, f.message)
}

func invalid(format string, args ...any) *failure {
	return &failure{code: codes.InvalidArgument, http: http.StatusBadRequest, message: fmt.Sprintf(format, args...)}
}

// both refuses a request with a public key and a CSR.
func both() *failure {
	f := failureOf(errBothKeys)
	f.word = codeOf(errBothKeys)
	return f
}

// failureOf is the table from errors to answers. A refused token is 400, not 401: so upstream.
func failureOf(err error) *failure {
	var algorithm *ca.AlgorithmError
	var denied *rules.DeniedError
	var exceeded *quota.ExceededError
	switch {
	case errors.Is(err, oidc.ErrUnavailable):
		return &failure{code: codes.Unavailable, http: http.StatusServiceUnavailable, message: badToken}
	case errors.Is(err, oidc.ErrToken), errors.Is(err, ca.ErrIdentity):
		return invalid(badToken)
	case errors.As(err, &denied): // the one answer with this code
		return &failure{code: codes.PermissionDenied, http: http.StatusForbidden, message: notAllowed + ": " + denied.Reason}
	case errors.As(err, &exceeded):
		return &failure{code: codes.ResourceExhausted, http: http.StatusTooManyRequests, message: exceeded.Error(), exceeded: exceeded}
	case errors.Is(err, errBothKeys):
		return invalid(bothKeys)
	case errors.Is(err, ca.ErrPublicKey):
		return invalid(badKey)
	case errors.Is(err, ca.ErrInsecureKey):
		return invalid(insecureKey)
	case errors.Is(err, ca.ErrCSR):
		return invalid(badCSR)
	case errors.Is(err, ca.ErrPossession):
		return invalid(badSignature)
	case errors.As(err, &algorithm):
		return invalid("%s", algorithm.Error())
	case errors.Is(err, ca.ErrLogEnded):
		return &failure{code: codes.Unavailable, http: http.StatusServiceUnavailable, message: endedCTL}
	case errors.Is(err, ca.ErrTransparency):
		return &failure{code: codes.Internal, http: http.StatusInternalServerError, message: badCTL}
	}
	return &failure{code: codes.Internal, http: http.StatusInternalServerError, message: badBackend}
}
