package fuse

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// Key is what a filter knows of a key: 128 bits of a hash of it.
type Key [2]uint64

// KeyOf returns the key of a hash, from its first 16 bytes.
func KeyOf(hash *[32]byte) Key {
	return Key{binary.BigEndian.Uint64(hash[:8]), binary.BigEndian.Uint64(hash[8:16])}
}

func compareKeys(a, b Key) int {
	for i := range a {
		if a[i] != b[i] {
			if a[i] < b[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// Seed tells how keys are mixed.
type Seed [2]uint64

// Mix returns the 64 bits of a key that its places and its print come from.
func (s Seed) Mix(k Key) uint64 { return finish(finish(k[0]^s[0]) + (k[1] ^ s[1])) }

// finish is a bijection in which each bit of x changes each bit of the result about half the time: that of
// MurmurHash3.
func finish(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// next is the seed of a further attempt.
func next(keys []Key, attempt int) Seed {
	h := sha256.New()
	var b [16]byte
	for _, k := range keys {
		binary.BigEndian.PutUint64(b[:8], k[0])
		binary.BigEndian.PutUint64(b[8:], k[1])
		_, _ = h.Write(b[:])
	}
	binary.BigEndian.PutUint64(b[:8], uint64(attempt))
	_, _ = h.Write(b[:8])
	sum := h.Sum(nil)
	return Seed{binary.BigEndian.Uint64(sum), binary.BigEndian.Uint64(sum[8:])}
}

// Shape is how the places of a filter are laid out: in segments of 2^Bits, of which a key has one place in
// each of three neighbours. A filter without keys has no segments.
type Shape struct {
	Bits     uint32
	Segments uint32 // 0, or at least 3
}

// ShapeOf returns the shape for a number of different keys.
func ShapeOf(keys int) Shape {
	if keys == 0 {
		return Shape{}
	}
	n := float64(max(keys, 2))
	s := Shape{Bits: min(uint32(math.Log(n)/math.Log(3.33)+2.25), 18)}
	places := n * max(1.125, 0.875+0.25*math.Log(1e6)/math.Log(n))
	s.Segments = max(uint32(places)>>s.Bits+1, 3)
	return s
}

// Len is the number of places.
func (s Shape) Len() int { return int(s.Segments) << s.Bits }

// Places returns the three places of a key in a filter that has any, given what a seed makes of it.
func (s Shape) Places(mixed uint64) (a, b, c uint32) {
	first, _ := bits.Mul64(mixed, uint64(s.Segments-2)<<s.Bits)
	mask := uint32(1)<<s.Bits - 1
	a = uint32(first)
	b = a + 1<<s.Bits
	c = b + 1<<s.Bits
	return a, b ^ uint32(mixed>>18)&mask, c ^ uint32(mixed)&mask
}

// Print returns the print of a key, of which a filter keeps the low bits. The places depend little on these.
func Print(mixed uint64) uint16 { return uint16(mixed ^ mixed>>32) }

// Filter is a filter. It is never changed.
type Filter[P uint8 | uint16] struct {
	Seed   Seed
	Shape  Shape
	Prints []P
}

// attempts is how many seeds are tried. That one fails has been seen once in hundreds of sets; that all do
// never happens.
const attempts = 64

// Distinct sorts keys and returns how many different ones there are.
func Distinct(keys []Key) int {
	slices.SortFunc(keys, compareKeys)
	n := 0
	for i := range keys {
		if i == 0 || keys[i] != keys[i-1] {
			n++
		}
	}
	return n
}

// Make makes the filter of a set of keys. For the same set, in whichever order and with keys however often
// in it, it is the same. It sorts keys.
func Make[P uint8 | uint16](keys []Key) (Filter[P], error) {
	slices.SortFunc(keys, compareKeys)
	keys = slices.Compact(keys)
	f := Filter[P]{Shape: ShapeOf(len(keys))}
	f.Prints = make([]P, f.Shape.Len())
	if len(keys) == 0 {
		return f, nil
	}
	for i := range attempts {
		if i > 0 {
			f.Seed = next(keys, i)
		}
		if order := peel(keys, f.Seed, f.Shape); len(order) == len(keys) {
			f.set(order)
			return f, nil
		}
	}
	return f, fmt.Errorf("none of %d seeds makes a filter of %d keys", attempts, len(keys))
}

// peeled is a key in a place that it has for itself among the keys that are set before it.
type peeled struct {
	mixed uint64
	place uint32
}

// peel takes away one key after the other that has a place for itself among those that are left. It
// returns them in that order; those that cannot be taken away are not in it.
func peel(keys []Key, seed Seed, shape Shape) []peeled {
	type cell struct {
		mixed uint64 // XOR of all keys in this place
		n     uint32
	}
	cells := make([]cell, shape.Len())
	toggle := func(mixed uint64, by uint32) {
		a, b, c := shape.Places(mixed)
		for _, at := range [...]uint32{a, b, c} {
			cells[at].mixed ^= mixed
			cells[at].n += by
		}
	}
	for _, k := range keys {
		toggle(seed.Mix(k), 1)
	}
	alone := make([]uint32, 0, len(cells))
	for at := range cells {
		if cells[at].n == 1 {
			alone = append(alone, uint32(at))
		}
	}
	order := make([]peeled, 0, len(keys))
	for len(alone) > 0 {
		at := alone[len(alone)-1]
		alone = alone[:len(alone)-1]
		if cells[at].n != 1 {
			continue
		}
		mixed := cells[at].mixed
		order = append(order, peeled{mixed, at})
		toggle(mixed, ^uint32(0)) // -1
		a, b, c := shape.Places(mixed)
		for _, other := range [...]uint32{a, b, c} {
			if cells[other].n == 1 {
				alone = append(alone, other)
			}
		}
	}
	return order
}

// set sets the place of each key, the one that was peeled last first: nothing that is set later is in the
// places of one that is set before.
func (f Filter[P]) set(order []peeled) {
	for _, p := range slices.Backward(order) {
		a, b, c := f.Shape.Places(p.mixed)
		f.Prints[p.place] = 0
		f.Prints[p.place] = P(Print(p.mixed)) ^ f.Prints[a] ^ f.Prints[b] ^ f.Prints[c]
	}
}

// Has tells whether a key may be in the set.
func (f Filter[P]) Has(k Key) bool {
	if f.Shape.Segments == 0 {
		return false
	}
	mixed := f.Seed.Mix(k)
	a, b, c := f.Shape.Places(mixed)
	return P(Print(mixed)) == f.Prints[a]^f.Prints[b]^f.Prints[c]
}

// headSize is that of what comes before the prints in an encoded filter.
const headSize = 24

// Encode returns the filter as it is stored, all numbers big-endian: the seed (16 bytes), the bits and the
// number of segments (4 each), the prints.
func (f Filter[P]) Encode() []byte {
	data := make([]byte, 0, headSize+2*len(f.Prints))
	data = binary.BigEndian.AppendUint64(data, f.Seed[0])
	data = binary.BigEndian.AppendUint64(data, f.Seed[1])
	data = binary.BigEndian.AppendUint32(data, f.Shape.Bits)
	data = binary.BigEndian.AppendUint32(data, f.Shape.Segments)
	for _, p := range f.Prints {
		if size[P]() == 2 {
			data = append(data, byte(uint16(p)>>8))
		}
		data = append(data, byte(p))
	}
	return data
}

// size is how many bytes a print has.
func size[P uint8 | uint16]() int {
	if p := ^P(0); uint16(p) > math.MaxUint8 {
		return 2
	}
	return 1
}

// Decode reads an encoded filter. It fails if it has not the length that its shape says, so that
// no key is outside of it.
func Decode[P uint8 | uint16](data []byte) (f Filter[P], err error) {
	if len(data) < headSize {
		return f, errors.New("a filter is cut short")
	}
	f.Seed = Seed{binary.BigEndian.Uint64(data), binary.BigEndian.Uint64(data[8:])}
	f.Shape = Shape{binary.BigEndian.Uint32(data[16:]), binary.BigEndian.Uint32(data[20:])}
	data = data[headSize:]
	n := uint64(f.Shape.Segments) << min(f.Shape.Bits, 31)
	if s := f.Shape; s.Bits > 18 || s.Segments == 1 || s.Segments == 2 || n*uint64(size[P]()) != uint64(len(data)) {
		return f, fmt.Errorf("a filter of %d segments of 2^%d places has %d bytes of prints", s.Segments, s.Bits, len(data))
	}
	f.Prints = make([]P, n)
	for i := range f.Prints {
		if size[P]() == 2 {
			f.Prints[i] = P(binary.BigEndian.Uint16(data[2*i:]))
		} else {
			f.Prints[i] = P(data[i])
		}
	}
	return f, nil
}
