package intoto

import (
	"encoding/json"

	"github.com/sigbox/sigbox/internal/strictjson"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/envelope"
)

// v002 is what a body of version 0.0.2 holds.
type v002 struct {
	envelope, payload digest
	payloadType       string
	signatures        []signature
	owners            []*entry.Key // of the signatures; nil for a look-up
}

// signature is a signature with the key that comes with it, which need not be the one that has made it.
type signature struct {
	keyID    string
	pem, sig []byte // sig is the base64 that the envelope had
}

// ParseV002 reads the spec of a proposed intoto 0.0.2 entry, or of a canonical one for a look-up; it
// is an [entry.Parser].
func ParseV002(spec any) (entry.Proposed, error) {
	if err := entry.RefuseURLs(spec, ""); err != nil {
		return nil, err
	}
	content := entry.Object(spec, "content")
	env := entry.Object(content, "envelope")
	if env == nil {
		return nil, entry.Invalidf("missing content.envelope")
	}
	var v v002
	var err error
	if v.envelope, err = readDigest(content, "hash"); err != nil {
		return nil, err
	}
	if v.envelope.set == "" {
		return nil, entry.Invalidf("missing content.hash")
	}
	if v.payload, err = readDigest(content, "payloadHash"); err != nil {
		return nil, err
	}
	var ok bool
	if v.payloadType, ok = env["payloadType"].(string); !ok {
		return nil, entry.Invalidf("missing content.envelope.payloadType")
	}
	if v.signatures, err = readSignatures(env["signatures"]); err != nil {
		return nil, err
	}
	payload, err := entry.Bytes(env, "payload", "content.envelope.payload")
	if err != nil {
		return nil, err
	}
	if len(payload) > 0 {
		return v.propose(strictjson.Text(payload))
	}
	if v.payload.set == "" {
		return nil, entry.Invalidf("missing content.envelope.payload")
	}
	return &Entry{Base: entry.NewBase(v.body(), nil), missing: "missing content.envelope.payload"}, nil
}

func readSignatures(v any) (out []signature, err error) {
	const field = "content.envelope.signatures"
	list, _ := v.([]any)
	if n := len(list); n == 0 || n > envelope.MaxSignatures {
		return nil, entry.Invalidf("%s should have 1 to %d items", field, envelope.MaxSignatures)
	}
	for _, item := range list {
		o, ok := item.(map[string]any)
		if !ok {
			return nil, entry.Invalidf("%s has an item that is no object", field)
		}
		s := signature{keyID: entry.Text(o, "keyid")}
		if _, ok := o["sig"].(string); !ok {
			return nil, entry.Invalidf("%s has an item without sig", field)
		}
		if _, ok := o["publicKey"].(string); !ok {
			return nil, entry.Invalidf("%s has an item without publicKey", field)
		}
		if s.sig, err = entry.Bytes(o, "sig", field+".sig"); err != nil {
			return nil, err
		}
		if s.pem, err = entry.Bytes(o, "publicKey", field+".publicKey"); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// propose verifies the signatures over a payload, which is base64, and makes the entry.
func (v *v002) propose(payload string) (*Entry, error) {
	if v.payloadType == "" {
		return nil, entry.Invalidf("content.envelope.payloadType is empty")
	}
	env := &envelope.Envelope{Type: v.payloadType, Payload: payload}
	for _, s := range v.signatures {
		if len(s.sig) == 0 || len(s.pem) == 0 {
			return nil, entry.Invalidf("content.envelope.signatures has an item with an empty sig or publicKey")
		}
		env.Signatures = append(env.Signatures, envelope.Signature{KeyID: s.keyID, Sig: string(s.sig)})
	}
	if err := env.Open(); err != nil {
		return nil, err
	}
	if !env.StandardAlphabet() {
		return nil, entry.Invalidf("payload of the DSSE envelope is not standard base64")
	}
	if err := v.verify(env); err != nil {
		return nil, err
	}
	v.payload = sum(env.Body())
	return newEntry(v.body(), v.keys(), env, v.owners...)
}

// verify checks that each key is that of a signature, and that each signature is by one of the keys. A
// key counts for the first signature that it verifies, as upstream has it.
func (v *v002) verify(env *envelope.Envelope) error {
	open := map[string]bool{}
	for _, s := range env.Signatures {
		open[s.Sig] = true
	}
	for _, s := range v.signatures {
		key, err := entry.ParseKey(s.pem)
		if err != nil {
			return err
		}
		i, err := env.SignedBy(key, nil)
		if err != nil {
			return err
		}
		if i < 0 {
			return entry.Invalidf("could not verify envelope: a publicKey verifies none of its signatures")
		}
		delete(open, env.Signatures[i].Sig)
		v.owners = append(v.owners, key)
	}
	if len(open) > 0 {
		return entry.Invalidf("could not verify envelope: a signature has no publicKey that verifies it")
	}
	return nil
}

const beforeV002 = `{"apiVersion":"0.0.2","kind":"intoto","spec":`

func (v *v002) body() []byte {
	b := append([]byte(beforeV002), `{"content":{"envelope":{"payloadType":`...)
	b = entry.AppendString(b, v.payloadType)
	b = append(b, `,"signatures":[`...)
	for i, s := range v.signatures {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		if s.keyID != "" {
			b = append(entry.AppendString(append(b, `"keyid":`...), s.keyID), ',')
		}
		b = entry.AppendBase64(append(b, `"publicKey":`...), s.pem)
		b = entry.AppendBase64(append(b, `,"sig":`...), s.sig)
		b = append(b, '}')
	}
	b = append(b, `]},"hash":`...)
	b = append(b, v.envelope.set...)
	b = append(b, `,"payloadHash":`...)
	b = append(b, v.payload.set...)
	return append(b, `}}}`...)
}

// keys are the search keys that a body tells, in upstream's order.
func (v *v002) keys() (keys []string) {
	for _, key := range v.owners {
		keys = key.AppendSigner(keys)
	}
	return append(keys, "sha256:"+v.payload.value)
}

// readV002 reads what is stored between beforeV002 and the last brace.
func readV002(spec []byte) (*v002, error) {
	var s struct {
		Content struct {
			Envelope struct {
				PayloadType string
				Signatures  []struct {
					KeyID          string
					PublicKey, Sig []byte
				}
			}
			Hash, PayloadHash struct{ Value string }
		}
	}
	if err := json.Unmarshal(spec, &s); err != nil {
		return nil, entry.Invalid("not a canonical intoto body", err)
	}
	v := &v002{
		envelope: newDigest(s.Content.Hash.Value), payload: newDigest(s.Content.PayloadHash.Value),
		payloadType: s.Content.Envelope.PayloadType,
	}
	for _, item := range s.Content.Envelope.Signatures {
		key, err := entry.ParseKey(item.PublicKey) // as the client sent it
		if err != nil {
			return nil, err
		}
		v.signatures = append(v.signatures, signature{item.KeyID, item.PublicKey, item.Sig})
		v.owners = append(v.owners, key)
	}
	return v, nil
}
