package entry

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// A log keeps the canonical body of an entry. Where search keys come from what the body does not have
// (the statement in a DSSE envelope), they are kept behind it, so that all of them can be told from
// what is stored: a newline, which no canonical body has, and a JSON array. Only the body is the
// Merkle leaf; no hash covers the rest.

// AppendKeys returns the stored form of a body with search keys that it does not tell.
func AppendKeys(body []byte, keys [][]byte) []byte {
	if len(keys) == 0 {
		return body
	}
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = string(k)
	}
	text, err := json.Marshal(list)
	if err != nil { // strings
		panic(err)
	}
	stored := make([]byte, 0, len(body)+1+len(text))
	return append(append(append(stored, body...), '\n'), text...)
}

// Stored takes the stored form apart into the body and the search keys behind it. The error is
// about a row that [AppendKeys] has not made.
func Stored(stored []byte) (body []byte, keys []string, err error) {
	body, text, ok := bytes.Cut(stored, []byte("\n"))
	if !ok {
		return stored, nil, nil
	}
	if err := json.Unmarshal(text, &keys); err != nil || len(keys) == 0 {
		return nil, nil, fmt.Errorf("what is stored behind a body is no list of search keys: %.64q", text)
	}
	return body, keys, nil
}

// LeafInput returns the body of a stored form, for tlog.Config.
func LeafInput(stored []byte) ([]byte, error) {
	body, _, _ := bytes.Cut(stored, []byte("\n"))
	return body, nil
}
