package entry

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigbox/sigbox/tlog/tile"
)

// ErrInvalid is what every refusal of an entry wraps. The message of such an error may be shown
// to the client: it names the field and what is wrong with it.
var ErrInvalid = errors.New("invalid entry")

// ErrUnknownKind is wrapped when a log takes no entry of a kind or version.
var ErrUnknownKind = fmt.Errorf("%w: unknown kind", ErrInvalid)

// invalid is a refusal with a message for the client and a cause for the log.
type invalid struct {
	msg   string
	cause error // nil where the message says all
	is    error // ErrInvalid or what wraps it
}

func (e *invalid) Error() string { return e.msg }

func (e *invalid) Unwrap() []error {
	if e.cause == nil {
		return []error{e.is}
	}
	return []error{e.is, e.cause}
}

// Invalidf returns a refusal with a message for the client.
func Invalidf(format string, args ...any) error {
	return &invalid{msg: fmt.Sprintf(format, args...), is: ErrInvalid}
}

// Invalid returns a refusal with a message for the client. The cause, which may quote what the
// client sent, is for our own log: find it with [Cause].
func Invalid(msg string, cause error) error {
	return &invalid{msg: msg, cause: cause, is: ErrInvalid}
}

// Cause returns what lies behind a refusal and is not shown to the client, nil if nothing does.
func Cause(err error) error {
	var e *invalid
	if errors.As(err, &e) {
		return e.cause
	}
	return nil
}

// Proposed is an entry that was parsed and whose signatures hold.
type Proposed interface {
	Signed
	// Body returns the canonical body, which is both Merkle leaf and stored bytes.
	Body() []byte
	// Insertable says why the entry may be looked up but not appended, nil if it may. The error
	// wraps ErrInvalid.
	Insertable() error
}

// Kind names a kind of entry and its version: "kind" and "apiVersion" of a body.
type Kind struct{ Name, Version string }

// Parser reads the "spec" of a proposed entry, decoded with json.Decoder.UseNumber into maps,
// slices, strings, json.Numbers and booleans, checks it and verifies its signatures. Its errors
// wrap ErrInvalid.
type Parser func(spec any) (Proposed, error)

// Kinds are the kinds of entries that a log takes.
type Kinds map[Kind]Parser

// Parse finds the parser of a kind and runs it. Errors: ErrUnknownKind where there is none, and
// the parser's.
func (k Kinds) Parse(kind Kind, spec any) (Proposed, error) {
	if parse, ok := k[kind]; ok {
		return parse(spec)
	}
	for known := range k {
		if known.Name == kind.Name {
			return nil, &invalid{
				msg: fmt.Sprintf("%s implementation for version %.32q not found", kind.Name, kind.Version), is: ErrUnknownKind,
			}
		}
	}
	return nil, &invalid{
		msg: fmt.Sprintf("entry kind %.32q is not enabled for submission on this server", kind.Name), is: ErrUnknownKind,
	}
}

// Limits of the search keys of one entry, as package tlog takes them.
const (
	maxKeys   = 100
	maxKeyLen = 512 // bytes
)

// Base is the canonical body of an entry with what follows from it. Kinds embed it.
type Base struct {
	body []byte
	id   [32]byte
	keys [][]byte
}

// NewBase returns the base of an entry with that canonical body and what [SearchKeys] makes of keys.
func NewBase(body []byte, keys []string) Base {
	return Base{body: body, id: tile.LeafHash(body), keys: SearchKeys(keys)}
}

// NewToldBase is NewBase for an entry whose body tells the first keys and not more; told is how many of its search
// keys come of those.
func NewToldBase(body []byte, keys, more []string) (b Base, told int) {
	b = Base{body: body, id: tile.LeafHash(body)}
	b.keys, told = searchKeys(append(keys, more...), len(keys))
	return b, told
}

// Identity returns the leaf hash of the body: what Rekor calls the entry's UUID.
func (b *Base) Identity() [32]byte { return b.id }

// Body returns the canonical body.
func (b *Base) Body() []byte { return b.body }

// Encode returns the body twice: the leaf of an entry does not depend on its place or time.
func (b *Base) Encode(_, _ int64) (leaf, stored []byte, err error) { return b.body, b.body, nil }

// Keys returns the search keys.
func (b *Base) Keys() [][]byte { return b.keys }

// SearchKeys returns keys as an entry has them: lower-cased, as queries are; a key that repeats or is
// longer than 512 bytes is left out, and so is what comes after the first 100.
func SearchKeys(keys []string) [][]byte {
	out, _ := searchKeys(keys, 0)
	return out
}

// searchKeys is SearchKeys that says how many of them come of the first keys.
func searchKeys(keys []string, first int) (out [][]byte, ofFirst int) {
	out = make([][]byte, 0, min(len(keys), maxKeys))
	var size int
	for _, k := range keys {
		size += len(k)
	}
	all := make([]byte, 0, min(size, maxKeys*maxKeyLen)) // the keys, one after the other
	for i, k := range keys {
		k = strings.ToLower(k)
		if k == "" || len(k) > maxKeyLen || slices.ContainsFunc(out, func(have []byte) bool { return string(have) == k }) {
			continue
		}
		if len(out) == maxKeys {
			break
		}
		from := len(all)
		all = append(all, k...)
		out = append(out, all[from:len(all):len(all)])
		if i < first {
			ofFirst = len(out)
		}
	}
	return out, ofFirst
}
