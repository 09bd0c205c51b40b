package tile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrBundle says that bytes are not an entry bundle, or that an entry does not fit into one.
var ErrBundle = errors.New("tile: not an entry bundle")

// MaxBundleEntry is the longest entry that a bundle can carry, in bytes.
const MaxBundleEntry = math.MaxUint16

// AppendEntry appends one entry to a bundle: its length as a big-endian uint16, then its bytes
// (C2SP tlog-tiles, "Log Entries"). An entry over [MaxBundleEntry] is [ErrBundle].
func AppendEntry(bundle, entry []byte) ([]byte, error) {
	if len(entry) > MaxBundleEntry {
		return nil, fmt.Errorf("%w: entry of %d bytes, at most %d fit", ErrBundle, len(entry), MaxBundleEntry)
	}
	bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(entry)))
	return append(bundle, entry...), nil
}

// ParseBundle returns the entries of a bundle of 1 to 256 entries. They share its memory.
func ParseBundle(bundle []byte) ([][]byte, error) {
	var entries [][]byte
	for rest := bundle; len(rest) > 0; {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return nil, fmt.Errorf("%w: entry %d is cut short", ErrBundle, len(entries))
		}
		end := 2 + int(binary.BigEndian.Uint16(rest))
		entries = append(entries, rest[2:end:end])
		rest = rest[end:]
	}
	if len(entries) == 0 || len(entries) > Width {
		return nil, fmt.Errorf("%w: %d entries, want 1 to %d", ErrBundle, len(entries), Width)
	}
	return entries, nil
}
