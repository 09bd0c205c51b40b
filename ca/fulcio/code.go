package fulcio

import (
	"errors"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/rules"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/oidc"
)

// metadataCode is the trailer of a gRPC answer with what httpx.ErrorCode is over HTTP.
const metadataCode = "sigbox-error"

// codeOf is the word for why a request was refused. For a token it is "token_" and the class of the cause:
// that it has expired is no secret from whoever holds it, and which claim is unfit stays in our log.
func codeOf(err error) string {
	var token *oidc.TokenError
	var denied *rules.DeniedError
	var exceeded *quota.ExceededError
	var algorithm *ca.AlgorithmError
	switch {
	case errors.As(err, &token):
		return "token_" + string(token.Reason)
	case errors.As(err, &denied):
		return "not_allowed"
	case errors.As(err, &exceeded):
		return "quota"
	case errors.As(err, &algorithm):
		return "algorithm"
	}
	for _, row := range []struct {
		is   error
		code string
	}{
		{errBothKeys, "both_keys"}, {ca.ErrIdentity, "identity"}, {ca.ErrPublicKey, "key"}, {ca.ErrInsecureKey, "key_insecure"}, {ca.ErrCSR, "csr"},
		{ca.ErrPossession, "possession"}, {ca.ErrLogEnded, "ct_log_ended"}, {ca.ErrTransparency, "ct_log"},
		{ca.ErrClock, "clock"}, {ca.ErrNotValid, "ca_expired"}, {ca.ErrRecord, "record"},
	} {
		if errors.Is(err, row.is) {
			return row.code
		}
	}
	return "internal"
}
