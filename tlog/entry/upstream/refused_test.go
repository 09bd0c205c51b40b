package upstream_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

// edit returns a proposal with the member at a path below spec replaced; with nil it is removed.
func edit(t testing.TB, proposed []byte, path []string, f func(any) any) []byte {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(proposed, &v); err != nil {
		t.Fatal(err)
	}
	o := v["spec"].(map[string]any)
	for _, p := range path[:len(path)-1] {
		next, ok := o[p].(map[string]any)
		if !ok {
			next = map[string]any{}
			o[p] = next
		}
		o = next
	}
	last := path[len(path)-1]
	if n := f(o[last]); n == removed {
		delete(o, last)
	} else {
		o[last] = n
	}
	return entrytest.JSON(t, v)
}

type remove struct{}

var removed any = remove{}

func set(v any) func(any) any { return func(any) any { return v } }

// paths are the paths of all members below spec.
func paths(v any, at []string) (out [][]string) {
	o, _ := v.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(o)) {
		p := append(slices.Clone(at), name)
		out = append(append(out, p), paths(o[name], p)...)
	}
	return out
}

// agree holds refusals to upstream's: we refuse what it refuses, and say so as a refusal.
func agree(t *testing.T, proposed []byte) (accepted bool) {
	t.Helper()
	_, wantErr := theirs(proposed)
	_, err := ours(t, proposed)
	if wantErr != nil && err == nil {
		t.Errorf("accepted, upstream says %v", wantErr)
	}
	if err != nil && wantErr == nil {
		t.Errorf("refused with %v, upstream accepts", err)
	}
	if err != nil && !errors.Is(err, entry.ErrInvalid) {
		t.Errorf("%v does not wrap ErrInvalid: the client would get a 500", err)
	}
	if err != nil && strings.Contains(fmt.Sprint(entry.Cause(err)), "panic:") {
		t.Errorf("upstream's code panics behind the checks: %v", entry.Cause(err))
	}
	return err == nil
}

// TestEachMember: every member of every kind missing, null, empty or of another type (B-118).
func TestEachMember(t *testing.T) {
	n, refused := 0, 0
	for name, proposed := range kept(t) {
		var v struct{ Spec any }
		if err := json.Unmarshal(proposed, &v); err != nil {
			t.Fatal(err)
		}
		for _, path := range paths(v.Spec, nil) {
			if len(path) > 4 { // within TUF metadata, which has rows of its own
				continue
			}
			for what, with := range map[string]any{
				"removed": removed, "null": nil, "empty": "", "number": 7, "list": []any{nil}, "object": map[string]any{}, "text": "!", "base64": "AAAA",
			} {
				n++
				t.Run(name+"/"+strings.Join(path, ".")+"/"+what, func(t *testing.T) {
					if !agree(t, edit(t, proposed, path, set(with))) {
						refused++
					}
				})
			}
		}
	}
	if n < 400 || refused < n/2 {
		t.Errorf("%d rows, %d refused: the table has lost its rows", n, refused)
	}
}

// TestFlippedBytes: a changed byte anywhere in what is signed, in signature or key is refused as upstream
// refuses it. (Some bytes are under no signature: those of a comment, of a zip's directory.)
func TestFlippedBytes(t *testing.T) {
	refused, n := 0, 0
	for name, proposed := range kept(t) {
		var v struct{ Spec any }
		if err := json.Unmarshal(proposed, &v); err != nil {
			t.Fatal(err)
		}
		for _, path := range paths(v.Spec, nil) {
			raw, err := base64.StdEncoding.DecodeString(at(v.Spec, path))
			if path[len(path)-1] != "content" && path[len(path)-1] != "message" || err != nil || len(raw) < 8 {
				continue
			}
			for i := range 12 {
				b := slices.Clone(raw)
				b[i*len(b)/12] ^= 1 << (i % 8)
				n++
				t.Run(fmt.Sprintf("%s/%s/%d", name, strings.Join(path, "."), i), func(t *testing.T) {
					_, wantErr := theirs(edit(t, proposed, path, set(b)))
					_, err := ours(t, edit(t, proposed, path, set(b)))
					if wantErr != nil && err == nil {
						t.Errorf("accepted, upstream says %v", wantErr)
					}
					if err != nil && !errors.Is(err, entry.ErrInvalid) {
						t.Errorf("%v does not wrap ErrInvalid", err)
					}
					if err != nil {
						refused++
					}
				})
			}
		}
	}
	if refused < n*2/3 {
		t.Errorf("%d of %d refused", refused, n)
	}
}

func at(v any, path []string) string {
	for _, p := range path {
		o, _ := v.(map[string]any)
		v = o[p]
	}
	s, _ := v.(string)
	return s
}

// TestURLsAreNotFetched: an object that names something to fetch is refused, and nobody connects
// (B-123, CVE-2026-24117).
func TestURLsAreNotFetched(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	calls := make(chan net.Conn, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			calls <- c
			c.Close()
		}
	}()
	for name, proposed := range kept(t) {
		var v struct{ Spec any }
		if err := json.Unmarshal(proposed, &v); err != nil {
			t.Fatal(err)
		}
		objects := [][]string{{"url"}}
		for _, p := range paths(v.Spec, nil) {
			if len(p) < 4 && !slices.Contains(p, "content") && p[len(p)-1] != "message" { // TUF metadata are signed, and theirs
				objects = append(objects, append(slices.Clone(p), "url"))
			}
		}
		for _, path := range objects {
			for _, scheme := range []string{"http", "https", "ftp", "file", "gopher"} {
				url := scheme + "://" + l.Addr().String() + "/x"
				with := edit(t, edit(t, proposed, path, set(url)), append(slices.Clone(path[:len(path)-1]), "content"), set(removed))
				if _, err := ours(t, with); err == nil || !strings.Contains(err.Error(), "fetching by URL is not supported") {
					t.Errorf("%s: %s: %v", name, strings.Join(path, "."), err)
				}
			}
		}
	}
	if len(calls) > 0 {
		t.Errorf("%d connections", len(calls))
	}
}

// TestPkginfoMayHaveURL: what a package says of itself is not for fetching.
func TestPkginfoMayHaveURL(t *testing.T) {
	r, err := ours(t, kept(t)["alpine"])
	if err != nil || !strings.Contains(string(r.body), `"url":"https://example.com/test"`) {
		t.Errorf("%s, %v", r.body, err)
	}
}

// TestPanicIsARefusal: the last line of defence holds.
func TestPanicIsARefusal(t *testing.T) {
	for _, spec := range []any{nil, "x", []any{}, 7} {
		for k, parse := range allKinds() {
			if _, err := parse(spec); !errors.Is(err, entry.ErrInvalid) {
				t.Errorf("%s: %v: %v", k.Name, spec, err)
			}
		}
	}
}
