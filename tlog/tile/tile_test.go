package tile_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/transparency-dev/merkle/rfc6962"
	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox/tlog/tile"
)

var goodPaths = map[string]tile.Path{
	"tile/0/000":                          {Level: 0, N: 0, Width: 256},
	"tile/0/000.p/1":                      {Level: 0, N: 0, Width: 1},
	"tile/0/000.p/255":                    {Level: 0, N: 0, Width: 255},
	"tile/1/999":                          {Level: 1, N: 999, Width: 256},
	"tile/0/x001/000":                     {Level: 0, N: 1000, Width: 256},
	"tile/0/x001/x234/067":                {Level: 0, N: 1234067, Width: 256},
	"tile/0/x001/x234/067.p/5":            {Level: 0, N: 1234067, Width: 5},
	"tile/63/000":                         {Level: 63, N: 0, Width: 256},
	"tile/entries/000":                    {Level: tile.Entries, N: 0, Width: 256},
	"tile/entries/x001/234.p/17":          {Level: tile.Entries, N: 1234, Width: 17},
	"tile/0/x036/x028/x797/x018/x963/967": {Level: 0, N: 1<<55 - 1, Width: 256},
}

func TestPath(t *testing.T) {
	for s, want := range goodPaths {
		p, err := tile.ParsePath(s)
		if err != nil || p != want {
			t.Errorf("%s: %+v, %v; want %+v", s, p, err, want)
		}
		if got := want.String(); got != s {
			t.Errorf("%+v: %s, want %s", want, got, s)
		}
	}
}

// Each row is a spelling that only the rule named beside it refuses.
func TestPathRefuses(t *testing.T) {
	for s, why := range map[string]string{
		"":                                    "empty",
		"tile":                                "no level",
		"tile/":                               "no level",
		"tile/0":                              "no number",
		"tile/0/":                             "no number",
		"/tile/0/000":                         "leading slash",
		"tile/0/000/":                         "trailing slash",
		"tile//0/000":                         "double slash",
		"tile/0//000":                         "double slash",
		"tiles/0/000":                         "another word",
		"Tile/0/000":                          "upper case",
		"tile/64/000":                         "level over 63",
		"tile/00/000":                         "level with a leading zero",
		"tile/01/000":                         "level with a leading zero",
		"tile/-1/000":                         "negative level",
		"tile/+1/000":                         "sign",
		"tile/ 1/000":                         "space",
		"tile/x/000":                          "level is no number",
		"tile/99999999999999999999/000":       "level overflows",
		"tile/data/000":                       "another word for entries",
		"tile/0/0":                            "one digit",
		"tile/0/00":                           "two digits",
		"tile/0/0000":                         "four digits",
		"tile/0/1234":                         "four digits",
		"tile/0/+12":                          "sign",
		"tile/0/-12":                          "sign",
		"tile/0/ 12":                          "space",
		"tile/0/0x1":                          "hexadecimal",
		"tile/0/1_0":                          "underscore",
		"tile/0/x000":                         "x on the last group",
		"tile/0/x001":                         "x on the last group",
		"tile/0/x1/234":                       "short group",
		"tile/0/x0001/234":                    "long group",
		"tile/0/001/234":                      "no x on the first group",
		"tile/0/x001/x234/x067":               "x on the last group",
		"tile/0/x001/234/067":                 "no x in the middle",
		"tile/0/x000/067":                     "leading group of zeros",
		"tile/0/x000/x001/067":                "leading group of zeros",
		"tile/0/X001/067":                     "upper case x",
		"tile/0/xx01/067":                     "x twice",
		"tile/0/000.p":                        "no width",
		"tile/0/000.p/":                       "no width",
		"tile/0/000.p/0":                      "width 0",
		"tile/0/000.p/256":                    "width 256",
		"tile/0/000.p/257":                    "width over 256",
		"tile/0/000.p/1000":                   "width over 256",
		"tile/0/000.p/65537":                  "width overflows 16 bits",
		"tile/0/000.p/01":                     "width with a leading zero",
		"tile/0/000.p/-1":                     "negative width",
		"tile/0/000.p/1/":                     "trailing slash",
		"tile/0/000.p/1.p/1":                  "width twice",
		"tile/0/000p/1":                       "no dot",
		"tile/0/x000/../../etc/passwd":        "dots",
		"tile/0/..":                           "dots",
		"tile/0/..%2f":                        "escape",
		"tile/0/%30%30%30":                    "escape",
		"tile/0\\000":                         "backslash",
		"tile/0/000\x00":                      "NUL",
		"tile/0/000\n":                        "newline",
		"tile/0/٠٠٠":                          "digits of another script",
		"tile/0/" + rep("x999/", 6) + "999":   "over 63 bits",
		"tile/0/" + rep("x999/", 10) + "999":  "far over 63 bits",
		"tile/0/" + rep("x000/", 10) + "000":  "far over 63 bits, of zeros",
		"tile/0/x036/x028/x797/x018/x963/968": "the first leaf needs 64 bits",
	} {
		if p, err := tile.ParsePath(s); !errors.Is(err, tile.ErrPath) {
			t.Errorf("%q (%s): %+v, %v", s, why, p, err)
		}
	}
}

func rep(s string, n int) string { return strings.Repeat(s, n) }

func FuzzPath(f *testing.F) {
	for s := range goodPaths {
		f.Add(s)
	}
	f.Add("tile/0/x001/234.p/01")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := tile.ParsePath(s)
		if err != nil {
			return
		}
		if p.String() != s || p.N < 0 || p.Width < 1 || p.Width > 256 || p.Level < tile.Entries || p.Level > 63 {
			t.Errorf("%q: %+v", s, p)
		}
		if p.Level == tile.Entries || p.N > math.MaxInt32 {
			return // sumdb calls them data, and has other limits
		}
		other, err := sumdb.ParseTilePath("tile/8/" + strings.TrimPrefix(s, "tile/"))
		if err != nil || other.L != p.Level || other.N != p.N || other.W != p.Width {
			t.Errorf("%q: %+v, sumdb: %+v, %v", s, p, other, err)
		}
	})
}

func TestBundle(t *testing.T) {
	entries := [][]byte{{}, {0}, []byte("entry"), bytes.Repeat([]byte("x"), tile.MaxBundleEntry)}
	var b []byte
	for _, e := range entries {
		var err error
		if b, err = tile.AppendEntry(b, e); err != nil {
			t.Fatal(err)
		}
	}
	if want := "\x00\x00\x00\x01\x00\x00\x05entry\xff\xffxxx"; !bytes.HasPrefix(b, []byte(want)) {
		t.Errorf("bundle begins with %q", b[:len(want)])
	}
	got, err := tile.ParseBundle(b)
	if err != nil || len(got) != len(entries) {
		t.Fatalf("%d entries, %v", len(got), err)
	}
	for i := range entries {
		if !bytes.Equal(got[i], entries[i]) {
			t.Errorf("entry %d differs", i)
		}
	}
	if _, err := tile.AppendEntry(nil, make([]byte, tile.MaxBundleEntry+1)); !errors.Is(err, tile.ErrBundle) {
		t.Errorf("an entry that is too long: %v", err)
	}
	if e, err := tile.ParseBundle(make([]byte, 512)); err != nil || len(e) != 256 {
		t.Errorf("256 empty entries: %d, %v", len(e), err)
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "half a length": {0}, "entry cut short": {0, 2, 1}, "second cut short": {0, 1, 1, 0}, "257 entries": make([]byte, 514),
	} {
		if _, err := tile.ParseBundle(bad); !errors.Is(err, tile.ErrBundle) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_ = append(got[1], 'y') // must not run into the next entry
	if again, err := tile.ParseBundle(b); err != nil || string(again[2]) != "entry" {
		t.Errorf("appending to an entry changed the next: %q, %v", again[2], err)
	}
}

func FuzzBundle(f *testing.F) {
	f.Add([]byte{0, 0})
	f.Add([]byte("\x00\x05entry\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := tile.ParseBundle(b)
		if err != nil {
			return
		}
		var again []byte
		for _, e := range entries {
			if again, err = tile.AppendEntry(again, e); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x is written as %x", b, again)
		}
	})
}

func TestHashes(t *testing.T) {
	h := rfc6962.DefaultHasher
	if tile.EmptyRoot() != tile.Hash(h.EmptyRoot()) {
		t.Error("empty root")
	}
	l, r := tile.LeafHash(nil), tile.LeafHash([]byte("leaf"))
	if l != tile.Hash(h.HashLeaf(nil)) || r != tile.Hash(h.HashLeaf([]byte("leaf"))) {
		t.Error("leaf hash")
	}
	if tile.NodeHash(l, r) != tile.Hash(h.HashChildren(l[:], r[:])) {
		t.Error("node hash")
	}
}

func fullTile() []tile.Hash {
	hashes := make([]tile.Hash, tile.Width)
	for i := range hashes {
		hashes[i] = tile.LeafHash([]byte{byte(i)})
	}
	return hashes
}

func TestExpandAgreesWithFold(t *testing.T) {
	hashes := fullTile()
	full := tile.Expand(hashes)
	for height := range uint(tile.Height + 1) {
		for i := range tile.Width >> height {
			if got, want := full.Node(height, i), tile.Fold(hashes[i<<height:(i+1)<<height]); got != want {
				t.Fatalf("node %d of height %d: %x, want %x", i, height, got, want)
			}
		}
	}
	if full.Root() != tile.Fold(hashes) {
		t.Error("root")
	}
}

func TestLocate(t *testing.T) {
	for _, c := range []struct {
		level uint
		index uint64
		want  tile.Position
	}{
		{0, 0, tile.Position{Level: 0, N: 0, Height: 0, First: 0}},
		{0, 255, tile.Position{Level: 0, N: 0, Height: 0, First: 255}},
		{0, 256, tile.Position{Level: 0, N: 1, Height: 0, First: 0}},
		{1, 127, tile.Position{Level: 0, N: 0, Height: 1, First: 254}},
		{7, 1, tile.Position{Level: 0, N: 0, Height: 7, First: 128}},
		{7, 2, tile.Position{Level: 0, N: 1, Height: 7, First: 0}},
		{8, 3, tile.Position{Level: 1, N: 0, Height: 0, First: 3}},
		{17, 200, tile.Position{Level: 2, N: 1, Height: 1, First: 144}},
	} {
		if got := tile.Locate(c.level, c.index); got != c.want {
			t.Errorf("level %d index %d: %+v, want %+v", c.level, c.index, got, c.want)
		}
	}
}

func TestSplitAndJoin(t *testing.T) {
	hashes := fullTile()
	for _, n := range []int{1, 2, 255, 256} {
		got, err := tile.Split(tile.Join(hashes[:n]))
		if err != nil || len(got) != n || got[n-1] != hashes[n-1] {
			t.Errorf("%d hashes: %d, %v", n, len(got), err)
		}
	}
	for _, n := range []int{0, 1, 31, 33, 257 * 32} {
		if _, err := tile.Split(make([]byte, n)); err == nil {
			t.Errorf("%d bytes were split", n)
		}
	}
}
