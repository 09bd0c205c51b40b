package hashedrekord

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/hex"

	"github.com/sigbox/sigbox/tlog/entry"
)

// Kind is "kind" and "apiVersion" of such an entry.
var Kind = entry.Kind{Name: "hashedrekord", Version: "0.0.1"}

// Entry is a hashedrekord whose signature holds.
type Entry struct {
	entry.Base
	permitted bool
	key       *entry.Key
}

// Verifiers returns the key or certificate.
func (e *Entry) Verifiers() ([]entry.Verifier, error) { return entry.Verifiers([]*entry.Key{e.key}) }

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
	return &Entry{
		Base:      entry.NewBase(f.body(key.PEM()), f.keys(key)),
		permitted: entry.Permitted(key.Public(), hash),
		key:       key,
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
	if err := entry.RefuseURLs(spec, ""); err != nil {
		return f, err
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

// keys are the search keys, in upstream's order.
func (f *fields) keys(key *entry.Key) []string {
	subjects := key.Subjects()
	keys := append(make([]string, 0, len(subjects)+2), key.Fingerprint())
	return append(append(keys, subjects...), f.algorithm+":"+f.value)
}

// The canonical form, around algorithm, value, signature and key, of which none holds a quote.
const (
	beforeAlgorithm = `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"`
	beforeValue     = `","value":"`
	beforeSignature = `"}},"signature":{"content":"`
	beforeKey       = `","publicKey":{"content":"`
	end             = `"}}}}`
)

// body writes the canonical form. The value is kept as it was given: upstream keeps its letter
// case, and clients that build the body themselves must find what they sent.
func (f *fields) body(pem []byte) []byte {
	b := make([]byte, 0, 256+len(f.value)+4*(len(pem)+len(f.signature))/3)
	b = append(b, beforeAlgorithm...)
	b = append(b, f.algorithm...)
	b = append(b, beforeValue...)
	b = append(b, f.value...)
	b = append(b, beforeSignature...)
	b = base64.StdEncoding.AppendEncode(b, f.signature)
	b = append(b, beforeKey...)
	b = base64.StdEncoding.AppendEncode(b, pem)
	return append(b, end...)
}

// Keys returns the search keys of an entry from its canonical body, as Parse has them, without
// verifying the signature. Errors: entry.ErrUnknownKind where the body is not of this kind,
// entry.ErrInvalid where it is none that Parse has made.
func Keys(body []byte) ([][]byte, error) {
	rest, ok := bytes.CutPrefix(body, []byte(beforeAlgorithm))
	if !ok {
		return nil, entry.ErrUnknownKind
	}
	var parts [4][]byte
	for i, after := range []string{beforeValue, beforeSignature, beforeKey, end} {
		if parts[i], rest, ok = bytes.Cut(rest, []byte(after)); !ok || bytes.IndexByte(parts[i], '"') >= 0 {
			return nil, entry.Invalidf("not a canonical hashedrekord body")
		}
	}
	pem, err := base64.StdEncoding.AppendDecode(nil, parts[3])
	if err != nil || len(rest) > 0 {
		return nil, entry.Invalidf("not a canonical hashedrekord body")
	}
	key, err := entry.ReadKey(pem)
	if err != nil {
		return nil, err
	}
	f := fields{algorithm: string(parts[0]), value: string(parts[1])}
	return entry.SearchKeys(f.keys(key)), nil
}
