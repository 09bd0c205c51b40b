package upstream_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	gotuf "github.com/theupdateframework/go-tuf"
	"github.com/theupdateframework/go-tuf/verify"

	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

// farOff is when kept metadata expire: upstream's code refuses those that have.
var farOff = time.Date(2126, 1, 1, 0, 0, 0, 0, time.UTC)

// makeTUF makes a root and targets with go-tuf and proposes the targets.
func makeTUF(rootExpires, targetsExpire time.Time) (map[string]any, error) {
	store := gotuf.MemoryStore(nil, map[string][]byte{"artifact": []byte("what is signed\n")})
	repo, err := gotuf.NewRepo(store)
	if err != nil {
		return nil, err
	}
	for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
		if _, err := repo.GenKeyWithExpires(role, rootExpires); err != nil {
			return nil, err
		}
	}
	if err := repo.AddTargetWithExpires("artifact", nil, targetsExpire); err != nil {
		return nil, err
	}
	meta, err := store.GetMeta()
	if err != nil {
		return nil, err
	}
	return map[string]any{"apiVersion": "0.0.1", "kind": "tuf", "spec": map[string]any{
		"metadata": map[string]any{"content": meta["targets.json"]}, "root": map[string]any{"content": meta["root.json"]},
	}}, nil
}

// TestTUF: what is wrong inside of TUF metadata is refused, in an object as in base64 (B-135).
func TestTUF(t *testing.T) {
	good := kept(t)["tuf"]
	many := func(n int) map[string]any {
		out := map[string]any{}
		for i := range n {
			out[fmt.Sprint(i)] = map[string]any{"keytype": "ed25519", "scheme": "ed25519", "keyval": map[string]any{"public": "00"}, "keyids": []any{}, "threshold": 1}
		}
		return out
	}
	ids := make([]any, 101)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	for name, row := range map[string]struct {
		path string
		with any
		want string
	}{
		"no signatures":       {"root.content.signatures", []any{}, "tuf: "},
		"101 signatures":      {"metadata.content.signatures", ids, "more than 100"},
		"101 keys":            {"root.content.signed.keys", many(101), "more than 100"},
		"101 roles":           {"root.content.signed.roles", many(101), "more than 100"},
		"101 key ids":         {"root.content.signed.roles.root", map[string]any{"keyids": ids, "threshold": 1}, "more than 100"},
		"a key is null":       {"root.content.signed.keys", map[string]any{"a": nil}, "tuf: "},
		"a role is null":      {"root.content.signed.roles.root", nil, "tuf: "},
		"threshold 0":         {"root.content.signed.roles.root.threshold", 0, "tuf: "},
		"threshold -1":        {"root.content.signed.roles.root.threshold", -1, "tuf: "},
		"threshold huge":      {"root.content.signed.roles.root.threshold", json.Number("1000000000000000000000"), "tuf: "},
		"a key of 64 KiB":     {"root.content.signed.keys.a", map[string]any{"keyval": map[string]any{"public": strings.Repeat("0", 64<<10+1)}}, "a key of more"},
		"version is text":     {"metadata.content.signed.version", "x", "tuf: "},
		"type of another":     {"metadata.content.signed._type", "snapshot", "tuf: "},
		"signed null":         {"metadata.content.signed", nil, "signed TUF metadata"},
		"signed is text":      {"root.content.signed", "x", "signed TUF metadata"},
		"content is a number": {"root.content", 7, "signed TUF metadata"},
		"content is no JSON":  {"root.content", []byte("{"), "not valid JSON"},
		"content, keys twice": {"root.content", []byte(`{"signed":{"a":1,"a":2},"signatures":[]}`), "duplicate"},
		"content, no UTF-8":   {"root.content", []byte("{\"signed\":{\"a\":\"\xff\",\"a\":2},\"signatures\":[]}"), "not valid UTF-8"},
		"content, more":       {"root.content", []byte(`{"signed":{},"signatures":[]}{}`), "trailing data"},
		"content, deep":       {"root.content", []byte(`{"signed":{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}}`), "nesting"},
	} {
		t.Run(name, func(t *testing.T) {
			proposed := edit(t, good, strings.Split(row.path, "."), set(row.with))
			if _, err := ours(t, proposed); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error = %v, want %q", err, row.want)
			}
			if row.want == "tuf: " && agree(t, proposed) {
				t.Error("accepted")
			}
		})
	}
	over := farOff.AddDate(1, 0, 0) // which has come, in this test
	was := verify.IsExpired
	verify.IsExpired = func(at time.Time) bool { return at.Equal(over) }
	defer func() { verify.IsExpired = was }()
	for name, when := range map[string][2]time.Time{"root": {over, farOff}, "targets": {farOff, over}} {
		proposed, err := makeTUF(when[0], when[1])
		if err != nil {
			t.Fatal(err)
		}
		if agree(t, entrytest.JSON(t, proposed)) {
			t.Errorf("expired %s: accepted", name)
		}
	}
	r, err := ours(t, good)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ours(t, r.body) // its content is base64 there
	if err != nil || string(again.body) != string(r.body) {
		t.Errorf("its own body becomes %s, %v", again.body, err)
	}
	// What a body has is a whole spec: it can be looked up.
	if _, err := allKinds().Parse(entry.Kind{Name: "tuf", Version: "0.0.1"}, entrytest.Spec(t, r.body)); err != nil {
		t.Error(err)
	}
}
