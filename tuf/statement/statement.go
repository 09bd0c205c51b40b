package statement

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// PayloadType is the type of the DSSE payload.
const PayloadType = "application/vnd.sigbox.trust-statement.v1+json"

// Bounds of what Open reads.
const (
	MaxSize    = 64 << 10 // bytes of an envelope
	maxChain   = 8
	maxIssuers = 16
	maxText    = 1024 // bytes of a URL or an origin
)

// ErrStatement is wrapped by every error of the package that is about the statement.
var ErrStatement = errors.New("trust statement")

// Role is what a key does.
type Role string

// The roles.
const (
	RekorV1 Role = "rekor-v1"
	RekorV2 Role = "rekor-v2"
	CT      Role = "ct"
	CA      Role = "ca"
	TSA     Role = "tsa"
)

// roles lists them.
var roles = []Role{RekorV1, RekorV2, CT, CA, TSA}

// Service is the service whose keys have the role: "ca" or "tlog", "" for a role that there is not.
func (r Role) Service() string {
	switch r {
	case RekorV1, RekorV2, CT:
		return "tlog"
	case CA, TSA:
		return "ca"
	}
	return ""
}

// Log says whether the role is that of a log, which has a key and an origin where others have a chain.
func (r Role) Log() bool { return r.Service() == "tlog" }

// Statement is one claim.
type Statement struct {
	Instance string // the id of the instance, 8 to 64 lower-case hex digits
	Role     Role

	// URL is what clients are to use: the base URL of a CA or a log, the full URL that requests are
	// posted to for a TSA. No slash at its end.
	URL string
	// Origin is the first line of a log's checkpoints. "" for CA and TSA.
	Origin string
	// Key is a log's key, ECDSA P-256. nil for CA and TSA.
	Key crypto.PublicKey
	// Chain of a CA: the issuing certificate, then its issuers, the root last. Of a TSA: the leaf
	// first. The first certificate's key is ECDSA P-256. nil for a log.
	Chain []*x509.Certificate
	// Issuers of a CA are the OpenID Connect issuers that clients may ask for a token; those that only
	// machines have tokens of (a CI system) do not belong here. nil for others.
	Issuers []string

	ValidFrom time.Time // UTC, whole seconds
	Made      time.Time // UTC, whole seconds
}

// Subject is the key that the statement is about, and signed with.
func (s Statement) Subject() crypto.PublicKey {
	if s.Role.Log() || len(s.Chain) == 0 {
		return s.Key
	}
	return s.Chain[0].PublicKey
}

// KeyID is SHA-256 of the SPKI of Subject.
func (s Statement) KeyID() [32]byte {
	der, err := x509.MarshalPKIXPublicKey(s.Subject())
	if err != nil { // only a P-256 key gets through Sign and Open
		return [32]byte{}
	}
	return sha256.Sum256(der)
}

// Same says whether two statements say the same, whenever they were made.
func (s Statement) Same(o Statement) bool {
	s.Made, o.Made = time.Unix(0, 0).UTC(), time.Unix(0, 0).UTC()
	a, errA := s.payload()
	b, errB := o.payload()
	return errA == nil && errB == nil && string(a) == string(b)
}

var instanceID = regexp.MustCompile(`^[0-9a-f]{8,64}$`)

// check refuses a statement that no service of ours makes.
func (s Statement) check() error {
	if !instanceID.MatchString(s.Instance) {
		return fmt.Errorf("instance %.70q: want 8 to 64 lower-case hex digits", s.Instance)
	}
	if !slices.Contains(roles, s.Role) {
		return fmt.Errorf("role %.70q: want rekor-v1, rekor-v2, ct, ca or tsa", string(s.Role))
	}
	if err := checkURL(s.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if err := s.checkShape(); err != nil {
		return fmt.Errorf("role %s: %w", s.Role, err)
	}
	if pub, ok := s.Subject().(*ecdsa.PublicKey); !ok || pub.Curve != elliptic.P256() {
		return fmt.Errorf("role %s: the key is a %T, want ECDSA P-256: some client takes nothing else", s.Role, s.Subject())
	}
	for what, t := range map[string]time.Time{"valid_from": s.ValidFrom, "made": s.Made} {
		if t.Unix() < 0 || !t.Equal(t.Truncate(time.Second)) || t.Year() > 9999 {
			return fmt.Errorf("%s: want a time in whole seconds", what)
		}
	}
	return nil
}

// checkShape wants the fields that the role has, and no others.
func (s Statement) checkShape() error {
	if s.Role.Log() {
		switch {
		case s.Key == nil || s.Chain != nil || s.Issuers != nil:
			return errors.New("a log has a key, and neither chain nor issuers")
		case s.Origin == "" || len(s.Origin) > maxText || strings.ContainsFunc(s.Origin, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return errors.New("a log has an origin, one line")
		}
		return nil
	}
	switch {
	case s.Key != nil || s.Origin != "":
		return errors.New("an authority has a chain, and neither key nor origin")
	case len(s.Chain) < 1 || len(s.Chain) > maxChain:
		return fmt.Errorf("chain of %d certificates, want 1 to %d", len(s.Chain), maxChain)
	case s.Role == TSA && s.Issuers != nil:
		return errors.New("a timestamp authority has no issuers")
	case len(s.Issuers) > maxIssuers:
		return fmt.Errorf("%d issuers, want at most %d", len(s.Issuers), maxIssuers)
	}
	for i, u := range s.Issuers {
		if err := checkURL(u); err != nil {
			return fmt.Errorf("issuer: %w", err)
		}
		if slices.Contains(s.Issuers[:i], u) {
			return fmt.Errorf("issuer %s is there twice", u)
		}
	}
	return nil
}

func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || len(raw) > maxText || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(raw, "/") {
		return fmt.Errorf("%.70q: want http or https, a host, nothing secret and no slash at its end", raw)
	}
	return nil
}
