package envelope

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/sigbox/sigbox/internal/strictjson"
	"github.com/sigbox/sigbox/tlog/entry"
)

// MaxSignatures is how many signatures an envelope may have.
const MaxSignatures = 100

const (
	maxDigests  = 10_000
	maxAttempts = 1_000 // signature checks for one envelope
	inToto      = "application/vnd.in-toto+json"
)

// Signature is one signature of an envelope.
type Signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"` // base64
}

// Envelope is a DSSE envelope; Open decodes its payload and signatures.
type Envelope struct {
	Type       string      `json:"payloadType"`
	Payload    string      `json:"payload"` // base64
	Signatures []Signature `json:"signatures"`

	body     []byte   // decoded Payload
	raw      [][]byte // decoded Signatures
	message  *entry.Message
	attempts int
}

// members are those of an envelope that count.
var members = strictjson.Pick{
	{Name: "payloadType"}, {Name: "payload"}, {Name: "signatures", Pick: strictjson.Pick{{Name: "keyid"}, {Name: "sig"}}},
}

// Parse reads the JSON of an envelope and opens it, as encoding/json reads it into an Envelope, of which text is a
// part. field names it in errors.
func Parse(text, field string) (*Envelope, error) {
	v, err := strictjson.ParseSome(strictjson.Bytes(text), members)
	switch err {
	case nil:
	case strictjson.ErrDuplicate, strictjson.ErrDeep, strictjson.ErrMany:
		return nil, entry.Invalidf("%s: %v", field, err)
	default:
		return nil, entry.Invalid(field+" is not the JSON of a DSSE envelope", err)
	}
	var e Envelope
	o, ok := object(v)
	for _, to := range []struct {
		name string
		text *string
	}{{"payloadType", &e.Type}, {"payload", &e.Payload}} {
		ok = ok && read(o, to.name, to.text)
	}
	list, isList := o.Member("signatures").([]any)
	ok = ok && (isList || o.Member("signatures") == nil)
	e.Signatures = make([]Signature, 0, min(len(list), MaxSignatures+1))
	for _, item := range list {
		var s Signature
		o, isObject := object(item)
		ok = ok && isObject && read(o, "keyid", &s.KeyID) && read(o, "sig", &s.Sig)
		e.Signatures = append(e.Signatures, s)
	}
	if !ok {
		return nil, entry.Invalidf("%s is not the JSON of a DSSE envelope: a member has the wrong type", field)
	}
	return &e, e.Open()
}

// object takes null for an object without members, as encoding/json does.
func object(v any) (strictjson.Some, bool) {
	o, ok := v.(strictjson.Some)
	return o, ok || v == nil
}

// read takes a string out of an object, and leaves to as it is where there is none or null.
func read(o strictjson.Some, name string, to *string) bool {
	v := o.Member(name)
	s, ok := v.(string)
	if ok {
		*to = s
	}
	return ok || v == nil
}

// Open decodes the payload and the signatures, of which there must be 1 to 100.
func (e *Envelope) Open() error {
	if n := len(e.Signatures); n == 0 || n > MaxSignatures {
		return entry.Invalidf("DSSE envelope should have 1 to %d signatures", MaxSignatures)
	}
	if !e.decode() {
		return entry.Invalidf("payload of the DSSE envelope is not base64")
	}
	e.raw = make([][]byte, 0, len(e.Signatures))
	for _, s := range e.Signatures {
		raw, ok := appendBase64(make([]byte, 0, base64.StdEncoding.DecodedLen(len(s.Sig))), s.Sig)
		if !ok {
			return entry.Invalidf("a signature of the DSSE envelope is not base64")
		}
		e.raw = append(e.raw, raw)
	}
	return nil
}

// decode decodes the payload once, in the place that it has in what is signed (DSSE's pre-authentication encoding):
// "DSSEv1", length and text of the type, length and text of the payload, with spaces between them.
func (e *Envelope) decode() bool {
	const numbers = len("DSSEv1 ") + 2*20 + len("   ")
	before := numbers + len(e.Type)
	all, ok := appendBase64(make([]byte, before, before+base64.StdEncoding.DecodedLen(len(e.Payload))), e.Payload)
	if !ok {
		return false
	}
	e.body = all[before:]
	h := append(make([]byte, 0, before), "DSSEv1 "...)
	h = strconv.AppendInt(h, int64(len(e.Type)), 10)
	h = append(h, ' ')
	h = append(h, e.Type...)
	h = append(h, ' ')
	h = strconv.AppendInt(h, int64(len(e.body)), 10)
	h = append(h, ' ')
	copy(all[before-len(h):], h)
	e.message = entry.NewMessage(all[before-len(h):])
	return true
}

// appendBase64 takes both alphabets, as the DSSE specification does.
func appendBase64(dst []byte, s string) ([]byte, bool) {
	b, err := base64.StdEncoding.AppendDecode(dst, strictjson.Bytes(s))
	if err != nil {
		b, err = base64.URLEncoding.AppendDecode(dst, strictjson.Bytes(s))
	}
	return b, err == nil
}

// StandardAlphabet says of an open envelope whether its payload is standard base64, and not the one for URLs.
func (e *Envelope) StandardAlphabet() bool {
	return strings.IndexByte(e.Payload, '-') < 0 && strings.IndexByte(e.Payload, '_') < 0
}

// Body returns the decoded payload.
func (e *Envelope) Body() []byte { return e.body }

// SignedBy returns the index of the first signature that the key verifies, -1 where it verifies
// none. A signature that skip (which may be nil) says true for is not looked at. An error says that
// too many signatures were tried.
func (e *Envelope) SignedBy(key *entry.Key, skip func(Signature) bool) (int, error) {
	for i, raw := range e.raw {
		if skip != nil && skip(e.Signatures[i]) {
			continue
		}
		if e.attempts++; e.attempts > maxAttempts {
			return -1, entry.Invalidf("too many signatures and verifiers: list the verifiers in the order of the signatures")
		}
		if e.message.Verify(key.Public(), raw) == nil {
			return i, nil
		}
	}
	return -1, nil
}

// Digests names what an in-toto statement is about: "algorithm:hex" of its subjects, then of the
// materials that the caller finds in it, in the order of the statement; nothing for any other payload.
func (e *Envelope) Digests(materials func(statement []byte) ([]string, error)) ([]string, error) {
	if e.Type != inToto {
		return nil, nil
	}
	out, more, err := subjects(e.body)
	if err != nil {
		return nil, err
	}
	if more {
		found, err := materials(e.body)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	if len(out) > maxDigests {
		return nil, entry.Invalidf("statement has more than %d digests", maxDigests)
	}
	return out, nil
}
