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
		for i := range identities {
			if !f.maybe(probe(&identities[i])) {
				t.Fatalf("identity %d is denied", i)
			}
		}
		others := 0
		for i := range regionSize {
			if id := numbered(regionSize + i); f.maybe(probe(&id)) {
				others++
			}
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

func BenchmarkCandidates(b *testing.B) {
	identities := make([][32]byte, regionSize)
	for i := range identities {
		identities[i] = numbered(i)
	}
	list := make([]filter, 153) // ten million entries
	for i := range list {
		list[i] = newFilter(identities)
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
