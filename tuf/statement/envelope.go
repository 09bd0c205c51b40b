package statement

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/sigbox/sigbox/internal/httpx"
)

// wire is the payload.
type wire struct {
	Instance  string   `json:"instance"`
	Role      string   `json:"role"`
	URL       string   `json:"url"`
	Origin    string   `json:"origin,omitempty"`
	Key       []byte   `json:"key,omitempty"`   // SPKI, DER
	Chain     [][]byte `json:"chain,omitempty"` // DER
	Issuers   []string `json:"issuers,omitempty"`
	ValidFrom string   `json:"valid_from"` // RFC 3339, UTC, whole seconds
	Made      string   `json:"made"`
}

// envelope is DSSE's.
type envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	KeyID string `json:"keyid"` // hex SHA-256 of the SPKI
	Sig   []byte `json:"sig"`   // ASN.1 ECDSA over SHA-256 of the PAE
}

// TimeForm is how statements, records and requests write a time: RFC 3339, UTC, whole seconds.
const TimeForm = "2006-01-02T15:04:05Z"

// Stamp writes a time in TimeForm; the zero time is "".
func Stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(TimeForm)
}

// Sign returns the envelope of a statement, signed with key, whose public part must be the
// statement's Subject. Times are cut to whole seconds.
func Sign(s Statement, key crypto.Signer) ([]byte, error) {
	s.ValidFrom, s.Made = s.ValidFrom.UTC().Truncate(time.Second), s.Made.UTC().Truncate(time.Second)
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	payload, err := s.payload()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	if pub, ok := key.Public().(*ecdsa.PublicKey); !ok || !pub.Equal(s.Subject()) {
		return nil, fmt.Errorf("%w: role %s: to be signed with the key that it is about, not with another", ErrStatement, s.Role)
	}
	digest := sha256.Sum256(dsse.PAE(PayloadType, payload))
	sig, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign the trust statement of %s: %w", s.Role, err)
	}
	id := s.KeyID()
	out, err := encode(envelope{PayloadType: PayloadType, Payload: payload, Signatures: []signature{{hex.EncodeToString(id[:]), sig}}})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	if len(out) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrStatement, len(out), MaxSize)
	}
	return out, nil
}

// Open verifies an envelope and returns what it states: everything that Sign wants of a statement,
// in the one form that Sign writes, with the signature of its Subject.
func Open(raw []byte) (Statement, error) {
	s, err := open(raw)
	if err != nil {
		return Statement{}, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	return s, nil
}

func open(raw []byte) (Statement, error) {
	if len(raw) > MaxSize {
		return Statement{}, fmt.Errorf("%d bytes, want at most %d", len(raw), MaxSize)
	}
	var e envelope
	if err := httpx.DecodeJSON(raw, &e, true); err != nil {
		return Statement{}, fmt.Errorf("envelope: %w", err)
	}
	if e.PayloadType != PayloadType {
		return Statement{}, fmt.Errorf("payload type %.70q, want %s", e.PayloadType, PayloadType)
	}
	if len(e.Signatures) != 1 {
		return Statement{}, fmt.Errorf("%d signatures, want one", len(e.Signatures))
	}
	s, err := parse(e.Payload)
	if err != nil {
		return Statement{}, err
	}
	if again, err := s.payload(); err != nil || !bytes.Equal(again, e.Payload) {
		return Statement{}, errors.New("payload is not in the form that sigbox writes")
	}
	if id := s.KeyID(); e.Signatures[0].KeyID != hex.EncodeToString(id[:]) {
		return Statement{}, errors.New("the signature's key id is not that of the key that it is about")
	}
	digest := sha256.Sum256(dsse.PAE(e.PayloadType, e.Payload))
	if !ecdsa.VerifyASN1(s.Subject().(*ecdsa.PublicKey), digest[:], e.Signatures[0].Sig) { // check has seen the type
		return Statement{}, errors.New("the signature is not one of the key that it is about: whoever made it does not have the key")
	}
	return s, nil
}

// parse decodes and checks a payload.
func parse(payload []byte) (s Statement, err error) {
	var w wire
	if err := httpx.DecodeJSON(payload, &w, true); err != nil {
		return Statement{}, fmt.Errorf("payload: %w", err)
	}
	s = Statement{Instance: w.Instance, Role: Role(w.Role), URL: w.URL, Origin: w.Origin, Issuers: w.Issuers}
	if w.Key != nil {
		if s.Key, err = x509.ParsePKIXPublicKey(w.Key); err != nil {
			return Statement{}, errors.New("key: not a SubjectPublicKeyInfo in DER")
		}
	}
	for i, der := range w.Chain {
		c, err := x509.ParseCertificate(der)
		if err != nil || i == maxChain {
			return Statement{}, fmt.Errorf("chain: certificate %d is no X.509 certificate, or one too many", i+1)
		}
		s.Chain = append(s.Chain, c)
	}
	for _, t := range []struct {
		what, text string
		to         *time.Time
	}{{"valid_from", w.ValidFrom, &s.ValidFrom}, {"made", w.Made, &s.Made}} {
		if *t.to, err = time.Parse(TimeForm, t.text); err != nil {
			return Statement{}, fmt.Errorf("%s: want a time of the form YYYY-MM-DDTHH:MM:SSZ", t.what)
		}
	}
	return s, s.check()
}

// payload encodes the statement; equal statements have equal payloads.
func (s Statement) payload() ([]byte, error) {
	w := wire{
		Instance: s.Instance, Role: string(s.Role), URL: s.URL, Origin: s.Origin, Issuers: s.Issuers,
		ValidFrom: Stamp(s.ValidFrom), Made: Stamp(s.Made),
	}
	if s.Key != nil {
		der, err := x509.MarshalPKIXPublicKey(s.Key)
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		w.Key = der
	}
	for _, c := range s.Chain {
		w.Chain = append(w.Chain, c.Raw)
	}
	return encode(w)
}

// encode writes JSON without the escapes that are for HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
