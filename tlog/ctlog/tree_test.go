package ctlog_test

import (
	"bytes"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
	"github.com/sigbox/sigbox/tlog/tile"
)

// TestTree: a bundle has what get-entries has as leaf_input, and its hashes are those of the tile beside it.
func TestTree(t *testing.T) {
	s := newStack(t)
	s.seed(t)
	if _, err := s.server.AddPreChain(t.Context(), [][]byte{s.leaf(t, with(poison)).Raw, s.ca.Intermediate.Raw}); err != nil {
		t.Fatal(err)
	}
	size := int(s.size(t))
	bundle, err := tlog.ReadPath(t.Context(), s.server.Tree(), tile.Path{Level: tile.Entries, Width: size})
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := tlog.ReadPath(t.Context(), s.server.Tree(), tile.Path{Width: size})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := tile.ParseBundle(bundle)
	if err != nil || len(entries) != size {
		t.Fatalf("%d entries of %d, %v", len(entries), size, err)
	}
	raw, err := s.client(t).GetRawEntries(t.Context(), 0, int64(size-1))
	if err != nil || len(raw.Entries) != size {
		t.Fatal(raw, err)
	}
	for i, e := range entries {
		if h := tile.LeafHash(e); !bytes.Equal(h[:], hashes[32*i:32*i+32]) {
			t.Errorf("entry %d is not that of the hash", i)
		}
		if !bytes.Equal(e, raw.Entries[i].LeafInput) {
			t.Errorf("entry %d is not the leaf_input of get-entries", i)
		}
		if _, err := certificate.ParseLeaf(e); err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
	}
}
