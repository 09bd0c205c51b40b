package pgstore

import (
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/sigbox/sigbox/internal/fuse"
	"github.com/sigbox/sigbox/internal/offheap"
)

// groupRegions is how many filters of identities lie together. The first one of a group takes memory for
// all, 2.5 MB.
const groupRegions = 16

// A place of a group is the prints of 16 filters, in words of four.
const (
	printBits  = 16
	wordPrints = 64 / printBits
	placeWords = groupRegions / wordPrints
)

// table is the filters of the first n regions of a log. The prints in the same place of 16 filters of
// identities lie side by side, and most filters have an identity in the same three places, so that a look
// at all of them reads few runs of memory: ten million entries are 153 filters, and three accesses to memory
// for each would take longer than all else that is done for an entry. Search keys are looked for one at a
// time; their filters lie as they are.
type table struct {
	n      int
	groups []*offheap.Block[uint64] // of identities; see at
	odd    []oddSeed                // regions whose identities do not have the first seed, in their order
	open   []int                    // regions whose filters are damaged, in their order: they may hold anything
	keys   []keyFilter              // by region
}

type oddSeed struct {
	region int
	seed   fuse.Seed
}

// keyFilter is a filter of search keys whose prints are outside of the heap.
type keyFilter struct {
	filter filter
	prints *offheap.Block[uint8]
}

// at returns where the print of a region is in a group, given its place in the filter.
func at(region int, place uint32) (word int, shift int) {
	slot := region % groupRegions
	return int(place)*placeWords + slot/wordPrints, slot % wordPrints * printBits
}

// with returns a table with one filter more. It shares memory with t, whose own part is not touched;
// one caller at a time may extend what comes from the same table.
func (t table) with(f filter) table {
	t = t.withPlace()
	last := t.groups[t.n/groupRegions]
	for place, p := range f.identities.Prints {
		word, shift := at(t.n, uint32(place))
		// Others look at the prints beside it. What is there is of nobody who still counts.
		atomic.AndUint64(&last.Items[word], ^(uint64(1<<printBits-1) << shift))
		atomic.OrUint64(&last.Items[word], uint64(p)<<shift)
	}
	if f.identities.Seed != (fuse.Seed{}) {
		t.odd = append(t.odd[:len(t.odd):len(t.odd)], oddSeed{t.n, f.identities.Seed})
	}
	k := keyFilter{}
	if f.keys != nil {
		k.prints = offheap.New[uint8](len(f.keys.Prints))
		copy(k.prints.Items, f.keys.Prints)
		k.filter.keys = &fuse.Filter[uint8]{Seed: f.keys.Seed, Shape: f.keys.Shape, Prints: k.prints.Items}
	}
	t.keys = append(t.keys[:t.n:t.n], k)
	t.n++
	return t
}

// withPlace returns a table that has room for the prints of one filter more.
func (t table) withPlace() table {
	if t.n%groupRegions == 0 {
		t.groups = append(t.groups[:len(t.groups):len(t.groups)], offheap.New[uint64](regionShape.Len()*placeWords))
	}
	return t
}

// withOpen returns a table with one region more that may hold anything. Otherwise it is as with.
func (t table) withOpen() table {
	t = t.withPlace()
	t.open = append(t.open[:len(t.open):len(t.open)], t.n)
	t.keys = append(t.keys[:t.n:t.n], keyFilter{})
	t.n++
	return t
}

// first returns the filters of the first n regions at most.
func (t table) first(n int64) table {
	t.n = int(min(int64(t.n), n))
	return t
}

// each calls hit for every region that may hold an identity, in no order.
func (t table) each(identity *[32]byte, hit func(region int)) {
	key := identityKey(identity)
	mixed := fuse.Seed{}.Mix(key)
	a, b, c := regionShape.Places(mixed)
	print := uint64(fuse.Print(mixed)) * ones
	for g := 0; g*groupRegions < t.n; g++ {
		words := t.groups[g].Items
		first, second, third := words[int(a)*placeWords:][:placeWords], words[int(b)*placeWords:][:placeWords], words[int(c)*placeWords:][:placeWords]
		for i := range placeWords {
			differ := atomic.LoadUint64(&first[i]) ^ atomic.LoadUint64(&second[i]) ^ atomic.LoadUint64(&third[i]) ^ print
			if (differ-ones)&^differ&tops == 0 { // no print of the four is the one
				continue
			}
			for lane := range wordPrints {
				region := g*groupRegions + i*wordPrints + lane
				if uint16(differ>>(lane*printBits)) == 0 && region < t.n && !t.isOdd(region) && !slices.Contains(t.open, region) {
					hit(region)
				}
			}
		}
	}
	for _, o := range t.odd {
		if o.region < t.n && t.has(o, key) {
			hit(o.region)
		}
	}
	for _, region := range t.open {
		if region < t.n {
			hit(region)
		}
	}
	runtime.KeepAlive(t.groups)
}

// For each of four prints in a word: one, and the highest bit.
const (
	ones = 0x0001_0001_0001_0001
	tops = 0x8000_8000_8000_8000
)

func (t table) isOdd(region int) bool {
	for _, o := range t.odd {
		if o.region == region {
			return true
		}
	}
	return false
}

// has looks for an identity in one region that has a seed of its own.
func (t table) has(o oddSeed, key fuse.Key) bool {
	mixed := o.seed.Mix(key)
	a, b, c := regionShape.Places(mixed)
	print := fuse.Print(mixed)
	for _, place := range [...]uint32{a, b, c} {
		word, shift := at(o.region, place)
		print ^= uint16(atomic.LoadUint64(&t.groups[o.region/groupRegions].Items[word]) >> shift)
	}
	return print == 0
}

// candidates returns, for identities, the full regions that may hold them, as two columns.
func candidates(list table, identities [][32]byte) (wanted [][]byte, regions []int32) {
	for i := range identities {
		list.each(&identities[i], func(region int) {
			wanted = append(wanted, identities[i][:])
			regions = append(regions, int32(region))
		})
	}
	return wanted, regions
}

// keyRegions returns the regions up to the last one that may hold any, or all, of some search keys, the
// newest first. A region without a filter may.
func (t table) keyRegions(keys [][]byte, all bool, last int64) (regions []int64) {
	wanted := make([]fuse.Key, len(keys))
	for i, k := range keys {
		wanted[i] = searchKey(k)
	}
	for region := last; region >= 0; region-- {
		if region >= int64(t.n) || t.keys[region].filter.holds(wanted, all) {
			regions = append(regions, region)
		}
	}
	runtime.KeepAlive(t.keys)
	return regions
}

// holds tells whether a region may hold any, or all, of some search keys.
func (f filter) holds(keys []fuse.Key, all bool) bool {
	for _, k := range keys {
		if f.hasKey(k) != all {
			return !all
		}
	}
	return all
}
