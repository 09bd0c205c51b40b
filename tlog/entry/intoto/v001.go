package intoto

import (
	"bytes"
	"encoding/json"

	"golang.org/x/crypto/ssh"

	"github.com/sigbox/sigbox/internal/strictjson"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/envelope"
)

// v001 is what a body of version 0.0.1 holds.
type v001 struct {
	envelope, payload digest
	key               *entry.Key
}

// ParseV001 reads the spec of a proposed intoto 0.0.1 entry, or of a canonical one for a look-up; it
// is an [entry.Parser].
func ParseV001(spec any) (entry.Proposed, error) {
	if err := entry.RefuseURLs(spec, ""); err != nil {
		return nil, err
	}
	content := entry.Object(spec, "content")
	if content == nil {
		return nil, entry.Invalidf("missing content")
	}
	var v v001
	var err error
	if v.envelope, err = readDigest(content, "hash"); err != nil {
		return nil, err
	}
	if v.payload, err = readDigest(content, "payloadHash"); err != nil {
		return nil, err
	}
	m, _ := spec.(map[string]any)
	pem, err := entry.Bytes(m, "publicKey", "publicKey")
	if err != nil {
		return nil, err
	}
	if entry.Text(m, "publicKey") == "" {
		return nil, entry.Invalidf("missing publicKey")
	}
	if v.key, err = entry.ParseKey(pem); err != nil {
		return nil, err
	}
	text := entry.Text(content, "envelope")
	if text != "" {
		return v.propose(text)
	}
	if v.envelope.set == "" {
		return nil, entry.Invalidf("missing content.envelope")
	}
	return &Entry{Base: entry.NewBase(v.body(), nil), missing: "missing content.envelope"}, nil
}

// propose checks an envelope and makes the entry of it.
func (v *v001) propose(text string) (*Entry, error) {
	env, err := envelope.Parse(text, "content.envelope")
	if err != nil {
		return nil, err
	}
	if env.Payload == "" || env.Type == "" {
		return nil, entry.Invalidf("content.envelope should have payload and payloadType")
	}
	if !env.StandardAlphabet() {
		return nil, entry.Invalidf("payload of the DSSE envelope is not standard base64")
	}
	i, err := env.SignedBy(v.key, otherKeyID(v.key))
	if err != nil {
		return nil, err
	}
	if i < 0 {
		return nil, entry.Invalidf("could not verify envelope: publicKey verifies none of its signatures")
	}
	v.envelope, v.payload = sum(strictjson.Bytes(text)), sum(env.Body())
	return newEntry(v.body(), v.keys(), env, v.key)
}

// otherKeyID says which signatures name another key than this one: by the fingerprint that SSH gives
// keys, as the DSSE library does. Such a signature is not tried, even if it would hold.
func otherKeyID(key *entry.Key) func(envelope.Signature) bool {
	pub, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return nil // a kind of key that SSH has no name for
	}
	id := ssh.FingerprintSHA256(pub)
	return func(s envelope.Signature) bool { return s.KeyID != "" && s.KeyID != id }
}

const beforeV001 = `{"apiVersion":"0.0.1","kind":"intoto","spec":`

func (v *v001) body() []byte {
	b := append([]byte(beforeV001), `{"content":{"hash":`...)
	b = append(b, v.envelope.set...)
	if v.payload.set != "" { // the oldest entries have none
		b = append(b, `,"payloadHash":`...)
		b = append(b, v.payload.set...)
	}
	b = append(b, `},"publicKey":`...)
	return append(entry.AppendBase64(b, v.key.PEM()), `}}`...)
}

// keys are the search keys that a body tells, in upstream's order.
func (v *v001) keys() []string {
	keys := v.key.AppendSigner([]string{"sha256:" + v.envelope.value})
	return append(keys, "sha256:"+v.payload.value)
}

// readV001 reads what is stored between beforeV001 and the last brace.
func readV001(spec []byte) (*v001, error) {
	var s struct {
		Content struct {
			Hash, PayloadHash struct{ Value string }
		}
		PublicKey []byte
	}
	if err := json.Unmarshal(spec, &s); err != nil {
		return nil, entry.Invalid("not a canonical intoto body", err)
	}
	key, err := entry.ReadKey(s.PublicKey)
	if err != nil {
		return nil, err
	}
	return &v001{envelope: newDigest(s.Content.Hash.Value), payload: newDigest(s.Content.PayloadHash.Value), key: key}, nil
}

// Keys returns the search keys of an entry from its stored form, as the parsers have them, without
// verifying anything. Errors: entry.ErrUnknownKind where the body is not of this kind,
// entry.ErrInvalid where it is none that a parser has made.
func Keys(stored []byte) ([][]byte, error) {
	body, digests, err := entry.Stored(stored)
	if err != nil {
		return nil, entry.Invalid("not a stored intoto entry", err)
	}
	var canonical []byte
	var keys []string
	if spec, ok := bytes.CutPrefix(body, []byte(beforeV001)); ok {
		v, err := readV001(bytes.TrimSuffix(spec, []byte("}")))
		if err != nil {
			return nil, err
		}
		canonical, keys = v.body(), v.keys()
	} else if spec, ok := bytes.CutPrefix(body, []byte(beforeV002)); ok {
		v, err := readV002(bytes.TrimSuffix(spec, []byte("}")))
		if err != nil {
			return nil, err
		}
		canonical, keys = v.body(), v.keys()
	} else {
		return nil, entry.ErrUnknownKind
	}
	if !bytes.Equal(canonical, body) {
		return nil, entry.Invalidf("not a canonical intoto body")
	}
	return entry.SearchKeys(append(keys, digests...)), nil
}
