package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
	"unsafe"
)

// maxDepth bounds nesting; no Sigstore request comes near it.
const maxDepth = 64

// maxValues bounds what is made of a value, and how many names are held to find one that is there twice: of two bytes
// of JSON a reader makes a hundred.
const maxValues = 1 << 17

// What is wrong with a value.
var (
	ErrUTF8      = errors.New("not valid UTF-8 JSON") // or a byte order mark, or half a surrogate pair
	ErrSyntax    = errors.New("not valid JSON")
	ErrDeep      = errors.New("JSON nesting is deeper than 64")
	ErrDuplicate = errors.New("duplicate field in JSON object")
	ErrTrailing  = errors.New("trailing data after the JSON value")
	ErrMany      = errors.New("JSON has more than 131072 values, or as many names in the objects around one")
)

// Parse reads the one value that data is: a map[string]any, []any, string, json.Number, bool or nil. Its errors
// are those of this package.
func Parse(data []byte) (any, error) { return Take(bytes.Clone(data)) }

// Take is [Parse] that takes data over, for a large body: the strings of the value are parts of it. Whatever Take
// returns, the caller neither reads data afterwards, nor writes to it.
func Take(data []byte) (any, error) { return (&reader{data: data, own: true}).whole() }

// ParseLoose is [Parse] that reads half of a surrogate pair as U+FFFD, as encoding/json does: for what is
// signed and was read so before. Strings of the value are parts of data, which nobody may write to as long as they
// are in use.
func ParseLoose(data []byte) (any, error) { return ParseSome(data, nil) }

// Pick lists members to read: a nil Pick takes all of a value, an empty one all members of an object.
type Pick []Want

// Want is a member to read, with the Pick of its value.
type Want struct {
	Name string
	Pick Pick
}

// Some is an object of which a [Pick] lists members: those that are there, in their order. Few as they are, they need
// a third of the memory of a map.
type Some []Named

// Named is a member of an object.
type Named struct {
	Name  string
	Value any
}

// Member is the function of that name for such an object.
func (s Some) Member(name string) any {
	for _, m := range s {
		if sameName(m.Name, name) {
			return m.Value
		}
	}
	return nil
}

// ParseSome is [ParseLoose] that makes nothing of members of objects which pick does not list; they are checked all
// the same, and may have any number of values. An object that has a Pick which is not nil is a [Some].
func ParseSome(data []byte, pick Pick) (any, error) {
	return (&reader{data: data, loose: true, pick: pick}).whole()
}

// Check says whether [Parse] takes data, and makes nothing of it.
func Check(data []byte) error {
	_, err := (&reader{data: data, check: true}).whole()
	return err
}

// Bytes are those of s, for functions that want them and do not change them: nobody may write to them.
func Bytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// Text is b as a string, without a copy: nobody may write to b any more.
func Text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

type reader struct {
	data  []byte
	at    int
	own   bool // escapes are resolved in data itself
	loose bool
	check bool // nothing is made of what is read but names
	pick  Pick // of the value at hand
	skip  bool // nothing will be made of it, and it may have any number of values
	count int  // of values that count
	names names
}

// member reads the value of a member; keep says whether it is wanted.
func (r *reader) member(name string, depth int) (v any, keep bool, err error) {
	if r.check || r.pick == nil {
		v, err = r.value(depth)
		return v, !r.check, err
	}
	pick, count := r.pick, r.count
	r.pick, keep = pick.of(name)
	r.check, r.skip = !keep, !keep
	v, err = r.value(depth)
	if !keep {
		r.count = count
	}
	r.pick, r.check, r.skip = pick, false, false
	return v, keep, err
}

// of returns the Pick of a member, and whether it is wanted.
func (p Pick) of(name string) (Pick, bool) {
	for i := range p {
		if sameName(p[i].Name, name) {
			return p[i].Pick, true
		}
	}
	return nil, len(p) == 0
}

func (r *reader) whole() (any, error) {
	if !utf8.Valid(r.data) || bytes.HasPrefix(r.data, []byte("\xef\xbb\xbf")) {
		return nil, ErrUTF8
	}
	r.blanks()
	v, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if r.blanks(); r.at != len(r.data) {
		return nil, ErrTrailing
	}
	return v, nil
}

// next returns the byte at hand, 0 at the end: no value begins with that.
func (r *reader) next() byte {
	if r.at < len(r.data) {
		return r.data[r.at]
	}
	return 0
}

func (r *reader) blanks() {
	for r.at < len(r.data) {
		switch r.data[r.at] {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return
		}
	}
}

func (r *reader) value(depth int) (any, error) {
	if r.count++; r.count > maxValues && !r.skip {
		return nil, ErrMany
	}
	switch c := r.next(); {
	case c == '{' || c == '[':
		if depth == maxDepth {
			return nil, ErrDeep
		}
		r.at++
		if c == '[' {
			return r.array(depth + 1)
		}
		return r.object(depth + 1)
	case c == '"':
		s, err := r.text(!r.check)
		if r.check || err != nil {
			return nil, err
		}
		return s, nil
	case c == 't':
		return true, r.word("true")
	case c == 'f':
		return false, r.word("false")
	case c == 'n':
		return nil, r.word("null")
	}
	return r.number()
}

func (r *reader) word(w string) error {
	if !bytes.HasPrefix(r.data[r.at:], []byte(w)) {
		return ErrSyntax
	}
	r.at += len(w)
	return nil
}

func (r *reader) array(depth int) (any, error) {
	var list []any
	for first := true; ; first = false {
		r.blanks()
		if first && r.next() == ']' {
			r.at++
			break
		}
		v, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		if !r.check {
			list = append(list, v)
		}
		r.blanks()
		c := r.next()
		r.at++
		if c == ']' {
			break
		}
		if c != ',' {
			return nil, ErrSyntax
		}
	}
	switch {
	case r.check:
		return nil, nil
	case list == nil:
		return []any{}, nil
	}
	return list, nil
}

func (r *reader) object(depth int) (any, error) {
	var members map[string]any
	var some Some
	switch {
	case r.check:
	case r.pick != nil:
		some = make(Some, 0, max(len(r.pick), 1))
	default:
		members = map[string]any{}
	}
	around := r.names.enter()
	for first := true; ; first = false {
		r.blanks()
		if first && r.next() == '}' {
			r.at++
			break
		}
		name, err := r.name()
		if err != nil {
			return nil, err
		}
		v, keep, err := r.member(name, depth)
		if err != nil {
			return nil, err
		}
		switch {
		case !keep:
		case some != nil:
			some = append(some, Named{name, v})
		default:
			members[name] = v
		}
		r.blanks()
		c := r.next()
		r.at++
		if c == '}' {
			break
		}
		if c != ',' {
			return nil, ErrSyntax
		}
	}
	r.names.leave(around)
	switch {
	case some != nil:
		return some, nil
	case members != nil:
		return members, nil
	}
	return nil, nil
}

// name reads the name of a member and what stands between it and its value.
func (r *reader) name() (string, error) {
	if r.next() != '"' {
		return "", ErrSyntax
	}
	name, err := r.text(true)
	if err != nil {
		return "", err
	}
	if err := r.names.add(name); err != nil {
		return "", err
	}
	if r.blanks(); r.next() != ':' {
		return "", ErrSyntax
	}
	r.at++
	r.blanks()
	return name, nil
}

// number reads the number at hand (RFC 8259 6).
func (r *reader) number() (any, error) {
	from := r.at
	digits := func() bool {
		start := r.at
		for c := r.next(); '0' <= c && c <= '9'; c = r.next() {
			r.at++
		}
		return r.at > start
	}
	if r.next() == '-' {
		r.at++
	}
	if r.next() == '0' {
		r.at++
	} else if !digits() {
		return nil, ErrSyntax
	}
	if r.next() == '.' {
		r.at++
		if !digits() {
			return nil, ErrSyntax
		}
	}
	if c := r.next(); c == 'e' || c == 'E' {
		r.at++
		if c := r.next(); c == '+' || c == '-' {
			r.at++
		}
		if !digits() {
			return nil, ErrSyntax
		}
	}
	if r.check {
		return nil, nil
	}
	return json.Number(Text(r.data[from:r.at:r.at])), nil
}
