package strictjson

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// text reads the string at hand, and makes one of it where that is wanted.
func (r *reader) text(want bool) (string, error) {
	r.at++
	from := r.at
	at := special(r.data, from)
	if at == len(r.data) || r.data[at] < 0x20 {
		return "", ErrSyntax
	}
	if r.data[at] == '\\' {
		return r.escaped(from, at, want)
	}
	r.at = at + 1
	if !want {
		return "", nil
	}
	return Text(r.data[from:at:at]), nil
}

const ones, tops = 0x0101010101010101, 0x8080808080808080

// specials has the top bit of each byte of w that is a quote, a backslash or a control character; above the first of
// them it may be wrong.
func specials(w uint64) uint64 {
	quote, slash := w^ones*'"', w^ones*'\\'
	// The top bit of a byte that is zero, or less than 0x20.
	return ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*0x20)&^w) & tops
}

// special returns where the first byte of data from i is that does not stand for itself in a string, or ends it:
// a quote, a backslash or a control character; len(data) where there is none.
func special(data []byte, i int) int {
	for ; i+8 <= len(data); i += 8 {
		if found := specials(binary.LittleEndian.Uint64(data[i:])); found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
		for ; i+40 <= len(data); i += 32 { // long strings, as base64 is
			w := data[i+8 : i+40]
			if specials(binary.LittleEndian.Uint64(w))|specials(binary.LittleEndian.Uint64(w[8:]))|
				specials(binary.LittleEndian.Uint64(w[16:]))|specials(binary.LittleEndian.Uint64(w[24:])) != 0 {
				break
			}
		}
	}
	for ; i < len(data); i++ {
		if c := data[i]; c < 0x20 || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

// escaped reads a string that begins at from and whose first escape is at at. What it stands for is never longer, so
// that it fits into its place.
func (r *reader) escaped(from, at int, want bool) (string, error) {
	var b []byte // what stands before r.at
	switch {
	case !want:
	case r.own:
		b = r.data[from:at]
	default:
		b = append(make([]byte, 0, r.end(at)-from), r.data[from:at]...)
	}
	for r.at = at; ; {
		switch r.next() {
		case '"':
			r.at++
			return Text(b), nil
		case '\\':
		default: // a control character, or the end
			return "", ErrSyntax
		}
		c, err := r.escape()
		if err != nil {
			return "", err
		}
		next := special(r.data, r.at)
		if want {
			b = append(utf8.AppendRune(b, c), r.data[r.at:next]...)
		}
		r.at = next
	}
}

// end returns where the quote is that ends the string around i, or the end of data where there is none.
func (r *reader) end(i int) int {
	for i < len(r.data) && r.data[i] != '"' {
		if r.data[i] == '\\' {
			i++
		}
		i = special(r.data, i+1)
	}
	return min(i, len(r.data))
}

// short are the escapes of one letter.
var short = map[byte]rune{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads the escape at hand.
func (r *reader) escape() (rune, error) {
	r.at++
	c := r.next() // 0 at the end, which is none
	r.at++
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
