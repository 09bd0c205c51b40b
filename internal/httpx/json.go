package httpx

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"

	"github.com/sigbox/sigbox/internal/strictjson"
)

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
	return jsonError(strictjson.Check(data))
}

// ParseJSON checks data as CheckJSON does and returns the value, as package strictjson has it. The error is
// always an *Error with status 400.
func ParseJSON(data []byte) (any, error) {
	v, err := strictjson.Parse(data)
	return v, jsonError(err)
}

// TakeJSON is ParseJSON that takes data over, as strictjson.Take does.
func TakeJSON(data []byte) (any, error) {
	v, err := strictjson.Take(data)
	return v, jsonError(err)
}

// jsonError puts what strictjson says as clients read it.
func jsonError(err error) error {
	switch err {
	case nil:
		return nil
	case strictjson.ErrUTF8:
		return Errorf(http.StatusBadRequest, "body is not valid UTF-8 JSON")
	case strictjson.ErrTrailing:
		return Errorf(http.StatusBadRequest, "trailing data after the JSON body")
	case strictjson.ErrDeep, strictjson.ErrDuplicate, strictjson.ErrMany:
		return Errorf(http.StatusBadRequest, "%v", err)
	}
	return malformed()
}

func malformed() *Error { return Errorf(http.StatusBadRequest, "body is not valid JSON") }

// DecodeJSON checks data as CheckJSON does and decodes it into v. With strict an unknown field
// is refused too. The error is always an *Error with status 400.
func DecodeJSON(data []byte, v any, strict bool) error {
	if err := CheckJSON(data); err != nil {
		return err
	}
	if err := decode(data, v, strict); err != nil {
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

func decode(data []byte, v any, strict bool) error {
	if !strict {
		return json.Unmarshal(data, v) // without a copy of data
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}
