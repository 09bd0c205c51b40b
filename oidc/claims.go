package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxJSONDepth   = 16
	maxJSONMembers = 2000
)

// decodeObject decodes one JSON object that every decoder reads alike: valid UTF-8, no member twice
// under Unicode case folding (encoding/json matches struct fields that way), bounded depth and
// number of members, nothing after it. Numbers stay json.Number.
func decodeObject(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not valid UTF-8")
	}
	d := &decoder{dec: json.NewDecoder(bytes.NewReader(data))}
	d.dec.UseNumber()
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	if _, err := d.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data after the JSON object")
	}
	return obj, nil
}

type decoder struct {
	dec     *json.Decoder
	members int
}

func (d *decoder) value(depth int) (any, error) {
	tok, err := d.dec.Token()
	if err != nil {
		return nil, errors.New("not valid JSON")
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if depth == maxJSONDepth {
		return nil, fmt.Errorf("JSON nested deeper than %d", maxJSONDepth)
	}
	if delim == '{' {
		return d.object(depth)
	}
	list := []any{}
	for d.dec.More() {
		if err := d.count(); err != nil {
			return nil, err
		}
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, d.end()
}

func (d *decoder) object(depth int) (any, error) {
	obj, folded := map[string]any{}, map[string]bool{}
	for d.dec.More() {
		if err := d.count(); err != nil {
			return nil, err
		}
		tok, err := d.dec.Token()
		if err != nil {
			return nil, errors.New("not valid JSON")
		}
		name, ok := tok.(string)
		if !ok {
			return nil, errors.New("not valid JSON")
		}
		if folded[fold(name)] {
			return nil, fmt.Errorf("member %q appears twice", clip(name))
		}
		folded[fold(name)] = true
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		obj[name] = v
	}
	return obj, d.end()
}

func (d *decoder) end() error {
	if _, err := d.dec.Token(); err != nil {
		return errors.New("not valid JSON")
	}
	return nil
}

func (d *decoder) count() error {
	if d.members++; d.members > maxJSONMembers {
		return fmt.Errorf("more than %d JSON members", maxJSONMembers)
	}
	return nil
}

// fold maps names that are equal under simple Unicode case folding to one string.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}
