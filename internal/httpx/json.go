package httpx

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a JSON body; no Sigstore request comes near it.
const maxDepth = 64

// WriteJSON answers with v as JSON. HTML escaping is off: upstream clients compare bodies.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // our own types: a bug, not an input
		panic(err)
	}
	Write(w, status, "application/json", buf.Bytes())
}

// CheckJSON says whether data is exactly one JSON value that all decoders read alike (RFC 7493):
// valid UTF-8 without a byte order mark or half a surrogate pair, no key twice in an object
// (letter case aside), bounded depth, nothing after the value. The error is always an *Error with
// status 400.
func CheckJSON(data []byte) error {
	if !utf8.Valid(data) || bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) || loneSurrogate(data) {
		return Errorf(http.StatusBadRequest, "body is not valid UTF-8 JSON")
	}
	if !json.Valid(data) {
		if tooDeep(data) {
			return deep()
		}
		var first json.RawMessage
		if json.NewDecoder(bytes.NewReader(data)).Decode(&first) == nil {
			return Errorf(http.StatusBadRequest, "trailing data after the JSON body")
		}
		return malformed()
	}
	return checkObjects(data)
}

// checkObjects checks the depth and the names of a JSON value, which is valid.
func checkObjects(data []byte) error {
	around := make([]names, 0, 8) // those of each object that is open; none for an array
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			if len(around) == maxDepth {
				return deep()
			}
			around = append(around, names{})
		case '}', ']':
			around = around[:len(around)-1]
		case '"':
			text := data[i : i+stringLen(data[i:])]
			i += len(text) - 1
			if !bytes.HasPrefix(bytes.TrimLeft(data[i+1:], " \t\r\n"), []byte(":")) {
				continue // no name
			}
			if !around[len(around)-1].add(unquote(text)) {
				return Errorf(http.StatusBadRequest, "duplicate field in JSON object")
			}
		}
	}
	return nil
}

// names are those of an object so far, which differ in more than letter case.
type names struct {
	few  [][]byte
	many map[string]bool // all of them, folded, where they are not few
}

// add returns false where the name is there already.
func (n *names) add(name []byte) bool {
	const few = 16 // as objects have; comparing them needs no memory
	if len(n.few) < few {
		for _, have := range n.few {
			if bytes.EqualFold(have, name) {
				return false
			}
		}
		if n.few == nil {
			n.few = make([][]byte, 0, 4)
		}
		n.few = append(n.few, name)
		return true
	}
	if n.many == nil {
		n.many = make(map[string]bool, 2*few)
		for _, have := range n.few {
			n.many[strings.Map(fold, string(have))] = true
		}
	}
	folded := strings.Map(fold, string(name))
	if n.many[folded] {
		return false
	}
	n.many[folded] = true
	return true
}

func deep() *Error {
	return Errorf(http.StatusBadRequest, "JSON nesting is deeper than %d", maxDepth)
}

// tooDeep says so of what is not valid JSON.
func tooDeep(data []byte) bool {
	depth, inside := 0, false
	for i := 0; i < len(data) && depth <= maxDepth; i++ {
		switch c := data[i]; {
		case c == '"':
			inside = !inside
		case inside && c == '\\':
			i++
		case !inside && (c == '[' || c == '{'):
			depth++
		case !inside && (c == ']' || c == '}'):
			depth--
		}
	}
	return depth > maxDepth
}

// stringLen returns the length of the JSON string that data begins with, quotes included.
func stringLen(data []byte) int {
	i := 1
	for data[i] != '"' {
		if data[i] == '\\' {
			i++
		}
		i++
	}
	return i + 1
}

// unquote decodes a JSON string.
func unquote(text []byte) []byte {
	if bytes.IndexByte(text, '\\') < 0 {
		return text[1 : len(text)-1]
	}
	var s string
	_ = json.Unmarshal(text, &s) // it is valid
	return []byte(s)
}

// fold maps the letters that strings.EqualFold takes for one to the first of them. encoding/json
// matches keys to fields that way, so a lower-case copy is not enough: "ſpec" is "spec" to it.
func fold(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}

// loneSurrogate says whether a \u escape in data is one half of a surrogate pair without the other:
// some decoders refuse it, some keep it, ours would read U+FFFD.
func loneSurrogate(data []byte) bool {
	for {
		i := bytes.IndexByte(data, '\\')
		if i < 0 || i+2 > len(data) {
			return false
		}
		high := escape(data[i:])
		data = data[i+2:]
		if high < 0xd800 || high > 0xdfff {
			continue
		}
		low := escape(data[4:])
		if high > 0xdbff || low < 0xdc00 || low > 0xdfff {
			return true
		}
		data = data[10:]
	}
}

// escape returns the code unit of the \uXXXX that b begins with, 0 where it begins with none.
func escape(b []byte) uint64 {
	if len(b) < 6 || b[1] != 'u' || b[0] != '\\' {
		return 0
	}
	u, _ := strconv.ParseUint(string(b[2:6]), 16, 16) // 0 where it is not hexadecimal
	return u
}

func malformed() *Error { return Errorf(http.StatusBadRequest, "body is not valid JSON") }

// DecodeJSON checks data as CheckJSON does and decodes it into v. With strict an unknown field
// is refused too. The error is always an *Error with status 400.
func DecodeJSON(data []byte, v any, strict bool) error {
	if err := CheckJSON(data); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(v); err != nil {
		var typ *json.UnmarshalTypeError
		if errors.As(err, &typ) {
			want := typ.Type.String()
			if typ.Type.Kind() == reflect.Struct { // our type's name means nothing to the client
				want = "an object"
			}
			if typ.Field == "" {
				return Errorf(http.StatusBadRequest, "body has the wrong type: want %s", want)
			}
			return Errorf(http.StatusBadRequest, "field %q has the wrong type: want %s", typ.Field, want)
		}
		if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return Errorf(http.StatusBadRequest, "unknown field %.64s", field)
		}
		return malformed()
	}
	return nil
}
