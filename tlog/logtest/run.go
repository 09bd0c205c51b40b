package logtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/tile"
)

// Run is the conformance suite of [tlog.Log]. newLog returns a running, empty log that is
// stopped when the test ends.
func Run(t *testing.T, newLog func(t testing.TB, options ...func(*tlog.Config)) tlog.Log) {
	t.Run("empty log", func(t *testing.T) { testEmpty(t, newLog(t)) })
	t.Run("every small size", func(t *testing.T) { testSmallSizes(t, newLog(t)) })
	t.Run("tile boundaries", func(t *testing.T) { testTileBoundaries(t, newLog(t)) })
	t.Run("out of range", func(t *testing.T) { testRange(t, newLog(t)) })
	t.Run("duplicates", func(t *testing.T) { testDuplicates(t, newLog(t)) })
	t.Run("entries that cannot be logged", func(t *testing.T) { testRefused(t, newLog) })
	t.Run("leaves", func(t *testing.T) { testLeaves(t, newLog(t)) })
	t.Run("stored bytes beside the leaf", func(t *testing.T) { testLeafInput(t, newLog) })
	t.Run("search", func(t *testing.T) { testSearch(t, newLog) })
	t.Run("waiting ends, the append does not", func(t *testing.T) { testCancel(t, newLog(t)) })
	t.Run("concurrent", func(t *testing.T) { testConcurrent(t, newLog(t)) })
	t.Run("random histories", func(t *testing.T) { testModel(t, newLog) })
}

func mustAppend(t testing.TB, log tlog.Log, e tlog.Entry) tlog.Receipt {
	t.Helper()
	r, err := log.Append(t.Context(), e)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	if err := CheckReceipt(r); err != nil {
		t.Fatal(err)
	}
	return r
}

// CheckReceipt checks that a receipt proves its leaf. (The checkpoint's signature is for callers
// who know the key.)
func CheckReceipt(r tlog.Receipt) error {
	return VerifyInclusion(r.Leaf.Index, r.Checkpoint.Size, r.Leaf.Hash, r.Proof, r.Checkpoint.Root)
}

// Fill appends numbered entries [from, to) at once and waits for all of them; the order in which
// they are logged is not defined.
func Fill(t testing.TB, log tlog.Log, from, to int) {
	t.Helper()
	errs := make(chan error)
	for i := from; i < to; i++ {
		go func() {
			_, err := log.Append(t.Context(), Numbered(i))
			errs <- err
		}()
	}
	for i := from; i < to; i++ {
		if err := <-errs; err != nil {
			t.Errorf("fill: %v", err)
		}
	}
}

// follow adds to a model what a log has got since.
func follow(t testing.TB, log tlog.Log, n *Naive) {
	t.Helper()
	leaves, err := log.Leaves(t.Context(), int64(len(n.Leaves)), math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leaves {
		n.Add(l.Data)
	}
}

func testEmpty(t *testing.T, log tlog.Log) {
	cp, err := log.Checkpoint(t.Context())
	if err != nil || cp.Size != 0 || cp.Root != new(Naive).Root(0) {
		t.Fatalf("checkpoint %+v, %v", cp.Checkpoint, err)
	}
	if root, err := log.Root(t.Context(), 0); err != nil || root != cp.Root {
		t.Errorf("root of size 0: %x, %v", root, err)
	}
	if _, err := log.Leaf(t.Context(), 0); !errors.Is(err, tlog.ErrNotFound) {
		t.Errorf("leaf 0: %v", err)
	}
	if _, err := log.Tile(t.Context(), 0, 0, 1); !errors.Is(err, tlog.ErrNotFound) {
		t.Errorf("tile: %v", err)
	}
	if _, err := log.Inclusion(t.Context(), 0, 0); !errors.Is(err, tlog.ErrRange) {
		t.Errorf("inclusion: %v", err)
	}
	if l, err := log.Leaves(t.Context(), 0, 10); err != nil || len(l) != 0 {
		t.Errorf("leaves: %d, %v", len(l), err)
	}
}

// testSmallSizes compares every proof and root of every size up to 130, and every partial tile,
// with the naive tree.
func testSmallSizes(t *testing.T, log tlog.Log) {
	const most = 130
	var n Naive
	for size := 1; size <= most; size++ {
		r := mustAppend(t, log, Numbered(size-1))
		n.Add(r.Leaf.Data)
		if r.Checkpoint.Size != int64(size) || r.Checkpoint.Root != n.Root(size) {
			t.Fatalf("size %d: checkpoint %+v, want root %x", size, r.Checkpoint.Checkpoint, n.Root(size))
		}
		compareTile(t, log, &n, 0, 0)
	}
	compareProofs(t, log, &n, 1)
}

// compareProofs compares the proofs of a log with the model, for every step-th size and index.
func compareProofs(t *testing.T, log tlog.Log, n *Naive, step int) {
	t.Helper()
	for size := 1; size <= len(n.Leaves); size += step {
		root, err := log.Root(t.Context(), int64(size))
		if err != nil || root != n.Root(size) {
			t.Fatalf("root of size %d: %x, %v", size, root, err)
		}
		for i := 0; i < size; i += step {
			path, err := log.Inclusion(t.Context(), int64(i), int64(size))
			if err != nil || !equal(path, n.Inclusion(i, size)) {
				t.Fatalf("inclusion of %d in %d: %x, %v", i, size, path, err)
			}
			if err := VerifyInclusion(int64(i), int64(size), n.Leaves[i], path, root); err != nil {
				t.Fatal(err)
			}
			path, err = log.Consistency(t.Context(), int64(i), int64(size))
			if err != nil || !equal(path, n.Consistency(i, size)) {
				t.Fatalf("consistency of %d with %d: %x, %v", size, i, path, err)
			}
			if err := VerifyConsistency(int64(i), int64(size), path, n.Root(i), root); err != nil {
				t.Fatal(err)
			}
		}
		if path, err := log.Consistency(t.Context(), int64(size), int64(size)); err != nil || len(path) != 0 {
			t.Fatalf("consistency of %d with itself: %x, %v", size, path, err)
		}
	}
}

// compareTile compares a tile in every width with the model.
func compareTile(t *testing.T, log tlog.Log, n *Naive, level, number int) {
	t.Helper()
	want := n.Tile(level, number)
	for w := 1; w <= tile.Width; w++ {
		got, err := log.Tile(t.Context(), level, int64(number), w)
		if w > len(want) {
			if !errors.Is(err, tlog.ErrNotFound) {
				t.Fatalf("tile %d/%d.p/%d of a tree of %d: %v", level, number, w, len(n.Leaves), err)
			}
			continue
		}
		if err != nil || !bytes.Equal(got, tile.Join(want[:w])) {
			t.Fatalf("tile %d/%d.p/%d of a tree of %d: %v, or wrong bytes", level, number, w, len(n.Leaves), err)
		}
	}
}

// testTileBoundaries grows a log across full tiles in batches of many sizes.
func testTileBoundaries(t *testing.T, log tlog.Log) {
	var last tlog.Receipt
	n := new(Naive)
	size := 0
	for _, to := range []int{1, 255, 256, 257, 500, 511, 512, 513, 1100} {
		Fill(t, log, size, to)
		size = to
		follow(t, log, n)
		cp, err := log.Checkpoint(t.Context())
		if err != nil || cp.Size != int64(size) || cp.Root != n.Root(size) {
			t.Fatalf("size %d: checkpoint %+v, %v; want root %x", size, cp.Checkpoint, err, n.Root(size))
		}
		for number := range size/256 + 2 {
			compareTile(t, log, n, 0, number)
		}
		compareTile(t, log, n, 1, 0)
		compareTile(t, log, n, 2, 0)
		if last.Checkpoint.Size > 0 {
			path, err := log.Consistency(t.Context(), last.Checkpoint.Size, cp.Size)
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyConsistency(last.Checkpoint.Size, cp.Size, path, last.Checkpoint.Root, cp.Root); err != nil {
				t.Fatal(err)
			}
		}
		last.Checkpoint = cp
	}
	compareProofs(t, log, n, 83)
}

func testRange(t *testing.T, log tlog.Log) {
	Fill(t, log, 0, 5)
	ctx := t.Context()
	for _, v := range [][2]int64{{5, 5}, {-1, 5}, {0, 6}, {0, 0}, {0, -1}, {6, 5}, {math.MaxInt64, math.MaxInt64}, {math.MinInt64, 5}} {
		if _, err := log.Inclusion(ctx, v[0], v[1]); !errors.Is(err, tlog.ErrRange) {
			t.Errorf("inclusion of %d in %d: %v", v[0], v[1], err)
		}
	}
	for _, v := range [][2]int64{{6, 5}, {-1, 5}, {0, 6}, {0, 0}, {3, 2}, {math.MaxInt64, math.MaxInt64}} {
		if _, err := log.Consistency(ctx, v[0], v[1]); !errors.Is(err, tlog.ErrRange) {
			t.Errorf("consistency of %d with %d: %v", v[1], v[0], err)
		}
	}
	for _, size := range []int64{-1, 6, math.MaxInt64, math.MinInt64} {
		if _, err := log.Root(ctx, size); !errors.Is(err, tlog.ErrRange) {
			t.Errorf("root of %d: %v", size, err)
		}
	}
	for _, i := range []int64{-1, 5, math.MaxInt64, math.MinInt64} {
		if _, err := log.Leaf(ctx, i); !errors.Is(err, tlog.ErrNotFound) {
			t.Errorf("leaf %d: %v", i, err)
		}
	}
	for _, v := range [][2]int64{{-1, 3}, {3, 2}, {math.MinInt64, math.MaxInt64}} {
		if _, err := log.Leaves(ctx, v[0], v[1]); !errors.Is(err, tlog.ErrRange) {
			t.Errorf("leaves [%d, %d): %v", v[0], v[1], err)
		}
	}
	for _, v := range []struct {
		level int
		n     int64
		width int
	}{
		{0, 0, 6}, {0, 0, 256}, {0, 0, 0}, {0, 0, -1}, {0, 0, 257}, {0, 1, 1}, {0, -1, 1}, {1, 0, 1},
		{-1, 0, 1}, {7, 0, 1}, {8, 0, 1}, {63, 0, 1}, {math.MaxInt, 0, 1}, {0, math.MaxInt64, 1}, {0, math.MinInt64, 1},
	} {
		if _, err := log.Tile(ctx, v.level, v.n, v.width); !errors.Is(err, tlog.ErrNotFound) {
			t.Errorf("tile %+v: %v", v, err)
		}
	}
}

func testDuplicates(t *testing.T, log tlog.Log) {
	first := mustAppend(t, log, Entry("twice"))
	Fill(t, log, 0, 10)
	second := mustAppend(t, log, Entry("twice"))
	if !second.Duplicate || first.Duplicate {
		t.Errorf("duplicate: first %v, second %v", first.Duplicate, second.Duplicate)
	}
	if second.Leaf.Index != first.Leaf.Index || second.Leaf.TimeMS != first.Leaf.TimeMS || !bytes.Equal(second.Leaf.Data, first.Leaf.Data) {
		t.Errorf("first %+v, second %+v", first.Leaf, second.Leaf)
	}
	if second.Checkpoint.Size != 11 {
		t.Errorf("the proof of a duplicate is against size %d, want the current 11", second.Checkpoint.Size)
	}
	if i, err := log.Find(t.Context(), Entry("twice").Identity()); err != nil || i != first.Leaf.Index {
		t.Errorf("find: %d, %v", i, err)
	}
	if _, err := log.Find(t.Context(), Entry("never").Identity()); !errors.Is(err, tlog.ErrNotFound) {
		t.Errorf("find what is not there: %v", err)
	}
}

// brokenEntry does what the test says.
type brokenEntry struct {
	Entry
	encode func(index, timeMS int64) (leaf, stored []byte, err error)
	keys   [][]byte
}

func (e brokenEntry) Encode(index, timeMS int64) (leaf, stored []byte, err error) {
	if e.encode == nil {
		return e.Entry.Encode(index, timeMS)
	}
	return e.encode(index, timeMS)
}
func (e brokenEntry) Keys() [][]byte { return e.keys }

type attested struct {
	Entry
	attestation []byte
}

func (e attested) Attestation() []byte { return e.attestation }

func testRefused(t *testing.T, newLog func(testing.TB, ...func(*tlog.Config)) tlog.Log) {
	log := newLog(t, func(c *tlog.Config) { c.MaxEntry = 100 })
	own := errors.New("entry's own error")
	late := 0
	for _, c := range []struct {
		name  string
		entry tlog.Entry
		want  error // nil: any
	}{
		{"its own error", brokenEntry{encode: func(int64, int64) ([]byte, []byte, error) { return nil, nil, own }}, own},
		{"its own error, under the head lock", brokenEntry{encode: func(int64, int64) ([]byte, []byte, error) {
			if late++; late == 1 {
				return []byte("x"), []byte("x"), nil
			}
			return nil, nil, own
		}}, own},
		{"a panic", brokenEntry{encode: func(int64, int64) ([]byte, []byte, error) { panic("bug") }}, nil},
		{"a large leaf", Entry(make([]byte, 101)), tlog.ErrTooLarge},
		{"a large attestation", attested{"a", make([]byte, 101)}, tlog.ErrTooLarge},
		{"stored bytes that are not the leaf", brokenEntry{encode: func(int64, int64) ([]byte, []byte, error) { return []byte("a"), []byte("b"), nil }}, nil},
		{"101 keys", brokenEntry{Entry: "k", keys: make([][]byte, 101)}, tlog.ErrTooLarge},
		{"a key of 513 bytes", brokenEntry{Entry: "k", keys: [][]byte{make([]byte, 513)}}, tlog.ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := log.Append(t.Context(), c.entry)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("append: %v, want %v", err, c.want)
			}
			if cp, err := log.Checkpoint(t.Context()); err != nil || cp.Size != 0 {
				t.Errorf("the log has %d entries now, %v", cp.Size, err)
			}
		})
	}
	if r := mustAppend(t, log, Entry(make([]byte, 100))); r.Leaf.Index != 0 {
		t.Errorf("index %d", r.Leaf.Index)
	}
}

func testLeaves(t *testing.T, log tlog.Log) {
	data := []string{"", "\x00", "\xff\xfe", "a\x00b", "text"}
	for i, d := range data {
		var e tlog.Entry = Entry(d)
		if i == 1 {
			e = attested{Entry(d), []byte{0, 255, 0}}
		}
		if r := mustAppend(t, log, e); !bytes.Equal(r.Leaf.Data, []byte(d)) {
			t.Errorf("receipt %d: data %q", i, r.Leaf.Data)
		}
	}
	all, err := log.Leaves(t.Context(), 0, math.MaxInt64)
	if err != nil || len(all) != len(data) {
		t.Fatalf("leaves: %d, %v", len(all), err)
	}
	for i, d := range data {
		l, err := log.Leaf(t.Context(), int64(i))
		if err != nil {
			t.Fatal(err)
		}
		if l.Index != int64(i) || string(l.Data) != d || l.Identity != Entry(d).Identity() || l.Hash != tile.LeafHash([]byte(d)) || l.TimeMS == 0 {
			t.Errorf("leaf %d: %+v", i, l)
		}
		if want := i == 1; want != bytes.Equal(l.Attestation, []byte{0, 255, 0}) || want == (l.Attestation == nil) {
			t.Errorf("leaf %d: attestation %x", i, l.Attestation)
		}
		if all[i].Hash != l.Hash || string(all[i].Data) != d || all[i].Attestation != nil {
			t.Errorf("leaves: %d: %+v", i, all[i])
		}
		if i > 0 && all[i].TimeMS <= all[i-1].TimeMS {
			t.Errorf("leaf %d: time %d, the one before has %d", i, all[i].TimeMS, all[i-1].TimeMS)
		}
	}
	if some, err := log.Leaves(t.Context(), 1, 3); err != nil || len(some) != 2 || some[0].Index != 1 {
		t.Errorf("leaves [1, 3): %d, %v", len(some), err)
	}
	if none, err := log.Leaves(t.Context(), 5, 9); err != nil || len(none) != 0 {
		t.Errorf("leaves [5, 9): %d, %v", len(none), err)
	}
}

// placed is an entry whose leaf holds its index and time, as those of a CT log do, and whose
// stored bytes hold more than the leaf.
type placed string

func (e placed) Identity() [32]byte { return Entry(e).Identity() }
func (e placed) Encode(index, timeMS int64) (leaf, stored []byte, err error) {
	leaf = fmt.Appendf(nil, "%s at %d, %d", e, index, timeMS)
	return leaf, append(slices.Clone(leaf), "; extra"...), nil
}
func (e placed) Keys() [][]byte { return nil }

func testLeafInput(t *testing.T, newLog func(testing.TB, ...func(*tlog.Config)) tlog.Log) {
	log := newLog(t, func(c *tlog.Config) {
		c.LeafInput = func(stored []byte) ([]byte, error) {
			leaf, _, ok := bytes.Cut(stored, []byte(";"))
			if !ok {
				return nil, errors.New("no semicolon")
			}
			return leaf, nil
		}
	})
	for i := range 3 {
		r := mustAppend(t, log, placed(fmt.Sprint("p", i)))
		want := fmt.Sprintf("p%d at %d, %d", i, i, r.Leaf.TimeMS)
		if r.Leaf.Hash != tile.LeafHash([]byte(want)) || string(r.Leaf.Data) != want+"; extra" {
			t.Errorf("leaf %d: %q", i, r.Leaf.Data)
		}
		if l, err := log.Leaf(t.Context(), int64(i)); err != nil || l.Hash != r.Leaf.Hash || !bytes.Equal(l.Data, r.Leaf.Data) {
			t.Errorf("leaf %d: %+v, %v", i, l, err)
		}
	}
}

func testSearch(t *testing.T, newLog func(testing.TB, ...func(*tlog.Config)) tlog.Log) {
	log := newLog(t, func(c *tlog.Config) { c.MaxResults = 3 })
	k := func(s ...string) (keys [][]byte) {
		for _, v := range s {
			keys = append(keys, []byte(v))
		}
		return keys
	}
	for i, keys := range [][][]byte{
		k("a"), k("a", "b", "a"), k("b"), nil, k("a", "b", "c"), k("\x00\xff"), k("x"), k("x"), k("x"), k("x"), k(""),
	} {
		mustAppend(t, log, brokenEntry{Entry: Numbered(i), keys: keys})
	}
	for _, c := range []struct {
		keys  [][]byte
		and   bool
		limit int
		want  []int64
		from  int64
	}{
		{k("a"), false, 9, []int64{0, 1, 4}, 0}, // as many as MaxResults: there may be more
		{k("a", "c"), false, 9, []int64{0, 1, 4}, 0},
		{k("b", "b"), true, 9, []int64{1, 2, 4}, 1},
		{k("a", "b"), true, 9, []int64{1, 4}, 0},
		{k("a", "b", "c"), true, 9, []int64{4}, 0},
		{k("a", "nothing"), true, 9, nil, 0},
		{k("nothing"), false, 9, nil, 0},
		{k("\x00\xff"), false, 9, []int64{5}, 0},
		{k(""), true, 9, []int64{10}, 0},
		{nil, false, 9, nil, 0},
		{nil, true, 9, nil, 0},
		{k("x"), false, 9, []int64{7, 8, 9}, 7}, // cut at MaxResults: the newest
		{k("x"), false, 2, []int64{8, 9}, 8},
		{k("a", "b"), true, 1, []int64{4}, 4},
		{k("x"), false, 0, nil, 0},
	} {
		got, err := log.Search(t.Context(), c.keys, c.and, c.limit)
		if err != nil || !slices.Equal(got.Indexes, c.want) || got.From != c.from || got.Size != 11 {
			t.Errorf("search %q, and=%v, limit %d: %+v, %v; want %v, complete from %d", c.keys, c.and, c.limit, got, err, c.want, c.from)
		}
		hashes, err := log.LeafHashes(t.Context(), got.Indexes)
		if err != nil || len(hashes) != len(got.Indexes) {
			t.Errorf("%d hashes of %v, %v", len(hashes), got.Indexes, err)
		}
		for i, index := range got.Indexes {
			if l, err := log.Leaf(t.Context(), index); err != nil || l.Hash != hashes[i] {
				t.Errorf("hash of leaf %d: %x, want %x, %v", index, hashes[i], l.Hash, err)
			}
		}
	}
	for _, beyond := range [][]int64{{-1}, {0, 11}} {
		if _, err := log.LeafHashes(t.Context(), beyond); !errors.Is(err, tlog.ErrNotFound) {
			t.Errorf("hashes of %v: %v", beyond, err)
		}
	}
}

func testCancel(t *testing.T, log tlog.Log) {
	ctx, cancel := context.WithCancel(t.Context())
	encoding, release := make(chan bool, 2), make(chan bool, 2)
	slow := brokenEntry{Entry: "slow", encode: func(int64, int64) ([]byte, []byte, error) {
		encoding <- true
		<-release
		return []byte("slow"), []byte("slow"), nil
	}}
	release <- true // for the first look, in Append
	failed := make(chan error)
	go func() {
		_, err := log.Append(ctx, slow)
		failed <- err
	}()
	<-encoding
	<-encoding // under the head lock
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("append with a cancelled context: %v", err)
	}
	release <- true
	if r := mustAppend(t, log, Entry("after")); r.Leaf.Index != 1 {
		t.Errorf("the entry after the abandoned one has index %d", r.Leaf.Index)
	}
	if i, err := log.Find(t.Context(), slow.Identity()); err != nil || i != 0 {
		t.Errorf("the abandoned entry: %d, %v", i, err)
	}
}
