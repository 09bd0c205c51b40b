package dsse

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/sigbox/sigbox/tlog/entry"
)

const (
	maxSignatures = 100
	maxDigests    = 10_000
	maxAttempts   = 1_000 // signature checks for one envelope
	inToto        = "application/vnd.in-toto+json"
)

// envelope is a DSSE envelope with its payload and signatures decoded.
type envelope struct {
	Type       string `json:"payloadType"`
	Payload    string `json:"payload"`
	Signatures []struct {
		KeyID string `json:"keyid"` // says nothing that counts; a wrong type is refused as upstream does
		Sig   string `json:"sig"`
	} `json:"signatures"`

	payload []byte
	raw     [][]byte // decoded Signatures
}

func parseEnvelope(text string) (*envelope, error) {
	var e envelope
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return nil, entry.Invalid("proposedContent.envelope is not the JSON of a DSSE envelope", err)
	}
	if err := entry.UniqueKeys([]byte(text)); err != nil {
		return nil, entry.Invalidf("proposedContent.envelope: %v", err)
	}
	if n := len(e.Signatures); n == 0 || n > maxSignatures {
		return nil, entry.Invalidf("DSSE envelope should have 1 to %d signatures", maxSignatures)
	}
	var ok bool
	if e.payload, ok = decodeBase64(e.Payload); !ok {
		return nil, entry.Invalidf("payload of the DSSE envelope is not base64")
	}
	for _, s := range e.Signatures {
		raw, ok := decodeBase64(s.Sig)
		if !ok {
			return nil, entry.Invalidf("a signature of the DSSE envelope is not base64")
		}
		e.raw = append(e.raw, raw)
	}
	return &e, nil
}

// decodeBase64 takes both alphabets, as the DSSE specification does.
func decodeBase64(s string) ([]byte, bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		b, err = base64.URLEncoding.DecodeString(s)
	}
	return b, err == nil
}

// pae is the pre-authentication encoding: what the signatures are over.
func (e *envelope) pae() []byte {
	b := append(make([]byte, 0, len(e.payload)+len(e.Type)+48), "DSSEv1 "...)
	b = strconv.AppendInt(b, int64(len(e.Type)), 10)
	b = append(b, ' ')
	b = append(b, e.Type...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(e.payload)), 10)
	b = append(b, ' ')
	return append(b, e.payload...)
}

// match finds the key of every signature. Each key, in order, is the key of the first signature
// that it verifies and must verify one, as upstream has it; keys left over when all signatures
// have theirs are not looked at.
func (e *envelope) match(verifiers [][]byte) (map[string]*entry.Key, error) {
	open := map[string]bool{}
	for _, s := range e.Signatures {
		open[s.Sig] = true
	}
	message := e.pae()
	matched := map[string]*entry.Key{}
	attempts := 0
	for _, pem := range verifiers {
		if len(open) == 0 {
			break
		}
		key, err := entry.ParseKey(pem)
		if err != nil {
			return nil, err
		}
		found := false
		for i, raw := range e.raw {
			if attempts++; attempts > maxAttempts {
				return nil, entry.Invalidf("too many signatures and verifiers: list the verifiers in the order of the signatures")
			}
			if entry.VerifyMessage(key.Public(), message, raw) == nil {
				sig := e.Signatures[i].Sig
				delete(open, sig)
				matched[sig], found = key, true
				break
			}
		}
		if !found {
			return nil, entry.Invalidf("could not verify envelope: a verifier verifies none of its signatures")
		}
	}
	if len(open) > 0 {
		return nil, entry.Invalidf("could not verify envelope: a signature has no verifier that verifies it")
	}
	return matched, nil
}

// digests returns "algorithm:hex" of the subjects and materials of an in-toto statement, in the
// order of the statement, none for any other payload.
func (e *envelope) digests() ([]string, error) {
	var s statement
	if e.Type != inToto || json.Unmarshal(e.payload, &s) != nil {
		return nil, nil
	}
	var p provenance
	if s.Predicate != nil && json.Unmarshal(s.Predicate, &p) != nil {
		p.Materials = nil
	}
	var out []string
	add := func(digest map[string]string) {
		for _, alg := range slices.Sorted(maps.Keys(digest)) {
			out = append(out, alg+":"+digest[alg])
		}
	}
	for _, sub := range s.Subject {
		add(sub.Digest)
	}
	for _, m := range p.Materials {
		add(m.Digest)
	}
	if len(out) > maxDigests {
		return nil, entry.Invalidf("statement has more than %d digests", maxDigests)
	}
	return out, nil
}
