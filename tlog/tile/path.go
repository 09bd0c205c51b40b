package tile

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ErrPath says that a path is not one that C2SP tlog-tiles defines.
var ErrPath = errors.New("tile: not a tile path")

// Entries is the level of entry bundles in a [Path].
const Entries = -1

const (
	maxLevel = 63                    // the highest that C2SP tlog-tiles lets a path name
	maxN     = math.MaxInt64 / Width // so that the number of every leaf fits
)

// Path names a tile or an entry bundle, full or partial.
type Path struct {
	Level int   // 0 to 63, or Entries
	N     int64 // 0 to 2^55-1
	Width int   // 1 to 256; 256 is the full tile
}

// String returns the path: tile/<L>/<N>[.p/<W>] or tile/entries/<N>[.p/<W>], with N in groups
// of three digits, all but the last prefixed with x (C2SP tlog-tiles, "Merkle Tree").
func (p Path) String() string {
	level := "entries"
	if p.Level != Entries {
		level = strconv.Itoa(p.Level)
	}
	n := fmt.Sprintf("%03d", p.N%1000)
	for rest := p.N / 1000; rest > 0; rest /= 1000 {
		n = fmt.Sprintf("x%03d/%s", rest%1000, n)
	}
	if p.Width == Width {
		return "tile/" + level + "/" + n
	}
	return fmt.Sprintf("tile/%s/%s.p/%d", level, n, p.Width)
}

// ParsePath reads a path such as [Path.String] writes, without a leading slash. Every other
// spelling is [ErrPath]: one tile has one path.
func ParsePath(s string) (Path, error) {
	p, ok := parsePath(s)
	if !ok || p.String() != s {
		return Path{}, fmt.Errorf("%w: %.100q", ErrPath, s)
	}
	return p, nil
}

// parsePath is lenient about leading zeros and the like; ParsePath compares with String.
func parsePath(s string) (Path, bool) {
	rest, ok := strings.CutPrefix(s, "tile/")
	if !ok || len(s) > 64 {
		return Path{}, false
	}
	level, rest, _ := strings.Cut(rest, "/")
	rest, width, partial := strings.Cut(rest, ".p/")
	p := Path{Level: Entries, Width: Width}
	if level != "entries" {
		if p.Level, ok = digits(level, maxLevel); !ok {
			return Path{}, false
		}
	}
	if partial {
		if p.Width, ok = digits(width, Width-1); !ok || p.Width == 0 {
			return Path{}, false
		}
	}
	for group := range strings.SplitSeq(rest, "/") {
		v, ok := digits(strings.TrimPrefix(group, "x"), 999)
		if !ok || p.N > (maxN-int64(v))/1000 {
			return Path{}, false
		}
		p.N = p.N*1000 + int64(v)
	}
	return p, true
}

func digits(s string, limit int) (int, bool) {
	v, err := strconv.ParseUint(s, 10, 16)
	return int(v), err == nil && int(v) <= limit
}
