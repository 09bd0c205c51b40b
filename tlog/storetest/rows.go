package storetest

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/tile"
)

func testRows(t *testing.T, f Fixture) {
	create(t, f, 3)
	ctx := t.Context()
	attestations := [][]byte{nil, {0}, []byte("\x00\xffattested")}
	tiles := []tlog.TileRow{
		{Level: 0, N: 0, Hashes: bytes.Repeat([]byte("0\x00\xff+"), 2048), Root: [32]byte{1}},
		{Level: 0, N: 1, Hashes: bytes.Repeat([]byte("1234"), 2048), Root: [32]byte{2}},
		{Level: 1, N: 0, Hashes: bytes.Repeat([]byte("abcd"), 2048), Root: [32]byte{3}},
	}
	err := f.Store.Update(ctx, nil, func(tx tlog.Tx) (*tlog.Batch, error) {
		b, _ := appendRows(3)(tx)
		for i, a := range attestations {
			b.Leaves[i].Attestation = a
		}
		b.Leaves[1].Data = []byte{}
		b.Tiles = tiles
		b.Keys = []tlog.Key{{Key: []byte("k\x00"), Index: 4}, {Key: []byte{}, Index: 5}}
		seal := b.Seal
		b.Seal = func(stored tlog.Rows) (tlog.Head, error) {
			if len(stored.Leaves) != 3 || len(stored.Tiles) != 3 || len(stored.Keys) != 0 {
				t.Fatalf("read back %d leaves, %d tiles, %d keys", len(stored.Leaves), len(stored.Tiles), len(stored.Keys))
			}
			for i, l := range stored.Leaves {
				if l.Attestation != nil {
					t.Errorf("read back leaf %d with an attestation", i)
				}
				l.Attestation = b.Leaves[i].Attestation
				sameLeaf(t, l, b.Leaves[i])
			}
			for i := range tiles {
				sameTile(t, stored.Tiles[i], tiles[i])
			}
			return seal(stored)
		}
		return b, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantSize(t, f.Store, 6)
	for _, s := range []tlog.Store{f.Store, f.Another(t)} {
		readRows(t, s, attestations, tiles)
	}
	// What is wanted beforehand makes no difference, whether it is what is asked for or not.
	for _, wanted := range [][][32]byte{nil, readTxFinds(), {leafRow(2).Identity}} {
		err = f.Store.Update(ctx, wanted, func(tx tlog.Tx) (*tlog.Batch, error) {
			readTx(t, tx)
			return nil, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// readTxFinds are the identities that readTx looks for.
func readTxFinds() [][32]byte {
	return [][32]byte{leafRow(5).Identity, {9}, leafRow(0).Identity, leafRow(5).Identity}
}

func readRows(t *testing.T, s tlog.Store, attestations [][]byte, tiles []tlog.TileRow) {
	ctx := t.Context()
	for range 2 { // the second time after the first answer was overwritten
		for i := range int64(6) {
			l, err := s.Leaf(ctx, i)
			if err != nil {
				t.Fatal(err)
			}
			want := leafRow(i)
			if i >= 3 {
				want.Attestation = attestations[i-3]
			}
			if i == 4 {
				want.Data = []byte{}
			}
			sameLeaf(t, l, want)
			scribble(l.Data, l.Attestation)
		}
		for _, want := range tiles {
			row, err := s.Tile(ctx, want.Level, want.N)
			if err != nil {
				t.Fatal(err)
			}
			sameTile(t, row, want)
			scribble(row.Hashes)
		}
		h, err := s.Head(ctx)
		if err != nil {
			t.Fatal(err)
		}
		scribble(h.Note)
	}
	for _, i := range []int64{-1, 6, 1 << 62} {
		if _, err := s.Leaf(ctx, i); !errors.Is(err, tlog.ErrNotFound) {
			t.Errorf("leaf %d: %v", i, err)
		}
	}
	for _, at := range [][2]int64{{0, 2}, {1, 1}, {2, 0}, {0, -1}} {
		if _, err := s.Tile(ctx, int(at[0]), at[1]); !errors.Is(err, tlog.ErrNotFound) {
			t.Errorf("tile %v: %v", at, err)
		}
	}
	readTx(t, s)
}

// readTx reads what both a store and a transaction can.
func readTx(t *testing.T, r tlog.Reader) {
	t.Helper()
	ctx := t.Context()
	for _, c := range []struct{ from, to, first, count int64 }{
		{0, 6, 0, 6}, {2, 4, 2, 2}, {4, 100, 4, 2}, {6, 100, 0, 0}, {3, 3, 0, 0}, {4, 3, 0, 0}, {-5, 1, 0, 1},
	} {
		leaves, err := r.Leaves(ctx, c.from, c.to)
		if err != nil || int64(len(leaves)) != c.count || c.count > 0 && leaves[0].Index != c.first {
			t.Errorf("leaves [%d, %d): %d, %v", c.from, c.to, len(leaves), err)
		}
		hashes, err := r.LeafHashes(ctx, c.from, c.to)
		if err != nil || int64(len(hashes)) != c.count || c.count > 0 && hashes[0] != leafRow(c.first).Hash {
			t.Errorf("leaf hashes [%d, %d): %d, %v", c.from, c.to, len(hashes), err)
		}
	}
	for _, c := range []struct {
		level    int
		from, to int64
		want     []tile.Hash
	}{
		{0, 0, 2, []tile.Hash{{1}, {2}}}, {0, 1, 9, []tile.Hash{{2}}}, {1, 0, 1, []tile.Hash{{3}}}, {0, 2, 9, nil}, {2, 0, 9, nil},
	} {
		if roots, err := r.TileRoots(ctx, c.level, c.from, c.to); err != nil || !slices.Equal(roots, c.want) {
			t.Errorf("tile roots of level %d [%d, %d): %x, %v", c.level, c.from, c.to, roots, err)
		}
	}
	ids := readTxFinds()
	found, err := r.Find(ctx, ids)
	if err != nil || len(found) != 2 || found[ids[0]] != (tlog.Found{Index: 5, TimeMS: 1005}) || found[ids[2]] != (tlog.Found{Index: 0, TimeMS: 1000}) {
		t.Errorf("find: %v, %v", found, err)
	}
	if found, err := r.Find(ctx, nil); err != nil || len(found) != 0 {
		t.Errorf("find nothing: %v, %v", found, err)
	}
}

func scribble(slices ...[]byte) {
	for _, b := range slices {
		for i := range b {
			b[i] ^= 0x55
		}
	}
}

func sameLeaf(t testing.TB, got, want tlog.Leaf) {
	t.Helper()
	if got.Index != want.Index || got.TimeMS != want.TimeMS || got.Identity != want.Identity || got.Hash != want.Hash ||
		!bytes.Equal(got.Data, want.Data) || !bytes.Equal(got.Attestation, want.Attestation) || (got.Attestation == nil) != (want.Attestation == nil) {
		t.Errorf("leaf %+v, want %+v", got, want)
	}
}

func sameTile(t testing.TB, got, want tlog.TileRow) {
	t.Helper()
	if got.Level != want.Level || got.N != want.N || got.Root != want.Root || !bytes.Equal(got.Hashes, want.Hashes) {
		t.Errorf("tile level %d n %d is not level %d n %d as it was written", got.Level, got.N, want.Level, want.N)
	}
}
