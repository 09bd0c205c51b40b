package hashedrekord

import (
	"crypto"
	"encoding/hex"

	"github.com/sigbox/sigbox/tlog/entry"
)

// Kind is "kind" and "apiVersion" of such an entry.
var Kind = entry.Kind{Name: "hashedrekord", Version: "0.0.1"}

// Entry is a hashedrekord whose signature holds.
type Entry struct {
	entry.Base
	permitted bool
}

// Insertable refuses an algorithm that the log does not take. Such an entry can still be looked
// up: a log may have been written under another policy.
func (e *Entry) Insertable() error {
	if !e.permitted {
		return entry.Invalidf("entry algorithms are not allowed")
	}
	return nil
}

// Parse reads the spec of a proposed or canonical hashedrekord; it is an [entry.Parser].
func Parse(spec any) (entry.Proposed, error) {
	f, err := decode(spec)
	if err != nil {
		return nil, err
	}
	key, err := entry.ParseKey(f.key)
	if err != nil {
		return nil, err
	}
	hash, digest, err := f.digest()
	if err != nil {
		return nil, err
	}
	if err := key.CheckChain(); err != nil {
		return nil, err
	}
	if err := entry.VerifyDigest(key.Public(), hash, digest, f.signature); err != nil {
		return nil, entry.Invalidf("verifying signature: %v", err)
	}
	keys := append([]string{key.Fingerprint()}, key.Subjects()...)
	keys = append(keys, f.algorithm+":"+f.value)
	return &Entry{
		Base:      entry.NewBase(f.body(key.PEM()), keys),
		permitted: entry.Permitted(key.Public(), hash),
	}, nil
}

type fields struct {
	signature, key   []byte
	algorithm, value string
}

func decode(spec any) (fields, error) {
	var f fields
	sig, data := entry.Object(spec, "signature"), entry.Object(spec, "data")
	pub, hash := entry.Object(sig, "publicKey"), entry.Object(data, "hash")
	for _, o := range []struct {
		m     map[string]any
		field string
	}{{data, "data"}, {sig, "signature"}, {pub, "signature.publicKey"}} {
		if err := entry.RefuseURL(o.m, o.field); err != nil {
			return f, err
		}
	}
	var err error
	if f.signature, err = entry.Bytes(sig, "content", "signature.content"); err != nil {
		return f, err
	}
	if f.key, err = entry.Bytes(pub, "content", "signature.publicKey.content"); err != nil {
		return f, err
	}
	f.algorithm, f.value = entry.Text(hash, "algorithm"), entry.Text(hash, "value")
	switch {
	case len(f.signature) == 0:
		return f, entry.Invalidf("missing signature.content")
	case len(f.key) == 0:
		return f, entry.Invalidf("missing signature.publicKey.content")
	case f.algorithm == "" || f.value == "":
		return f, entry.Invalidf("missing data.hash.algorithm or data.hash.value")
	}
	return f, nil
}

func (f *fields) digest() (crypto.Hash, []byte, error) {
	var h crypto.Hash
	switch f.algorithm {
	case "sha256":
		h = crypto.SHA256
	case "sha384":
		h = crypto.SHA384
	case "sha512":
		h = crypto.SHA512
	default:
		return 0, nil, entry.Invalidf("data.hash.algorithm should be one of sha256, sha384, sha512")
	}
	digest, err := hex.DecodeString(f.value)
	if err != nil || len(digest) != h.Size() {
		return 0, nil, entry.Invalidf("data.hash.value is not the hex of a %s digest", f.algorithm)
	}
	return h, digest, nil
}

// body writes the canonical form. The value is kept as it was given: upstream keeps its letter
// case, and clients that build the body themselves must find what they sent.
func (f *fields) body(pem []byte) []byte {
	b := make([]byte, 0, 256+len(f.value)+4*(len(pem)+len(f.signature))/3)
	b = append(b, `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":`...)
	b = entry.AppendString(b, f.algorithm)
	b = append(b, `,"value":`...)
	b = entry.AppendString(b, f.value)
	b = append(b, `}},"signature":{"content":`...)
	b = entry.AppendBase64(b, f.signature)
	b = append(b, `,"publicKey":{"content":`...)
	b = entry.AppendBase64(b, pem)
	return append(b, `}}}}`...)
}
