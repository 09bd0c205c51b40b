package envelope

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

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

// Parse reads the JSON of an envelope and opens it, as encoding/json reads it into an Envelope. field names it in
// errors.
func Parse(text []byte, field string) (*Envelope, error) {
	v, err := strictjson.ParseLoose(text)
	switch err {
	case nil:
	case strictjson.ErrDuplicate, strictjson.ErrDeep:
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
	list, isList := strictjson.Member(o, "signatures").([]any)
	ok = ok && (isList || strictjson.Member(o, "signatures") == nil)
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
func object(v any) (map[string]any, bool) {
	o, ok := v.(map[string]any)
	return o, ok || v == nil
}

// read takes a string out of an object, and leaves to as it is where there is none or null.
func read(o map[string]any, name string, to *string) bool {
	v := strictjson.Member(o, name)
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
	var ok bool
	if e.body, ok = decodeBase64(e.Payload); !ok {
		return entry.Invalidf("payload of the DSSE envelope is not base64")
	}
	for _, s := range e.Signatures {
		raw, ok := decodeBase64(s.Sig)
		if !ok {
			return entry.Invalidf("a signature of the DSSE envelope is not base64")
		}
		e.raw = append(e.raw, raw)
	}
	e.message = entry.NewMessage(e.header(), e.body)
	return nil
}

// decodeBase64 takes both alphabets, as the DSSE specification does.
func decodeBase64(s string) ([]byte, bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		b, err = base64.URLEncoding.DecodeString(s)
	}
	return b, err == nil
}

// Body returns the decoded payload.
func (e *Envelope) Body() []byte { return e.body }

// header is what stands before the payload in the pre-authentication encoding, which the signatures are over.
func (e *Envelope) header() []byte {
	b := append(make([]byte, 0, len(e.Type)+48), "DSSEv1 "...)
	b = strconv.AppendInt(b, int64(len(e.Type)), 10)
	b = append(b, ' ')
	b = append(b, e.Type...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(e.body)), 10)
	return append(b, ' ')
}

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
func (e *Envelope) Digests(materials func(statement []byte) []map[string]string) ([]string, error) {
	if e.Type != inToto {
		return nil, nil
	}
	digests, more, ok := subjects(e.body)
	if !ok {
		return nil, nil
	}
	if more {
		digests = append(digests, materials(e.body)...)
	}
	var out []string
	for _, d := range digests {
		for _, alg := range slices.Sorted(maps.Keys(d)) {
			out = append(out, alg+":"+d[alg])
		}
	}
	if len(out) > maxDigests {
		return nil, entry.Invalidf("statement has more than %d digests", maxDigests)
	}
	return out, nil
}

// subjects returns the digests of a statement's subjects as encoding/json reads them, and whether there may be
// materials too; ok is false for what is no statement. All but odd statements are read in one pass, in which
// nothing is made of the predicate.
func subjects(statement []byte) (digests []map[string]string, more, ok bool) {
	v, err := strictjson.ParseSome(statement, strictjson.Pick{"subject": nil, "predicate": {"materials": nil}})
	if err != nil {
		return oddSubjects(statement)
	}
	o, ok := object(v)
	list, isList := strictjson.Member(o, "subject").([]any)
	ok = ok && (isList || strictjson.Member(o, "subject") == nil)
	for _, item := range list {
		subject, isObject := object(item)
		digest, isToo := object(strictjson.Member(subject, "digest"))
		ok = ok && isObject && isToo
		texts := make(map[string]string, len(digest))
		for alg, v := range digest {
			text, isText := v.(string)
			ok = ok && (isText || v == nil)
			texts[alg] = text
		}
		digests = append(digests, texts)
	}
	predicate, _ := strictjson.Member(o, "predicate").(map[string]any)
	return digests, strictjson.Member(predicate, "materials") != nil, ok
}

// oddSubjects reads what two readers may read in two ways, or what is no JSON, as encoding/json does.
func oddSubjects(statement []byte) (digests []map[string]string, more, ok bool) {
	var s struct {
		Subject []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if json.Unmarshal(statement, &s) != nil {
		return nil, false, false
	}
	for _, sub := range s.Subject {
		digests = append(digests, sub.Digest)
	}
	return digests, true, true
}
