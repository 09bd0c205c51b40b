package rekorv1_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	_ "github.com/sigstore/rekor/pkg/types/intoto/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/intoto/v0.0.2"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/dsse"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/entry/intoto"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

// takes says whether upstream's server takes a proposed entry, in the order of its handler.
func takes(proposed []byte) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	pe, err := models.UnmarshalProposedEntry(bytes.NewReader(proposed), nil)
	if err != nil {
		return false
	}
	impl, err := types.CreateVersionedEntry(pe)
	if err != nil {
		return false
	}
	_, err = types.CanonicalizeEntry(context.Background(), impl)
	return err == nil
}

// ownKinds are good entries of the kinds that are our own code; those of upstream's code have the same test
// in package upstream.
func ownKinds(t *testing.T) map[string][]byte {
	key := entrytest.P256(t)
	pem := entrytest.PEM(t, key.Public())
	const payloadType = "application/vnd.in-toto+json"
	statement := []byte(`{"_type":"https://in-toto.io/Statement/v0.1","subject":[{"name":"a","digest":{"sha256":"ab"}}]}`)
	envelope := entrytest.Envelope(t, payloadType, statement, key)
	b64 := base64.StdEncoding.EncodeToString
	sig := b64([]byte(b64(entrytest.SignMessage(t, key, entrytest.PAE(payloadType, statement)))))
	object := func(version string, spec any) []byte {
		return entrytest.JSON(t, map[string]any{"kind": "intoto", "apiVersion": version, "spec": spec})
	}
	return map[string][]byte{
		"hashedrekord": artifact(t, 0),
		"dsse":         attest(t),
		"intoto 0.0.1": object("0.0.1", map[string]any{"content": map[string]any{"envelope": string(envelope)}, "publicKey": b64(pem)}),
		"intoto 0.0.2": object("0.0.2", map[string]any{"content": map[string]any{
			"envelope": map[string]any{"payloadType": payloadType, "payload": b64([]byte(b64(statement))), "signatures": []any{map[string]any{"sig": sig, "publicKey": b64(pem)}}},
			"hash":     map[string]any{"algorithm": "sha256", "value": strings.Repeat("ab", 32)},
		}}),
	}
}

// members are the paths of all members of a value, those of the items of lists included.
func members(v any, at []string) (out [][]string) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			p := append(slices.Clone(at), name)
			out = append(append(out, p), members(v[name], p)...)
		}
	case []any:
		for i, item := range v {
			p := append(slices.Clone(at), strconv.Itoa(i))
			out = append(append(out, p), members(item, p)...)
		}
	}
	return out
}

type gone struct{}

// put replaces the member at a path, or takes it out.
func put(v any, path []string, with any) {
	for ; len(path) > 1; path = path[1:] {
		if list, ok := v.([]any); ok {
			i, _ := strconv.Atoi(path[0])
			v = list[i]
			continue
		}
		v = v.(map[string]any)[path[0]]
	}
	switch v := v.(type) {
	case []any:
		i, _ := strconv.Atoi(path[0])
		if v[i] = with; with == (gone{}) {
			v[i] = map[string]any{}
		}
	case map[string]any:
		if v[path[0]] = with; with == (gone{}) {
			delete(v, path[0])
		}
	}
}

// TestEachMember: every member of a proposed entry of each kind that is our own code, missing, null, empty or
// of another type, is answered with 201 or 409 where upstream takes the entry, and with 400 or 422, whose
// text names something, where it does not. Never with a 500 (B-118, GHSA-843x-px86-vq42, GHSA-frqx-jfcm-6jjr).
func TestEachMember(t *testing.T) {
	s := newServer(t, func(c *rekorv1.Config, _ *tlog.Config) {
		c.Kinds = entry.Kinds{
			hashedrekord.Kind: hashedrekord.Parse, dsse.Kind: dsse.Parse,
			{Name: "intoto", Version: "0.0.1"}: intoto.ParseV001, {Name: "intoto", Version: "0.0.2"}: intoto.ParseV002,
		}
	})
	stricter := []string{"no object", "null, empty or no string"} // docs/design/0005
	n, refused := 0, 0
	for kind, proposed := range ownKinds(t) {
		if !takes(proposed) {
			t.Fatalf("%s: upstream refuses what the rows start from", kind)
		}
		s.add(proposed)
		var whole any
		if err := json.Unmarshal(proposed, &whole); err != nil {
			t.Fatal(err)
		}
		for _, path := range members(whole, nil) {
			for what, with := range map[string]any{
				"removed": gone{}, "null": nil, "empty": "", "number": 7, "true": true, "list": []any{nil}, "no items": []any{}, "object": map[string]any{}, "text": "!", "base64": "AAAA",
			} {
				n++
				t.Run(fmt.Sprintf("%s/%s/%s", kind, strings.Join(path, "."), what), func(t *testing.T) {
					var v any
					if err := json.Unmarshal(proposed, &v); err != nil {
						t.Fatal(err)
					}
					put(v, path, with)
					body := entrytest.JSON(t, v)
					a := s.post(entriesPath, body)
					switch a.StatusCode {
					case http.StatusCreated, http.StatusConflict:
						if !takes(body) {
							t.Errorf("%d, upstream refuses: %s", a.StatusCode, body)
						}
						return
					case http.StatusBadRequest, http.StatusUnprocessableEntity:
					default:
						t.Fatalf("%d %s", a.StatusCode, a.body)
					}
					refused++
					_, message := errorBody(t, a)
					ours := slices.ContainsFunc(stricter, func(s string) bool { return strings.Contains(message, s) })
					if len(strings.Fields(message)) < 2 || takes(body) && !ours {
						t.Errorf("refused with %q, upstream accepts: %s", message, body)
					}
				})
			}
		}
	}
	if n < 300 || refused < n/2 {
		t.Errorf("%d rows, %d refused: the table has lost its rows", n, refused)
	}
}
