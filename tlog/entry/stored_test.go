package entry_test

import (
	"bytes"
	"testing"

	"github.com/sigbox/sigbox/tlog/entry"
)

func TestStored(t *testing.T) {
	body := []byte(`{"kind":"a"}`)
	for name, keys := range map[string][]string{
		"none": nil, "one": {"sha256:ab"}, "several": {"a", "b"}, "a newline and quotes in a key": {"a\n\"b\"\\", "ü"},
	} {
		var in [][]byte
		for _, k := range keys {
			in = append(in, []byte(k))
		}
		stored := entry.AppendKeys(body, in)
		got, list, err := entry.Stored(stored)
		if err != nil || !bytes.Equal(got, body) || len(list) != len(keys) {
			t.Errorf("%s: %q, %q, %v", name, got, list, err)
			continue
		}
		for i := range keys {
			if list[i] != keys[i] {
				t.Errorf("%s: key %d is %q", name, i, list[i])
			}
		}
		if leaf, err := entry.LeafInput(stored); err != nil || !bytes.Equal(leaf, body) {
			t.Errorf("%s: leaf %q, %v", name, leaf, err)
		}
	}
	for _, bad := range []string{"{}\n", "{}\n[]", "{}\nnull", "{}\n[\"a\"", "{}\n[\"a\"]\nmore", "{}\n[1]"} {
		if body, keys, err := entry.Stored([]byte(bad)); err == nil {
			t.Errorf("%q: %q, %q", bad, body, keys)
		}
	}
}
