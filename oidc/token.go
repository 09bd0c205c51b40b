package oidc

import (
	"errors"
	"fmt"
)

// ErrToken is the class of every refusal of a token, by this package and by ca/profile.
var ErrToken = errors.New("identity token refused")

// ErrUnavailable says that the issuer's keys could not be had just now: the token may be fine, and
// the same request may succeed later. Such an error is an ErrToken too.
var ErrUnavailable = errors.New("issuer temporarily unavailable")

// Reason is a stable word for log lines and metrics; clients never see it.
type Reason string

// The reasons for which a token is refused.
const (
	ReasonSize        Reason = "size"             // empty, or longer than MaxTokenBytes
	ReasonMalformed   Reason = "malformed"        // not a compact JWS of strict base64url and JSON
	ReasonHeader      Reason = "header"           // crit, b64, zip, enc, or a kid that is no short string
	ReasonAlgorithm   Reason = "algorithm"        // not an allowed asymmetric algorithm
	ReasonIssuer      Reason = "issuer"           // iss missing, not a string, or not configured
	ReasonAudience    Reason = "audience"         // aud is not exactly the configured client id
	ReasonExpired     Reason = "expired"          // exp has passed
	ReasonNotYet      Reason = "not_yet"          // nbf or iat lies in the future
	ReasonTime        Reason = "time"             // exp, nbf or iat missing, malformed or out of bounds
	ReasonSubject     Reason = "subject"          // sub missing, empty, too long or not a string
	ReasonKey         Reason = "key"              // no usable key of the issuer matches kid and algorithm
	ReasonSignature   Reason = "signature"        // the signature does not verify
	ReasonUnavailable Reason = "unavailable"      // the issuer's keys could not be fetched
	ReasonDiscovery   Reason = "discovery"        // the issuer's documents were fetched and are unusable
	ReasonEmail       Reason = "email"            // email missing, malformed or not ASCII (ca/profile)
	ReasonUnverified  Reason = "email_unverified" // email_verified is not true (ca/profile)
	ReasonClaim       Reason = "claim"            // a claim the certificate needs is missing or unfit (ca/profile)
	ReasonSAN         Reason = "san"              // the name that would be certified is unfit (ca/profile)
)

// TokenError is one refusal. Its text is for our log: it may quote claims, shortened, but never
// holds the token or its signature.
type TokenError struct {
	Reason Reason
	Err    error
}

// Error names the reason and its cause.
func (e *TokenError) Error() string {
	return fmt.Sprintf("identity token refused (%s): %v", e.Reason, e.Err)
}

// Unwrap returns the cause.
func (e *TokenError) Unwrap() error { return e.Err }

// Is makes every TokenError an ErrToken.
func (e *TokenError) Is(target error) bool { return target == ErrToken }

// Refuse returns a TokenError with a formatted cause.
func Refuse(r Reason, format string, args ...any) error {
	return &TokenError{Reason: r, Err: fmt.Errorf(format, args...)}
}

// Token is a verified identity token.
type Token struct {
	Issuer    *Issuer        // the configured issuer; for a meta-issuer the pattern's entry
	IssuerURL string         // the iss claim
	Subject   string         // the sub claim: not empty, at most MaxClaimBytes
	Claims    map[string]any // every claim; numbers are json.Number
}

// Limits on what a token may hold.
const (
	MaxTokenBytes  = 64 << 10 // a whole token; the largest real ones stay under 8 KiB
	MaxClaimBytes  = 1 << 10  // any one claim that is used
	maxIssuerBytes = 512
)

// clip shortens text that came from outside for a log line; callers quote it with %q.
func clip(s string) string {
	if len(s) > 128 {
		return s[:128] + "..."
	}
	return s
}
