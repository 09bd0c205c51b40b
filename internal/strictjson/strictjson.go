package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds nesting; no Sigstore request comes near it.
const maxDepth = 64

// What is wrong with a value.
var (
	ErrUTF8      = errors.New("not valid UTF-8 JSON") // or a byte order mark, or half a surrogate pair
	ErrSyntax    = errors.New("not valid JSON")
	ErrDeep      = errors.New("JSON nesting is deeper than 64")
	ErrDuplicate = errors.New("duplicate field in JSON object")
	ErrTrailing  = errors.New("trailing data after the JSON value")
)

// Parse reads the one value that data is: a map[string]any, []any, string, json.Number, bool or nil. Its errors
// are those of this package.
func Parse(data []byte) (any, error) { return (&reader{data: data}).whole() }

// ParseLoose is [Parse] that reads half of a surrogate pair as U+FFFD, as encoding/json does: for what is
// signed and was read so before.
func ParseLoose(data []byte) (any, error) { return ParseSome(data, nil) }

// Pick names members to read: a nil Pick takes all of a value.
type Pick map[string]Pick

// ParseSome is [ParseLoose] that makes nothing of members of objects which pick does not name; they are checked all
// the same.
func ParseSome(data []byte, pick Pick) (any, error) {
	return (&reader{data: data, loose: true, pick: pick}).whole()
}

// Check says whether [Parse] takes data, and makes nothing of it.
func Check(data []byte) error {
	_, err := (&reader{data: data, check: true}).whole()
	return err
}

type reader struct {
	data  []byte
	at    int
	loose bool
	check bool // nothing is made of what is read but names
	pick  Pick // of the value at hand
}

// member reads the value of a member; keep says whether it is wanted.
func (r *reader) member(name string, depth int) (v any, keep bool, err error) {
	if r.check || r.pick == nil {
		v, err = r.value(depth)
		return v, !r.check, err
	}
	pick := r.pick
	r.pick, keep = pick.of(name)
	r.check = !keep
	v, err = r.value(depth)
	r.pick, r.check = pick, false
	return v, keep, err
}

func (p Pick) of(name string) (Pick, bool) {
	for have, inner := range p {
		if strings.EqualFold(have, name) {
			return inner, true
		}
	}
	return nil, false
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
	list := []any{}
	r.blanks()
	if r.next() == ']' {
		r.at++
		return list, nil
	}
	for {
		r.blanks()
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
			return list, nil
		}
		if c != ',' {
			return nil, ErrSyntax
		}
	}
}

func (r *reader) object(depth int) (any, error) {
	var members map[string]any
	if !r.check {
		members = map[string]any{}
	}
	var names names
	r.blanks()
	if r.next() == '}' {
		r.at++
		return members, nil
	}
	for {
		r.blanks()
		if r.next() != '"' {
			return nil, ErrSyntax
		}
		name, err := r.text(true)
		if err != nil {
			return nil, err
		}
		if !names.add(name) {
			return nil, ErrDuplicate
		}
		if r.blanks(); r.next() != ':' {
			return nil, ErrSyntax
		}
		r.at++
		r.blanks()
		v, keep, err := r.member(name, depth)
		if err != nil {
			return nil, err
		}
		if keep {
			members[name] = v
		}
		r.blanks()
		c := r.next()
		r.at++
		if c == '}' {
			return members, nil
		}
		if c != ',' {
			return nil, ErrSyntax
		}
	}
}

// text reads the string at hand, and makes one of it where that is wanted.
func (r *reader) text(want bool) (string, error) {
	r.at++
	from := r.at
	for i, c := range r.data[from:] {
		switch {
		case c == '"':
			r.at = from + i + 1
			if !want {
				return "", nil
			}
			return string(r.data[from : from+i]), nil
		case c == '\\':
			return r.escaped(from, from+i, want)
		case c < 0x20:
			return "", ErrSyntax
		}
	}
	return "", ErrSyntax
}

// plain says of a byte in a string that it stands for itself and does not end it.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\'
	}
	return t
}()

// escaped reads a string that begins at from and whose first escape is at at.
func (r *reader) escaped(from, at int, want bool) (string, error) {
	end := r.end(at)
	if end < 0 {
		return "", ErrSyntax
	}
	var b strings.Builder
	if want {
		b.Grow(end - from)
	}
	for r.at = at; ; {
		if want {
			b.Write(r.data[from:r.at])
		}
		if r.data[r.at] == '"' {
			r.at++
			return b.String(), nil
		}
		c, err := r.escape()
		if err != nil {
			return "", err
		}
		if want {
			b.WriteRune(c)
		}
		for from = r.at; plain[r.data[r.at]]; r.at++ {
		}
		if r.data[r.at] < 0x20 {
			return "", ErrSyntax
		}
	}
}

// end returns where the quote is that ends the string around i, -1 where there is none.
func (r *reader) end(i int) int {
	for ; i < len(r.data); i++ {
		switch r.data[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return -1
}

// short are the escapes of one letter.
var short = map[byte]rune{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads the escape at hand, behind which a quote is still to come.
func (r *reader) escape() (rune, error) {
	c := r.data[r.at+1]
	r.at += 2
	if c == '"' { // by far the most frequent
		return '"', nil
	}
	if c != 'u' {
		if one, ok := short[c]; ok {
			return one, nil
		}
		return 0, ErrSyntax
	}
	high, ok := r.unit()
	if !ok {
		return 0, ErrSyntax
	}
	if !utf16.IsSurrogate(high) {
		return high, nil
	}
	if bytes.HasPrefix(r.data[r.at:], []byte(`\u`)) {
		before := r.at
		r.at += 2
		low, ok := r.unit()
		if pair := utf16.DecodeRune(high, low); ok && pair != unicode.ReplacementChar {
			return pair, nil
		}
		r.at = before
	}
	if !r.loose {
		return 0, ErrUTF8
	}
	return unicode.ReplacementChar, nil
}

// unit reads four hexadecimal digits.
func (r *reader) unit() (u rune, ok bool) {
	if r.at+4 > len(r.data) {
		return 0, false
	}
	for _, c := range r.data[r.at : r.at+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		u = u<<4 | rune(c)
	}
	r.at += 4
	return u, true
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
	return json.Number(r.data[from:r.at]), nil
}
