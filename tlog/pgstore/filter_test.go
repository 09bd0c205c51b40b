package pgstore

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

func numbered(i int) [32]byte { return sha256.Sum256(fmt.Append(nil, i)) }

// TestFilter: no identity that is there is denied, as it is made and as it is read back, and few others
// are not.
func TestFilter(t *testing.T) {
	identities := make([][32]byte, regionSize)
	for i := range identities {
		identities[i] = numbered(i)
	}
	made := newFilter(identities)
	data := made.encode()
	read, err := decodeFilter(data, sha256.Sum256(data))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []filter{made, read} {
		list := table{}.with(f)
		for i := range identities {
			if _, regions := candidates(list, identities[i:i+1]); len(regions) != 1 || regions[0] != 0 {
				t.Fatalf("identity %d is denied: %v", i, regions)
			}
		}
		others := 0
		for i := range regionSize {
			list.each(new(numbered(regionSize+i)), func(int) { others++ })
		}
		if others > regionSize/700 { // one of some 1,300 is expected
			t.Errorf("%d of %d other identities are taken for one", others, regionSize)
		}
	}
}

func TestDecodeFilter(t *testing.T) {
	identities := make([][32]byte, regionSize)
	for i := range identities {
		identities[i] = numbered(i)
	}
	good := newFilter(identities).encode()
	for name, c := range map[string]struct {
		change func(data []byte) []byte
		stale  bool // the hash is that of the good one
		want   string
	}{
		"a flipped bit": {func(d []byte) []byte { d[170000] ^= 1; return d }, true, "SHA-256"},
		"cut short":     {func(d []byte) []byte { return d[:len(d)-2] }, false, "SHA-256"},
		"nothing wrong": {func(d []byte) []byte { return d }, false, ""},
	} {
		data := c.change(append([]byte(nil), good...))
		sum := sha256.Sum256(data)
		if c.stale {
			sum = sha256.Sum256(good)
		}
		_, err := decodeFilter(data, sum)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTable: each filter answers for its own region, in every place of a group, and a table that was
// taken before others were added does not see them.
func TestTable(t *testing.T) {
	const n = 2*groupRegions + 3
	var list table
	var before []table
	for region := range n {
		before = append(before, list)
		list = list.with(newFilter([][32]byte{numbered(region)}))
	}
	for region := range n {
		id := [][32]byte{numbered(region)}
		if _, regions := candidates(list, id); len(regions) != 1 || int(regions[0]) != region {
			t.Errorf("the identity of region %d is in %v", region, regions)
		}
		if _, regions := candidates(before[region], id); len(regions) != 0 {
			t.Errorf("a table of %d filters answers for regions %v", region, regions)
		}
		if _, regions := candidates(list.first(int64(region)), id); len(regions) != 0 {
			t.Errorf("the first %d of the filters answer for regions %v", region, regions)
		}
	}
}

func BenchmarkCandidates(b *testing.B) {
	identities := make([][32]byte, regionSize)
	for i := range identities {
		identities[i] = numbered(i)
	}
	var list table
	for range 153 { // ten million entries
		list = list.with(newFilter(identities))
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
