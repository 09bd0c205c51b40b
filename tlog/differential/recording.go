package differential

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Recording is what an upstream server answered.
type Recording struct {
	Server  string   `json:"server"` // name, version and settings that matter
	Answers []Answer `json:"answers"`
}

//go:embed testdata/*.json
var recordings embed.FS

// Recorded returns a recording of testdata: "rekor-v1", "rekor-v2".
func Recorded(api string) (*Recording, error) {
	raw, err := recordings.ReadFile("testdata/" + api + ".json")
	if err != nil {
		return nil, err
	}
	return Decode(raw)
}

// Decode reads a recording as Encode has written it.
func Decode(raw []byte) (*Recording, error) {
	r := &Recording{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return r, dec.Decode(r)
}

// Encode returns the recording as it is kept, an answer of few lines each.
func (r *Recording) Encode() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(r)
	return buf.Bytes(), err
}

// Disagreement is one thing in one answer that two servers say differently.
type Disagreement struct {
	Request      string
	Field        string // "status", "code", "message", "body", or "header" and a name
	Theirs, Ours string // as JSON
}

func (d Disagreement) String() string {
	return fmt.Sprintf("%s: %s: upstream %s, ours %s", d.Request, d.Field, d.Theirs, d.Ours)
}

// Compare returns what differs between answers of two servers to the same requests. It is an error
// where they were not asked the same: the recording is older than the requests.
func Compare(theirs, ours []Answer) ([]Disagreement, error) {
	var out []Disagreement
	for i, o := range ours {
		if i >= len(theirs) || theirs[i].Name != o.Name || theirs[i].Fingerprint != o.Fingerprint {
			return nil, fmt.Errorf("request %d, %s, is not in the recording: record it again (docs/design/0016-differences.md)", i, o.Name)
		}
		a, b := fields(theirs[i]), fields(o)
		names := maps.Clone(a)
		maps.Copy(names, b)
		for _, f := range slices.Sorted(maps.Keys(names)) {
			if a[f] != b[f] {
				out = append(out, Disagreement{o.Name, f, a[f], b[f]})
			}
		}
	}
	if len(theirs) > len(ours) {
		return nil, fmt.Errorf("the recording has %d answers to %d requests: record it again", len(theirs), len(ours))
	}
	return out, nil
}

// fields are the parts of an answer that are compared, as JSON; a header that is missing is none.
func fields(a Answer) map[string]string {
	out := map[string]string{"status": text(a.Status)}
	for k, v := range a.Header {
		out["header "+k] = text(v)
	}
	if m, ok := a.Body.(map[string]any); ok && m["message"] != nil {
		for k, v := range m {
			out[k] = text(v)
		}
		return out
	}
	out["body"] = text(a.Body)
	return out
}

func text(v any) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // it was decoded from JSON
		panic(err)
	}
	return string(bytes.TrimSpace(buf.Bytes()))
}
