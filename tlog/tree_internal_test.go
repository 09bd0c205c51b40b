package tlog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox/tlog/tile"
)

// rows is a Reader over what a tree has grown.
type rows struct {
	Reader
	leaves []tile.Hash
	tiles  map[place]TileRow
	reads  int
}

func (r *rows) LeafHashes(_ context.Context, from, to int64) ([]tile.Hash, error) {
	return r.leaves[from:to], nil
}

func (r *rows) Tile(_ context.Context, level int, n int64) (TileRow, error) {
	r.reads++
	t, ok := r.tiles[place{level, n}]
	if !ok {
		return TileRow{}, ErrNotFound
	}
	return t, nil
}

func (r *rows) TileRoots(_ context.Context, level int, from, to int64) (roots []tile.Hash, err error) {
	for n := from; n < to; n++ {
		if t, ok := r.tiles[place{level, n}]; ok {
			roots = append(roots, t.Root)
		}
	}
	return roots, nil
}

func (r *rows) add(g *growth, leaves []tile.Hash) {
	r.leaves = append(r.leaves, leaves...)
	for _, t := range g.tiles {
		r.tiles[place{t.Level, t.N}] = t
	}
}

func testHash(i int) tile.Hash { return tile.LeafHash(fmt.Append(nil, i)) }

// reference is golang.org/x/mod/sumdb/tlog's tree.
type reference struct{ stored []sumdb.Hash }

func (r *reference) add(t *testing.T, h tile.Hash, index int64) {
	more, err := sumdb.StoredHashesForRecordHash(index, h, r)
	if err != nil {
		t.Fatal(err)
	}
	r.stored = append(r.stored, more...)
}

func (r *reference) ReadHashes(indexes []int64) ([]sumdb.Hash, error) {
	hashes := make([]sumdb.Hash, len(indexes))
	for i, x := range indexes {
		hashes[i] = r.stored[x]
	}
	return hashes, nil
}

// TestGrowPastLevelOne grows a tree past its first full tile of level 1 in batches of any size,
// and compares roots, edges and proofs with another implementation.
func TestGrowPastLevelOne(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	store := &rows{tiles: make(map[place]TileRow)}
	ref := &reference{}
	edge := emptyEdge
	for edge.size < 66_200 {
		n := 1 + random.IntN(1024)
		if edge.size < 65_536 && edge.size+1024 > 65_536 {
			n = 1 + random.IntN(300) // several steps around the boundary
		}
		leaves := make([]tile.Hash, n)
		for i := range leaves {
			leaves[i] = testHash(int(edge.size) + i)
			ref.add(t, leaves[i], edge.size+int64(i))
		}
		g := grow(edge, leaves)
		store.add(g, leaves)
		root, err := sumdb.TreeHash(g.to.size, ref)
		if err != nil || g.to.root != tile.Hash(root) {
			t.Fatalf("root at size %d: %x, want %x, %v", g.to.size, g.to.root, root, err)
		}
		if again := recompute(edge.compactRange(), edge.size, leaves); again != g.to.root {
			t.Fatalf("recomputed root at size %d: %x, want %x", g.to.size, again, g.to.root)
		}
		for range 5 {
			i := edge.size + random.Int64N(int64(n))
			if err := sumdb.CheckRecord(sumHashes(g.inclusion(i)), g.to.size, root, i, sumdb.Hash(leaves[i-edge.size])); err != nil {
				t.Fatal(err)
			}
		}
		if edge.size > 0 {
			if err := sumdb.CheckTree(sumHashes(g.consistency()), g.to.size, root, edge.size, sumdb.Hash(edge.root)); err != nil {
				t.Fatal(err)
			}
		}
		loaded, err := loadEdge(t.Context(), store, Head{Size: g.to.size, Root: g.to.root})
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(loaded) != fmt.Sprint(g.to) {
			t.Fatalf("the loaded edge at size %d is not the one that was grown", g.to.size)
		}
		edge = g.to
	}
	compareWithReference(t, random, tree{store: store, edge: edge, cache: newCache[*tile.Full](8 * fullBytes)}, ref)
}

func compareWithReference(t *testing.T, random *rand.Rand, tr tree, ref *reference) {
	for range 3000 {
		size := 1 + random.Int64N(tr.edge.size)
		i := random.Int64N(size)
		want, err := sumdb.ProveRecord(size, i, ref)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tr.inclusion(t.Context(), i, size)
		if err != nil || fmt.Sprint(sumHashes(got)) != fmt.Sprint([]sumdb.Hash(want)) {
			t.Fatalf("inclusion of %d in %d: %v", i, size, err)
		}
		if i == 0 {
			continue
		}
		consistent, err := sumdb.ProveTree(size, i, ref)
		if err != nil {
			t.Fatal(err)
		}
		got, err = tr.consistency(t.Context(), i, size)
		if err != nil || fmt.Sprint(sumHashes(got)) != fmt.Sprint([]sumdb.Hash(consistent)) {
			t.Fatalf("consistency of %d with %d: %v", size, i, err)
		}
	}
	for _, p := range []struct {
		level int
		n     int64
		width int
	}{{0, 0, 256}, {0, 255, 256}, {0, 258, 100}, {1, 0, 256}, {1, 1, 2}, {2, 0, 1}} {
		got, err := tr.tile(t.Context(), p.level, p.n, p.width)
		want, err2 := sumdb.ReadTileData(sumdb.Tile{H: 8, L: p.level, N: p.n, W: p.width}, ref)
		if err != nil || err2 != nil || string(got) != string(want) {
			t.Errorf("tile %+v: %v, %v, or other bytes", p, err, err2)
		}
	}
}

func sumHashes(path [][]byte) []sumdb.Hash {
	hashes := make([]sumdb.Hash, len(path))
	for i, h := range path {
		hashes[i] = sumdb.Hash(h)
	}
	return hashes
}

// A tile is read from the store once, checked, and then kept, up to the limit.
func TestTileCache(t *testing.T) {
	store := &rows{tiles: make(map[place]TileRow)}
	leaves := make([]tile.Hash, 3*tile.Width+7)
	for i := range leaves {
		leaves[i] = testHash(i)
	}
	g := grow(emptyEdge, leaves)
	store.add(g, leaves)
	tr := tree{store: store, edge: g.to, cache: newCache[*tile.Full](2 * fullBytes)}
	for _, c := range []struct {
		tile  int64
		reads int // so far
	}{{0, 1}, {0, 1}, {1, 2}, {0, 2}, {2, 3}, {0, 3}, {1, 4}, {2, 5}, {1, 5}} {
		if h, err := tr.hash(t.Context(), 0, c.tile*tile.Width+3); err != nil || h != leaves[c.tile*tile.Width+3] {
			t.Fatal(err)
		}
		if store.reads != c.reads {
			t.Errorf("tile %d: %d reads so far, want %d", c.tile, store.reads, c.reads)
		}
	}
}

// Memory that goes bad between loading an edge and signing is noticed.
func TestFlippedMemoryIsNoticed(t *testing.T) {
	leaves := make([]tile.Hash, 300)
	for i := range leaves {
		leaves[i] = testHash(i)
	}
	good := grow(emptyEdge, leaves).to
	batch := Rows{Leaves: []Leaf{{Hash: testHash(300), Data: fmt.Append(nil, 300)}}}
	check := func(from *edge, spoil func(*growth)) error {
		a := &attempt{base: &view{edge: from}, growth: grow(from, []tile.Hash{testHash(300)})}
		if spoil != nil {
			spoil(a.growth)
		}
		return (&Engine{}).checkStored(a, batch, batch)
	}
	if err := check(good, nil); err != nil {
		t.Fatal(err)
	}
	for level := range good.tails {
		for i := range good.tails[level] {
			bad := *good
			bad.tails = [][]tile.Hash{slices.Clone(good.tails[0]), slices.Clone(good.tails[1])}
			bad.tails[level][i][7] ^= 4
			if err := check(&bad, nil); !errors.Is(err, ErrCorrupt) {
				t.Errorf("hash %d of level %d has a wrong bit: %v", i, level, err)
			}
		}
	}
	if err := check(good, func(g *growth) { g.to.root[31] ^= 1 }); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the new root has a wrong bit: %v", err)
	}
}
