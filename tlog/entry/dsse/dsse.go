package dsse

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/sigbox/sigbox/internal/strictjson"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/envelope"
)

// Kind is "kind" and "apiVersion" of such an entry.
var Kind = entry.Kind{Name: "dsse", Version: "0.0.1"}

// Entry is a DSSE envelope all of whose signatures hold.
type Entry struct {
	entry.Base
	lookup bool // from a canonical body: nothing was verified
	told   int  // how many of its search keys the body tells; the others are digests of the statement
	signed []*entry.Key
}

// Verifiers returns the key or certificate of each signature.
func (e *Entry) Verifiers() ([]entry.Verifier, error) { return entry.Verifiers(e.signed) }

// Encode returns the body, and to be stored the body with the search keys that it does not tell.
func (e *Entry) Encode(_, _ int64) (leaf, stored []byte, err error) {
	return e.Body(), entry.AppendKeys(e.Body(), e.Keys()[e.told:]), nil
}

// Insertable refuses an entry that was read from its canonical form, which lacks the envelope
// that the signatures are over.
func (e *Entry) Insertable() error {
	if e.lookup {
		return entry.Invalidf("entry not insertable into log: missing proposedContent")
	}
	return nil
}

// Parse reads the spec of a proposed dsse entry, or of a canonical one for a look-up; it is an
// [entry.Parser].
func Parse(spec any) (entry.Proposed, error) {
	if err := entry.RefuseURLs(spec, ""); err != nil {
		return nil, err
	}
	m, _ := spec.(map[string]any)
	_, listed := m["signatures"].([]any)
	canonical := listed || entry.Object(spec, "envelopeHash") != nil || entry.Object(spec, "payloadHash") != nil
	proposed := entry.Object(spec, "proposedContent")
	switch {
	case proposed == nil && !canonical:
		return nil, entry.Invalidf("missing proposedContent")
	case proposed == nil:
		return parseCanonical(spec)
	case canonical:
		return nil, entry.Invalidf("signatures, envelopeHash and payloadHash are the server's to set: send proposedContent only")
	}
	return parseProposed(proposed)
}

func parseProposed(proposed map[string]any) (*Entry, error) {
	text, ok := proposed["envelope"].(string)
	if !ok || text == "" {
		return nil, entry.Invalidf("missing proposedContent.envelope")
	}
	env, err := envelope.Parse(text, "proposedContent.envelope")
	if err != nil {
		return nil, err
	}
	verifiers, err := decodeVerifiers(proposed["verifiers"])
	if err != nil {
		return nil, err
	}
	matched, err := match(env, verifiers)
	if err != nil {
		return nil, err
	}
	digests, err := env.Digests(materials)
	if err != nil {
		return nil, err
	}
	c := canonical{envelope: entry.SumKey(strictjson.Bytes(text)), payload: entry.SumKey(env.Body())}
	c.signatures = matched
	c.sort()
	e := &Entry{signed: make([]*entry.Key, len(c.signatures))}
	for i, s := range c.signatures {
		e.signed[i] = s.key
	}
	e.Base, e.told = entry.NewToldBase(c.body(), c.keys(len(digests)), digests)
	return e, nil
}

// keys are the search keys but for the digests of the statement, in upstream's order, with room for more.
func (c *canonical) keys(more int) []string {
	keys := make([]string, 0, 3*len(c.signatures)+2+more)
	for _, s := range c.signatures {
		keys = s.key.AppendSigner(keys)
	}
	return append(keys, c.payload, c.envelope)
}

// Keys returns the search keys of an entry from its stored form, as Parse has them, without verifying
// anything. Errors: entry.ErrUnknownKind where the body is not of this kind, entry.ErrInvalid where
// it is none that Parse has made.
func Keys(stored []byte) ([][]byte, error) {
	body, digests, err := entry.Stored(stored)
	if err != nil {
		return nil, entry.Invalid("not a stored dsse entry", err)
	}
	spec, ok := bytes.CutPrefix(body, []byte(beforeSpec))
	if !ok {
		return nil, entry.ErrUnknownKind
	}
	spec = bytes.TrimSuffix(spec, []byte("}"))
	var b struct {
		EnvelopeHash, PayloadHash struct{ Value string }
		Signatures                []struct {
			Signature string
			Verifier  []byte
		}
	}
	if err := json.Unmarshal(spec, &b); err != nil {
		return nil, entry.Invalid("not a canonical dsse body", err)
	}
	c := canonical{envelope: sha256Key + b.EnvelopeHash.Value, payload: sha256Key + b.PayloadHash.Value}
	for _, s := range b.Signatures {
		key, err := entry.ReadKey(s.Verifier)
		if err != nil {
			return nil, err
		}
		c.signatures = append(c.signatures, signature{text: s.Signature, verifier: s.Verifier, key: key})
	}
	if !bytes.Equal(c.body(), body) {
		return nil, entry.Invalidf("not a canonical dsse body")
	}
	return entry.SearchKeys(append(c.keys(len(digests)), digests...)), nil
}

func decodeVerifiers(v any) ([][]byte, error) {
	list, _ := v.([]any)
	if len(list) == 0 {
		return nil, entry.Invalidf("missing proposedContent.verifiers")
	}
	if len(list) > envelope.MaxSignatures {
		return nil, entry.Invalidf("proposedContent.verifiers has more than %d items", envelope.MaxSignatures)
	}
	out := make([][]byte, 0, len(list))
	for _, item := range list {
		s, ok := item.(string)
		if !ok || s == "" {
			return nil, entry.Invalidf("proposedContent.verifiers has an item that is null, empty or no string")
		}
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return nil, entry.Invalidf("proposedContent.verifiers has an item that is not standard base64")
		}
		out = append(out, b)
	}
	return out, nil
}

// canonical is what the body holds.
type canonical struct {
	signatures        []signature
	envelope, payload string // "sha256:" and the hex
}

const sha256Key = "sha256:"

type signature struct {
	text     string     // base64, as in the envelope
	verifier []byte     // canonical PEM
	key      *entry.Key // that verifier is of; nil where nothing was read of it
}

func (c *canonical) sort() {
	slices.SortStableFunc(c.signatures, func(a, b signature) int { return strings.Compare(a.text, b.text) })
}

const beforeSpec = `{"apiVersion":"0.0.1","kind":"dsse","spec":`

func (c *canonical) body() []byte {
	size := 256 + len(c.envelope) + len(c.payload)
	for _, s := range c.signatures {
		size += 32 + len(s.text) + base64.StdEncoding.EncodedLen(len(s.verifier))
	}
	b := append(make([]byte, 0, size), beforeSpec+`{"envelopeHash":{"algorithm":"sha256","value":`...)
	b = entry.AppendString(b, c.envelope[len(sha256Key):])
	b = append(b, `},"payloadHash":{"algorithm":"sha256","value":`...)
	b = entry.AppendString(b, c.payload[len(sha256Key):])
	b = append(b, `},"signatures":[`...)
	for i, s := range c.signatures {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"signature":`...)
		b = entry.AppendString(b, s.text)
		b = append(b, `,"verifier":`...)
		b = entry.AppendBase64(b, s.verifier)
		b = append(b, '}')
	}
	return append(b, `]}}`...)
}

// parseCanonical reads a body as the log keeps it. It is for looking an entry up by its body, so
// that nothing in it needs to hold.
func parseCanonical(spec any) (*Entry, error) {
	var c canonical
	var err error
	if c.envelope, err = hashValue(entry.Object(spec, "envelopeHash"), "envelopeHash"); err != nil {
		return nil, err
	}
	if c.payload, err = hashValue(entry.Object(spec, "payloadHash"), "payloadHash"); err != nil {
		return nil, err
	}
	m, _ := spec.(map[string]any)
	list, _ := m["signatures"].([]any)
	for _, item := range list {
		o, ok := item.(map[string]any)
		if !ok {
			continue
		}
		s := signature{text: entry.Text(o, "signature")}
		if _, err := base64.StdEncoding.DecodeString(s.text); err != nil || s.text == "" || strings.ContainsAny(s.text, "\r\n") {
			return nil, entry.Invalidf("signatures has an item whose signature is not standard base64")
		}
		if s.verifier, err = entry.Bytes(o, "verifier", "signatures.verifier"); err != nil {
			return nil, err
		}
		if len(s.verifier) == 0 {
			return nil, entry.Invalidf("signatures has an item without verifier")
		}
		c.signatures = append(c.signatures, s)
	}
	if n := len(c.signatures); n == 0 || n > envelope.MaxSignatures {
		return nil, entry.Invalidf("signatures should have 1 to %d items", envelope.MaxSignatures)
	}
	c.sort()
	return &Entry{Base: entry.NewBase(c.body(), nil), lookup: true}, nil
}

func hashValue(o map[string]any, field string) (string, error) {
	value, ok := o["value"].(string)
	if !ok || entry.Text(o, "algorithm") != "sha256" {
		return "", entry.Invalidf("%s should have the algorithm sha256 and a value", field)
	}
	return sha256Key + value, nil
}

// match finds the key of every signature. Each key, in order, is the key of the first signature
// that it verifies and must verify one, as upstream has it; keys left over when all signatures
// have theirs are not looked at.
func match(env *envelope.Envelope, verifiers [][]byte) ([]signature, error) {
	open := 0 // signatures; the same one twice is one
	for i, s := range env.Signatures {
		if !slices.ContainsFunc(env.Signatures[:i], func(have envelope.Signature) bool { return have.Sig == s.Sig }) {
			open++
		}
	}
	matched := make([]signature, 0, open)
	for _, pem := range verifiers {
		if len(matched) == open {
			break
		}
		key, err := entry.ParseKey(pem)
		if err != nil {
			return nil, err
		}
		i, err := env.SignedBy(key, nil)
		if err != nil {
			return nil, err
		}
		if i < 0 {
			return nil, entry.Invalidf("could not verify envelope: a verifier verifies none of its signatures")
		}
		s := signature{text: env.Signatures[i].Sig, verifier: key.PEM(), key: key}
		if have := slices.IndexFunc(matched, func(have signature) bool { return have.text == s.text }); have >= 0 {
			matched[have] = s
		} else {
			matched = append(matched, s)
		}
	}
	if len(matched) < open {
		return nil, entry.Invalidf("could not verify envelope: a signature has no verifier that verifies it")
	}
	return matched, nil
}

// predicate is that of SLSA 0.1 or 0.2 where ok; of several in a statement the last one counts.
type predicate struct {
	ok   bool
	read struct {
		Materials envelope.List[struct {
			Digest map[string]string `json:"digest"`
		}] `json:"materials"`
	}
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *predicate) UnmarshalJSON(data []byte) (err error) {
	*p = predicate{}
	p.ok, err = envelope.Unmarshal(data, &p.read)
	return err
}

// materials returns the digests of the materials of a SLSA 0.1 or 0.2 predicate.
func materials(statement []byte) (out []string, err error) {
	var s struct {
		Predicate predicate `json:"predicate"`
	}
	if err := json.Unmarshal(statement, &s); errors.Is(err, entry.ErrInvalid) {
		return nil, err
	} else if err != nil || !s.Predicate.ok {
		return nil, nil
	}
	for _, m := range s.Predicate.read.Materials {
		out = envelope.AppendDigests(out, m.Digest)
	}
	return out, nil
}
