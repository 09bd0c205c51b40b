package pgstore

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/fuse"
	"github.com/sigbox/sigbox/tlog"
)

func numbered(i int) [32]byte { return sha256.Sum256(fmt.Append(nil, i)) }

// identitiesFrom are as many as a region has.
func identitiesFrom(first int) [][32]byte {
	identities := make([][32]byte, regionSize)
	for i := range identities {
		identities[i] = numbered(first + i)
	}
	return identities
}

func fuseKeys(identities [][32]byte) []fuse.Key {
	keys := make([]fuse.Key, len(identities))
	for i := range identities {
		keys[i] = identityKey(&identities[i])
	}
	return keys
}

func searchKeys(n int) (keys [][]byte, hashed []fuse.Key) {
	for i := range n {
		keys = append(keys, fmt.Appendf(nil, "key %d", i))
		hashed = append(hashed, searchKey(keys[i]))
	}
	return keys, hashed
}

func newTestFilter(t testing.TB, identities [][32]byte, keys []fuse.Key) filter {
	t.Helper()
	f, err := newFilter(fuseKeys(identities), keys)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// oddFilter is one whose identities do not have the first seed, as one of a hundred regions has.
func oddFilter(t testing.TB) (filter, [][32]byte) {
	t.Helper()
	const start = 86_000_000 // where one is, so that not all before it are tried
	for first := start; ; first += 1_000_000 {
		identities := identitiesFrom(first)
		if f := newTestFilter(t, identities, nil); f.identities.Seed != (fuse.Seed{}) {
			return f, identities
		}
		if first > start+1000*1_000_000 {
			t.Fatal("all regions have the first seed")
		}
	}
}

// TestFilter: nothing that is there is denied, as a filter is made and as it is read back, whichever seed
// it has, and few others are not.
func TestFilter(t *testing.T) {
	keys, hashed := searchKeys(100_000)
	usual := identitiesFrom(0)
	odd, oddIdentities := oddFilter(t)
	for _, c := range []struct {
		name       string
		made       filter
		identities [][32]byte
		keys       [][]byte
	}{{"usual", newTestFilter(t, usual, hashed), usual, keys}, {"odd", odd, oddIdentities, nil}} {
		ids, all, sum := c.made.encode(1, 0)
		read, err := decodeFilter(1, 0, ids, all, sum)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []filter{c.made, read} {
			list := table{}.with(f)
			for i := range c.identities {
				if _, regions := candidates(list, c.identities[i:i+1]); len(regions) != 1 || regions[0] != 0 {
					t.Fatalf("%s: identity %d is denied: %v", c.name, i, regions)
				}
				if !f.identities.Has(identityKey(&c.identities[i])) {
					t.Fatalf("%s: identity %d is denied by the filter itself", c.name, i)
				}
			}
			for i := range c.keys {
				if got := list.keyRegions(c.keys[i:i+1], false, 0); len(got) != 1 {
					t.Fatalf("%s: search key %d is denied: %v", c.name, i, got)
				}
			}
			others, otherKeys := 0, 0
			const tries = 10 * regionSize // ten are expected
			for i := range tries {
				list.each(new(numbered(-1-i)), func(int) { others++ })
			}
			for i := range regionSize { // 256 are expected, none where there are no keys
				otherKeys += len(list.keyRegions([][]byte{fmt.Appendf(nil, "other %d", i)}, false, 0))
			}
			if others > 30 || otherKeys > 350*len(c.keys) {
				t.Errorf("%s: %d of %d other identities and %d of %d other keys are taken for one", c.name, others, tries, otherKeys, regionSize)
			}
		}
	}
}

// TestManyKeys: a region with more keys than a filter is worth may hold any.
func TestManyKeys(t *testing.T) {
	for n, want := range map[int]bool{maxFilterKeys: false, maxFilterKeys + 1: true} {
		keys := make([]fuse.Key, n)
		for i := range keys {
			keys[i] = fuse.Key{uint64(i) * 0x9e3779b97f4a7c15, uint64(i)}
		}
		f := newTestFilter(t, identitiesFrom(0), keys)
		ids, all, sum := f.encode(1, 0)
		f, err := decodeFilter(1, 0, ids, all, sum)
		if got := f.keys == nil; err != nil || got != want {
			t.Errorf("%d keys: any key may be there: %v, want %v (%v)", n, got, want, err)
		}
		if !f.hasKey(fuse.Key{}) { // number 0
			t.Errorf("%d keys: one is denied", n)
		}
	}
}

func TestDecodeFilter(t *testing.T) {
	_, hashed := searchKeys(1000)
	f := newTestFilter(t, identitiesFrom(0), hashed)
	ids, keys, sum := f.encode(7, 3)
	sumOf := func(ids, keys []byte) [32]byte { return filterSum(7, 3, ids, keys) }
	flip := func(data []byte, at int) []byte {
		data = slices.Clone(data)
		data[at] ^= 1
		return data
	}
	for name, c := range map[string]struct {
		ids, keys []byte
		sum       [32]byte
		want      string
	}{
		"nothing wrong":            {ids, keys, sum, ""},
		"without keys":             {ids, nil, sumOf(ids, nil), ""},
		"of another region":        {ids, keys, filterSum(7, 4, ids, keys), "SHA-256"},
		"of another log":           {ids, keys, filterSum(8, 3, ids, keys), "SHA-256"},
		"empty keys":               {ids, []byte{}, sumOf(ids, nil), "search keys: "},
		"a flipped bit":            {flip(ids, 150_000), keys, sum, "SHA-256"},
		"a flipped bit of keys":    {ids, flip(keys, 100), sum, "SHA-256"},
		"keys that are gone":       {ids, nil, sum, "SHA-256"},
		"identities cut short":     {ids[:len(ids)-2], keys, sumOf(ids[:len(ids)-2], keys), "identities: "},
		"keys cut short":           {ids, keys[:len(keys)-1], sumOf(ids, keys[:len(keys)-1]), "search keys: "},
		"identities in a shape":    {flip(ids, 19), keys, sumOf(flip(ids, 19), keys), "identities: "},
		"keys where identities be": {keys, ids, sumOf(keys, ids), "identities: "},
	} {
		_, err := decodeFilter(7, 3, c.ids, c.keys, c.sum)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestTwins: a region in which two identities are one is not taken for full.
func TestTwins(t *testing.T) {
	identities := identitiesFrom(0)
	for what, some := range map[string][][32]byte{
		"a thousand identities": identities[:1000],
		"one less":              identities[1:],
		"one of them twice":     append(slices.Clone(identities[1:]), identities[7]),
	} {
		if _, err := newFilter(fuseKeys(some), nil); !errors.Is(err, tlog.ErrCorrupt) {
			t.Errorf("a filter is made of %s (%v)", what, err)
		}
	}
}

// TestTable: each filter answers for its own region, in every place of a group, whichever seed it has, and
// a table that was taken before others were added does not see them.
func TestTable(t *testing.T) {
	const n = 2*groupRegions + 3
	odd, oddIdentities := oddFilter(t)
	var list table
	var before []table
	var filters []filter
	var first [][32]byte
	for region := range 4 { // four different ones, of which the last is odd
		if region == 3 {
			filters, first = append(filters, odd), append(first, oddIdentities[0])
			continue
		}
		identities := identitiesFrom((region + 1) << 50)
		filters, first = append(filters, newTestFilter(t, identities, []fuse.Key{searchKey(fmt.Append(nil, region))})), append(first, identities[0])
	}
	which := func(region int) int { return region * 7 / 3 % 4 }
	for region := range n {
		before = append(before, list)
		list = list.with(filters[which(region)])
	}
	for i := range first {
		var want []int32
		for region := range n {
			if which(region) == i {
				want = append(want, int32(region))
			}
		}
		in := func(list table) []int32 {
			_, regions := candidates(list, first[i:i+1])
			slices.Sort(regions)
			return regions
		}
		if got := in(list); !slices.Equal(got, want) {
			t.Errorf("the identity of regions %v is in %v", want, got)
		}
		for region := range n {
			upTo := slices.DeleteFunc(slices.Clone(want), func(r int32) bool { return int(r) >= region })
			if got := in(before[region]); !slices.Equal(got, upTo) {
				t.Errorf("a table of %d filters answers for regions %v, want %v", region, got, upTo)
			}
			if got := in(list.first(int64(region))); !slices.Equal(got, upTo) {
				t.Errorf("the first %d of the filters answer for regions %v, want %v", region, got, upTo)
			}
		}
	}
}

// TestOpen: a region whose filter is damaged may hold anything, and changes nothing of those beside it.
func TestOpen(t *testing.T) {
	_, hashed := searchKeys(10)
	f := newTestFilter(t, identitiesFrom(0), hashed)
	list := table{}.withOpen().with(f)
	for len(list.keys) < groupRegions {
		list = list.with(f)
	}
	list = list.withOpen()
	for _, c := range []struct {
		number int
		list   table
		want   []int32
	}{
		{-5, list, []int32{0, groupRegions}}, {-5, list.first(groupRegions), []int32{0}}, {-5, list.first(0), nil},
		{5, list.first(3), []int32{0, 1, 2}},
	} {
		_, regions := candidates(c.list, [][32]byte{numbered(c.number)})
		if slices.Sort(regions); !slices.Equal(regions, c.want) {
			t.Errorf("identity %d may be in %v of %d regions, want %v", c.number, regions, c.list.n, c.want)
		}
	}
	if got := list.keyRegions([][]byte{[]byte("absent, as it happens")}, false, groupRegions); !slices.Equal(got, []int64{groupRegions, 0}) {
		t.Errorf("an absent search key may be in %v", got)
	}
}

// TestAgain: a place of a table that was taken in vain is taken again as if it had not been.
func TestAgain(t *testing.T) {
	in := identitiesFrom(1 << 40)
	list := table{}.with(newTestFilter(t, identitiesFrom(0), nil))
	list.with(newTestFilter(t, identitiesFrom(1<<30), nil))
	list = list.with(newTestFilter(t, in, nil))
	for i := range in {
		if _, regions := candidates(list, in[i:i+1]); !slices.Contains(regions, 1) {
			t.Fatalf("identity %d is denied", i)
		}
	}
}

// TestKeyRegions: of several keys any, or all, may be in a region; one without a filter may hold all.
func TestKeyRegions(t *testing.T) {
	identities := identitiesFrom(0)
	var list table
	for _, keys := range [][]string{{"a"}, {"a", "b"}, {"b", "c"}, {}} {
		var hashed []fuse.Key
		for _, k := range keys {
			hashed = append(hashed, searchKey([]byte(k)))
		}
		list = list.with(newTestFilter(t, identities, hashed))
	}
	for _, c := range []struct {
		keys string
		all  bool
		last int64
		want []int64
	}{
		{"a", false, 3, []int64{1, 0}}, {"c", false, 3, []int64{2}}, {"d", false, 3, nil}, {"d", false, 5, []int64{5, 4}},
		{"a c", false, 3, []int64{2, 1, 0}}, {"a b", true, 3, []int64{1}}, {"a c", true, 3, nil}, {"a c", true, 4, []int64{4}},
		{"a", false, 0, []int64{0}}, {"a", false, -1, nil}, {"a b", true, 0, nil},
	} {
		var keys [][]byte
		for _, k := range strings.Fields(c.keys) {
			keys = append(keys, []byte(k))
		}
		if got := list.keyRegions(keys, c.all, c.last); !slices.Equal(got, c.want) {
			t.Errorf("%q (all: %v) up to region %d: %v, want %v", c.keys, c.all, c.last, got, c.want)
		}
	}
}

func BenchmarkCandidates(b *testing.B) {
	f := newTestFilter(b, identitiesFrom(0), nil)
	var list table
	for range 153 { // ten million entries
		list = list.with(f)
	}
	for _, n := range []int{1, 256} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			batch := make([][32]byte, n)
			next := regionSize
			for b.Loop() {
				for i := range batch {
					binary.BigEndian.PutUint64(batch[i][:], uint64(next)*0x9e3779b97f4a7c15)
					next++
				}
				candidates(list, batch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/identity")
		})
	}
}
