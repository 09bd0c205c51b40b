package differential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Corpus returns the kept proposed entries by name, all of them taken by what they are for: those of
// Rekor v1 named for their kind, the requests of Rekor v2 "v2-" and more. tlog is the directory of
// this tree with that name. None has a line break at its end.
func Corpus(tlog fs.FS) (map[string]string, error) {
	out := map[string]string{}
	for _, dir := range []string{"differential/testdata/corpus", "entry/upstream/testdata"} {
		files, err := fs.Glob(tlog, dir+"/*.json")
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("no entries in %s", dir)
		}
		for _, f := range files {
			raw, err := fs.ReadFile(tlog, f)
			if err != nil {
				return nil, err
			}
			out[strings.TrimSuffix(path.Base(f), ".json")] = strings.TrimSpace(string(raw))
		}
	}
	return out, nil
}

// removed takes a member out, as the new value of edit.
type removed struct{}

// edit returns JSON with the member at a path of dots replaced. It panics where there is no way to
// it: the table that asks for it is wrong.
func edit(text, at string, with any) string {
	v, err := decodeJSON([]byte(text))
	if err != nil {
		panic(err)
	}
	o, ok := v.(map[string]any)
	names := strings.Split(at, ".")
	for _, n := range names[:len(names)-1] {
		if ok {
			o, ok = o[n].(map[string]any)
		}
	}
	if !ok {
		panic(fmt.Sprintf("nothing is at %s of %.100s", at, text))
	}
	last := names[len(names)-1]
	if with == (removed{}) {
		delete(o, last)
	} else {
		o[last] = with
	}
	return encode(v)
}

// get returns the string at a path of dots.
func get(text, at string) string {
	v, err := decodeJSON([]byte(text))
	if err != nil {
		panic(err)
	}
	for _, n := range strings.Split(at, ".") {
		o, _ := v.(map[string]any)
		v = o[n]
	}
	s, ok := v.(string)
	if !ok {
		panic(fmt.Sprintf("no string is at %s of %.100s", at, text))
	}
	return s
}

// replace returns text with the first of old replaced, which has to be there.
func replace(text, old, with string) string {
	if !strings.Contains(text, old) {
		panic(fmt.Sprintf("%.100s holds no %s", text, old))
	}
	return strings.Replace(text, old, with, 1)
}

func encode(v any) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // it was decoded from JSON
	}
	return strings.TrimSpace(buf.String())
}
