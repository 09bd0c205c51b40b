package httpx_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sigbox/sigbox/internal/httpx"
)

// message returns what a client would read, and fails the test if err is anything but a refusal.
func message(t *testing.T, err error, status int) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *httpx.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is a %T, want *httpx.Error: %v", err, err)
	}
	if e.Status != status {
		t.Errorf("status %d, want %d", e.Status, status)
	}
	return e.Message
}

// object has n keys n0, n1, ..., and then others.
func object(n int, others ...string) string {
	var members []string
	for i := range n {
		members = append(members, fmt.Sprintf(`"n%d":%d`, i, i))
	}
	for _, name := range others {
		members = append(members, fmt.Sprintf(`%q:0`, name))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func TestCheckJSON(t *testing.T) {
	const (
		notUTF8   = "body is not valid UTF-8 JSON"
		malformed = "body is not valid JSON"
		duplicate = "duplicate field in JSON object"
		deep      = "JSON nesting is deeper than 64"
		trailing  = "trailing data after the JSON body"
	)
	for _, tc := range []struct{ name, in, want string }{
		{"object", ` {"a": [1, "x", null, true, {"a": 0}]} ` + "\n", ""},
		{"bare number", `1`, ""},
		{"no body", ``, malformed},
		{"space only", " \n", malformed},
		{"word that is not JSON", `nul`, malformed},
		{"NaN", `{"a": NaN}`, malformed},
		{"comment", `{/* */"a": 1}`, malformed},
		{"single quotes", `{'a': 1}`, malformed},
		{"key that is no string", `{1: 1}`, malformed},
		{"comma at the end of a list", `[1,]`, malformed},
		{"comma at the end of an object", `{"a":1,}`, malformed},
		{"wrong bracket", `[1}`, malformed},
		{"missing value", `{"a"}`, malformed},
		{"broken off in an object", `{"a": {"b": 1}`, malformed},
		{"broken off in a string", `{"a": "b`, malformed},
		{"control character in a string", "[\"\x00\"]", malformed},

		{"64 lists", nest("[", "]", 64), ""},
		{"65 lists", nest("[", "]", 65), deep},
		{"64 objects", nest(`{"a":`, "}", 64), ""},
		{"65 objects", nest(`{"a":`, "}", 65), deep},
		{"a million lists never closed", strings.Repeat("[", 1e6), deep},
		{"depth of siblings does not add up", "[" + strings.Repeat("[],", 100) + "[]]", ""},

		{"key twice", `{"a":1,"a":2}`, duplicate},
		{"key twice, equal values", `{"a":1,"a":1}`, duplicate},
		{"key twice, inner object", `[{"x":{"a":1,"b":2,"a":2}}]`, duplicate},
		{"key twice, one of them escaped", `{"a":1,"\u0061":2}`, duplicate},
		{"key twice but for letter case", `{"spec":1,"Spec":2}`, duplicate},
		{"long s", `{"ſpec":1,"spec":2}`, duplicate},
		{"long s, the other order", `{"SPEC":1,"ſpec":2}`, duplicate},
		{"Kelvin sign", `{"kind":1,"Kind":2}`, duplicate},
		{"three sigmas", `{"σ":1,"ς":2}`, duplicate},
		{"same key in two objects", `[{"a":1},{"a":1}]`, ""},
		{"same key in an inner object", `{"a":{"a":{"a":1}}}`, ""},
		{"key equal to a value", `{"a":"b","b":"a"}`, ""},
		{"key twice among many", object(40, "n3"), duplicate},
		{"key twice among many, the first beyond the few", object(40, "N16"), duplicate},
		{"key twice among many, the last", object(40, "ſ39", "S39"), duplicate},
		{"many keys", object(40, "N40"), ""},
		{"as many keys as are few", object(15, "N15"), ""},
		{"dotted i is no i", `{"i":1,"İ":2}`, ""},

		{"two values", `{} {}`, trailing},
		{"bracket after the value", `{}]`, trailing},
		{"word after the value", `{} x`, trailing},
		{"NUL after the value", "{}\x00", trailing},

		{"byte order mark", "\xef\xbb\xbf{}", notUTF8},
		{"Latin-1", "[\"\xe9\"]", notUTF8},
		{"overlong slash", "[\"\xc0\xaf\"]", notUTF8},
		{"surrogate as bytes", "[\"\xed\xa0\x80\"]", notUTF8},
		{"UTF-16", "{\x00}\x00", malformed},
		{"half a pair, escaped", `["\ud800"]`, notUTF8},
		{"second half first", `["\udc00\ud800"]`, notUTF8},
		{"second half twice", `["\udc00\udc00"]`, notUTF8},
		{"first half and a letter after the second halves", `["\ud800\ue000"]`, notUTF8},
		{"first half and the letters of the second", `["\ud800xudc00"]`, notUTF8},
		{"first half twice", `["\ud800\ud800"]`, notUTF8},
		{"halves with a letter between", `["\ud83dx\ude00"]`, notUTF8},
		{"half a pair in a key", `{"\uDFFF":1}`, notUTF8},
		{"pair", `["\ud83d\ude00\uD83D\uDE00"]`, ""},
		{"the letters of half a pair after a backslash", `["\\ud800"]`, ""},
		{"the digits of half a pair after a line break", `["\nd800"]`, ""},
		{"escapes next to the surrogates", `["\ud7ff\ue000"]`, ""},
		{"broken escape", `["\ud8`, malformed},

		{"number of 100,000 digits", strings.Repeat("9", 1e5), ""},
		{"number beyond any float", `[1e999999999]`, ""},
		{"leading zero", `[01]`, malformed},
		{"hexadecimal", `[0x10]`, malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := message(t, httpx.CheckJSON([]byte(tc.in)), http.StatusBadRequest); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if _, err := httpx.ParseJSON([]byte(tc.in)); message(t, err, http.StatusBadRequest) != tc.want {
				t.Errorf("parsed: %v, want %q", err, tc.want)
			}
		})
	}
}

func nest(left, right string, n int) string {
	return strings.Repeat(left, n) + "0" + strings.Repeat(right, n)
}

func TestDecodeJSON(t *testing.T) {
	type inner struct{ N int }
	type body struct {
		Kind  string
		Count float64
		Inner inner
		List  []string
	}
	for _, tc := range []struct {
		name, in string
		strict   bool
		want     string
	}{
		{"unknown field", `{"kind":"a","no":1}`, false, ""},
		{"unknown field, strict", `{"kind":"a","no":1}`, true, `unknown field "no"`},
		{"unknown field in an inner object, strict", `{"inner":{"no":1}}`, true, `unknown field "no"`},
		{"long unknown field is cut", `{"` + strings.Repeat("n", 1000) + `":1}`, true, `unknown field "` + strings.Repeat("n", 63)},
		{"refused by CheckJSON", `{"kind":"a","Kind":"b"}`, false, "duplicate field in JSON object"},
		{"body of the wrong type", `[]`, false, "body has the wrong type: want an object"},
		{"number for a string", `{"kind":1}`, false, `field "Kind" has the wrong type: want string`},
		{"string for an object", `{"inner":"a"}`, false, `field "Inner" has the wrong type: want an object`},
		{"fraction for an integer", `{"inner":{"N":1.5}}`, false, `field "Inner.N" has the wrong type: want int`},
		{"integer too large", `{"inner":{"N":9223372036854775808}}`, false, `field "Inner.N" has the wrong type: want int`},
		{"float too large", `{"count":1e999}`, false, `field "Count" has the wrong type: want float64`},
		{"integer of 100,000 digits", `{"inner":{"N":` + strings.Repeat("9", 1e5) + `}}`, false, `field "Inner.N" has the wrong type: want int`},
		{"object for a list", `{"list":{}}`, false, `field "List" has the wrong type: want []string`},
		{"null counts as missing", `null`, true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var v body
			if got := message(t, httpx.DecodeJSON([]byte(tc.in), &v, tc.strict), http.StatusBadRequest); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if tc.want == "" && strings.Contains(tc.in, "kind") && v.Kind != "a" {
				t.Errorf("decoded %+v", v)
			}
		})
	}
}

// Upstream's clients compare bodies, and a body without a length breaks some of them.
func TestWriteJSON(t *testing.T) {
	rec := httptest.NewRecorder()
	httpx.WriteJSON(rec, http.StatusTeapot, map[string]string{"a": "<&>"})
	if got, want := rec.Body.String(), `{"a":"<&>"}`+"\n"; got != want {
		t.Errorf("body %q, want %q", got, want)
	}
	h := rec.Result().Header
	if rec.Code != http.StatusTeapot || h.Get("Content-Type") != "application/json" || h.Get("Content-Length") != "12" {
		t.Errorf("status %d, headers %v", rec.Code, h)
	}
}

// What CheckJSON accepts is JSON, and no decoder finds a key in it twice: not encoding/json, which
// folds case where it decodes into structs, and not one that keeps the last of two.
func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":[{"a":null}]}`, `{"spec":1,"ſpec":2}`, `{"a":1,"\u0061":2}`, `["\ud83d\ude00","\ud800"]`,
		`[1,]`, `[1}`, `{} {}`, "\xef\xbb\xbf{}", `{"K":1,"k":{}}`, nest("[", "]", 64), nest(`{"a":`, "}", 65)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := httpx.CheckJSON(data); err != nil {
			message(t, err, http.StatusBadRequest)
			return
		}
		if !json.Valid(data) {
			t.Fatal("accepted what encoding/json refuses")
		}
		var keys int
		walk(t, data, &keys)
		if colons := colonsOutsideStrings(data); keys != colons {
			t.Errorf("%d keys survive decoding, the text has %d", keys, colons)
		}
	})
}

// walk decodes data into maps, level by level, counts the keys that are left, and fails the test
// where two of one object are equal but for letter case or a value has lost a character.
func walk(t *testing.T, data []byte, keys *int) {
	switch data[0] {
	case '{':
		var obj map[string]json.RawMessage
		if err := json.Unmarshal(data, &obj); err != nil {
			t.Fatal(err)
		}
		*keys += len(obj)
		var names []string
		for name, value := range obj {
			if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) {
				t.Errorf("key %q is there twice", name)
			}
			names = append(names, name)
			walk(t, value, keys)
		}
	case '[':
		var list []json.RawMessage
		if err := json.Unmarshal(data, &list); err != nil {
			t.Fatal(err)
		}
		for _, value := range list {
			walk(t, value, keys)
		}
	case ' ', '\t', '\r', '\n':
		walk(t, data[1:], keys)
	case '"':
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			t.Fatal(err)
		}
		written := strings.Count(strings.ToLower(string(data)), `\ufffd`) + strings.Count(string(data), "\ufffd")
		if got := strings.Count(s, string(utf8.RuneError)); got > written {
			t.Errorf("%q reads as %q", data, s)
		}
	}
}

// colonsOutsideStrings counts the keys of valid JSON without decoding it.
func colonsOutsideStrings(data []byte) (n int) {
	inside := false
	for i := 0; i < len(data); i++ {
		switch {
		case data[i] == '"':
			inside = !inside
		case inside && data[i] == '\\':
			i++
		case !inside && data[i] == ':':
			n++
		}
	}
	return n
}

func BenchmarkCheckJSON(b *testing.B) {
	text := []byte(`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":"` + strings.Repeat("0", 64) +
		`"}},"signature":{"content":"` + strings.Repeat("A", 96) + `","publicKey":{"content":"` + strings.Repeat("A", 240) + `"}}}}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := httpx.CheckJSON(text); err != nil {
			b.Fatal(err)
		}
	}
}
