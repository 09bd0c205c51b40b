package bench

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"encoding/base64"
	tilesnote "github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// checkpoint signs a head as Rekor does.
func checkpoint(t *testing.T, key crypto.Signer, name, origin string, size int, root []byte) string {
	t.Helper()
	s, err := signature.LoadSigner(key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := tilesnote.NewNoteSigner(t.Context(), name, s)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", origin, size, base64.StdEncoding.EncodeToString(root))}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestHeads: what no single answer shows.
func TestHeads(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := rfc6962.DefaultHasher
	a, b := []byte("a"), []byte("b")
	hashA, hashB := h.HashLeaf(a), h.HashLeaf(b)
	both := h.HashChildren(hashA, hashB)
	type answer struct {
		origin      string
		index, size int
		leaf        []byte
		path        [][]byte
		root        []byte
	}
	first := answer{"log - 1", 0, 1, a, nil, hashA}
	for _, row := range []struct {
		name   string
		second answer
		want   string // "" if nothing is wrong
	}{
		{"the next entry", answer{"log - 1", 1, 2, b, [][]byte{hashA}, both}, ""},
		{"an index twice", answer{"log - 1", 0, 2, a, [][]byte{hashB}, both}, "index 0 was given to two entries"},
		{"two roots of a size", answer{"log - 1", 0, 1, b, nil, hashB}, "FORK"},
		{"another log", answer{"log - 2", 1, 2, b, [][]byte{hashA}, both}, "two logs"},
	} {
		for kind, key := range map[string]crypto.Signer{"P-256": p256, "Ed25519": ed} {
			t.Run(row.name+" "+kind, func(t *testing.T) {
				heads, err := newHeads(key.Public())
				if err != nil {
					t.Fatal(err)
				}
				include := func(a answer) error {
					return heads.include(checkpoint(t, key, "log", a.origin, a.size, a.root), uint64(a.index), uint64(a.size), a.leaf, a.path, a.root)
				}
				if err := include(first); err != nil {
					t.Fatal(err)
				}
				err = include(row.second)
				if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
					t.Errorf("%v, want %q", err, row.want)
				}
			})
		}
	}
	for name, text := range map[string]string{"empty": "", "no signature": "log\n1\n\n", "no text": "\n\n\u2014 log AAAA\n", "one line": "log\n\n\u2014 log AAAAAAAAAAA=\n"} {
		heads, err := newHeads(p256.Public())
		if err != nil {
			t.Fatal(err)
		}
		if err := heads.include(text, 0, 1, a, nil, hashA); err == nil {
			t.Errorf("%s: taken as a checkpoint", name)
		}
	}
}

// TestSeed: the same seed makes the same requests, and another one makes none of them.
func TestSeed(t *testing.T) {
	requests := func(seed uint64) (all []string) {
		var err error
		v1, v2, ca := &RekorV1{}, &RekorV2{}, &Fulcio{seed: seed, keys: make([][]byte, 3)}
		if v1.artifacts, err = newArtifacts(seed, 3); err != nil {
			t.Fatal(err)
		}
		v2.artifacts = v1.artifacts
		for i := range 3 {
			for _, target := range []Target{v1, v2, ca} {
				r, err := target.Request(i)
				if err != nil {
					t.Fatal(err)
				}
				// protojson puts blanks where it likes
				all = append(all, strings.ReplaceAll(string(r), " ", ""))
			}
		}
		return all
	}
	seen := map[string]bool{}
	for i, r := range requests(1) {
		if seen[r] {
			t.Errorf("request %d is there already", i)
		}
		seen[r] = true
	}
	for i, r := range requests(1) {
		if !seen[r] {
			t.Errorf("request %d differs the second time", i)
		}
	}
	for i, r := range requests(2) {
		if seen[r] {
			t.Errorf("request %d of another seed is there already", i)
		}
	}
}
