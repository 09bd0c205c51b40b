package entry

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"slices"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
)

// Object returns v[name] where v is an object and the member is one too, nil otherwise. Names
// match exactly, letter case included, as upstream's do below "spec".
func Object(v any, name string) map[string]any {
	m, _ := v.(map[string]any)
	o, _ := m[name].(map[string]any)
	return o
}

// Text returns m[name] where it is a string, "" otherwise.
func Text(m map[string]any, name string) string {
	s, _ := m[name].(string)
	return s
}

// Bytes decodes m[name] from standard base64 with padding; nil where it is missing or no string.
// field names it in the error, which wraps ErrInvalid.
func Bytes(m map[string]any, name, field string) ([]byte, error) {
	s := Text(m, name)
	if s == "" {
		return nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, Invalidf("%s is not standard base64", field)
	}
	return b, nil
}

// RefuseURL refuses an object that names something to fetch: the log fetches nothing.
func RefuseURL(m map[string]any, field string) error {
	if v, ok := m["url"]; ok && v != nil && v != "" {
		return Invalidf("%s.url: fetching by URL is not supported", field)
	}
	return nil
}

// RefuseURLs refuses a value in which any object names something to fetch. field is how the value is called in
// errors, "" for the spec itself.
func RefuseURLs(v any, field string) error {
	if !namesURL(v) {
		return nil // as nearly always: nothing needs a name
	}
	return refuseURLs(v, field)
}

func refuseURLs(v any, field string) error {
	switch v := v.(type) {
	case map[string]any:
		if err := RefuseURL(v, cmp.Or(field, "spec")); err != nil {
			return err
		}
		for name, member := range v {
			if field != "" {
				name = field + "." + name
			}
			if err := refuseURLs(member, name); err != nil {
				return err
			}
		}
	case []any:
		for _, item := range v {
			if err := refuseURLs(item, field); err != nil {
				return err
			}
		}
	}
	return nil
}

// namesURL says whether RefuseURLs refuses a value.
func namesURL(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		if u, ok := v["url"]; ok && u != nil && u != "" {
			return true
		}
		for _, member := range v {
			if namesURL(member) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, namesURL)
	}
	return false
}

// AppendString appends s as a JSON string in the canonical form of RFC 8785. s must be UTF-8.
func AppendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return append(dst, escape(s)...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// AppendBase64 appends b as a JSON string of standard base64.
func AppendBase64(dst, b []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

// escape is the slow way, by the library that defines the form for all of Rekor.
func escape(s string) []byte {
	raw, err := json.Marshal([]string{s})
	if err == nil {
		raw, err = jsoncanonicalizer.Transform(raw)
	}
	if err != nil { // a string that json.Marshal wrote is always one that it reads
		panic(err)
	}
	return raw[1 : len(raw)-1]
}
