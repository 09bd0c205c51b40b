package fuse

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// numbered is a key that is as random as those of hashes.
func numbered(i int) Key {
	from := rand.NewPCG(uint64(i), 1)
	return Key{from.Uint64(), from.Uint64()}
}

func set(from, n int) []Key {
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = numbered(from + i)
	}
	return keys
}

// TestFilter: whatever the size of the set, no key of it is denied, as the filter is made and as it is
// read back, and of others as many are taken for one as the bits of a print say, within six standard
// deviations.
func TestFilter(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 7, 10, 31, 100, 1000, 5000, 65_536, 300_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			check[uint8](t, n, 1.0/256)
			check[uint16](t, n, 1.0/65536)
		})
	}
}

func check[P uint8 | uint16](t *testing.T, n int, rate float64) {
	t.Helper()
	keys := set(0, n)
	made, err := Make[P](slices.Clone(keys))
	if err != nil {
		t.Fatal(err)
	}
	read, err := Decode[P](made.Encode())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []Filter[P]{made, read} {
		for i, k := range keys {
			if !f.Has(k) {
				t.Fatalf("key %d of %d is denied", i, n)
			}
		}
	}
	const others = 1 << 20
	taken := 0.0
	for i := range others {
		if made.Has(numbered(n + i)) {
			taken++
		}
	}
	want := others * rate
	if math.Abs(taken-want) > 6*math.Sqrt(want) {
		t.Errorf("%d keys: %.0f of %d others are taken for one, want %.0f", n, taken, others, want)
	}
	if bits := float64(8*len(made.Encode())) / float64(n); n >= 1000 && bits > 1.45*8*float64(size[P]()) {
		t.Errorf("%d keys: %.1f bits a key", n, bits)
	}
}

// TestMake: a set has one filter, and the empty one denies all.
func TestMake(t *testing.T) {
	keys := set(0, 3000)
	want, err := Make[uint16](slices.Clone(keys))
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(keys)
	got, err := Make[uint16](append(keys, keys[:1000]...))
	if err != nil || !slices.Equal(got.Encode(), want.Encode()) {
		t.Errorf("of the same keys in another order, some of them twice, another filter is made (%v)", err)
	}
	none, err := Make[uint8](nil)
	if err != nil || none.Has(numbered(1)) || none.Has(Key{}) {
		t.Errorf("an empty set has keys (%v)", err)
	}
	if read, err := Decode[uint8](none.Encode()); err != nil || read.Has(numbered(1)) {
		t.Errorf("the filter of an empty set is read back as another one (%v)", err)
	}
}

// TestSeeds: keys that the first seed cannot tell apart, as somebody may choose them, are told apart by
// another one, which depends on all keys.
func TestSeeds(t *testing.T) {
	keys := set(0, 65_534)
	shape := ShapeOf(len(keys) + 2)
	// Two keys of one mix under the first seed, made backwards.
	first := numbered(1 << 40)
	second := Key{first[0] + 1, 0}
	second[1] = finish(first[0]) + first[1] - finish(second[0])
	if (Seed{}).Mix(first) != (Seed{}).Mix(second) {
		t.Fatal("the two keys have two mixes")
	}
	keys = append(keys, first, second)
	if order := peel(keys, Seed{}, shape); len(order) == len(keys) {
		t.Fatal("the first seed tells them apart")
	}
	f, err := Make[uint16](slices.Clone(keys))
	if err != nil {
		t.Fatal(err)
	}
	if f.Seed == (Seed{}) {
		t.Error("the filter has the first seed")
	}
	for i, k := range keys {
		if !f.Has(k) {
			t.Fatalf("key %d is denied", i)
		}
	}
	if next(keys, 1) == next(keys[1:], 1) || next(keys, 1) == next(keys, 2) {
		t.Error("two sets, or two attempts, have one seed")
	}
	if _, err := Make[uint16]([]Key{{1, 2}, {1, 2}}); err != nil {
		t.Errorf("a key that is there twice: %v", err)
	}
}

// TestFirstSeed: of sets as they are, few need a second seed.
func TestFirstSeed(t *testing.T) {
	const sets = 100
	others := 0
	for i := range sets {
		if order := peel(set(i<<20, 65_536), Seed{}, ShapeOf(65_536)); len(order) != 65_536 {
			others++
		}
	}
	if others > 5 {
		t.Errorf("the first seed fails for %d of %d sets", others, sets)
	}
	t.Logf("the first seed fails for %d of %d sets", others, sets)
}

func TestDecode(t *testing.T) {
	f, err := Make[uint8](set(0, 1000))
	if err != nil {
		t.Fatal(err)
	}
	good := f.Encode()
	change := func(at int, to byte) []byte {
		data := slices.Clone(good)
		data[at] = to
		return data
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing wrong":          {good, ""},
		"nothing":                {nil, "cut short"},
		"no prints":              {good[:headSize], "bytes of prints"},
		"a print less":           {good[:len(good)-1], "bytes of prints"},
		"a print more":           {append(slices.Clone(good), 0), "bytes of prints"},
		"huge segments":          {change(19, 60), "bytes of prints"},
		"segments beyond memory": {change(20, 255), "bytes of prints"},
		"two segments":           {append(change(23, 2)[:headSize:headSize], make([]byte, 2<<f.Shape.Bits)...), "bytes of prints"},
	} {
		if _, err := Decode[uint8](c.data); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// FuzzDecode: what is read can be asked for anything.
func FuzzDecode(f *testing.F) {
	good, err := Make[uint16](set(0, 20))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Encode(), uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, data []byte, a, b uint64) {
		if f, err := Decode[uint16](data); err == nil {
			f.Has(Key{a, b})
			if !slices.Equal(f.Encode(), data) {
				t.Error("it is encoded as something else")
			}
		}
	})
}

func BenchmarkMake(b *testing.B) {
	keys := set(0, 65_536)
	for b.Loop() {
		if _, err := Make[uint16](slices.Clone(keys)); err != nil {
			b.Fatal(err)
		}
	}
}
