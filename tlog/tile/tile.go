package tile

import (
	"crypto/sha256"
	"fmt"
)

const (
	// Height is the number of tree levels a tile covers.
	Height = 8
	// Width is the number of hashes in a full tile.
	Width = 1 << Height
	// HashSize is the length of a hash in bytes.
	HashSize = sha256.Size
	// FullSize is the length of a full tile in bytes.
	FullSize = Width * HashSize
)

// Hash is a node of the tree.
type Hash = [HashSize]byte

// LeafHash returns the hash of a Merkle leaf input: SHA-256 of 0x00 and the input (RFC 6962 2.1).
func LeafHash(input []byte) Hash {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(input)
	return Hash(h.Sum(nil))
}

// NodeHash returns the hash of an inner node: SHA-256 of 0x01 and both children (RFC 6962 2.1).
func NodeHash(left, right Hash) Hash {
	var b [1 + 2*HashSize]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+HashSize:], right[:])
	return sha256.Sum256(b[:])
}

// EmptyRoot returns the root of a tree without leaves: SHA-256 of nothing.
func EmptyRoot() Hash { return sha256.Sum256(nil) }

// Split parses the bytes of a tile, full or partial, into hashes.
func Split(b []byte) ([]Hash, error) {
	if len(b) == 0 || len(b)%HashSize != 0 || len(b) > FullSize {
		return nil, fmt.Errorf("tile: %d bytes are not 1 to %d hashes", len(b), Width)
	}
	hashes := make([]Hash, len(b)/HashSize)
	for i := range hashes {
		hashes[i] = Hash(b[i*HashSize:])
	}
	return hashes, nil
}

// Join returns hashes as the bytes of a tile.
func Join(hashes []Hash) []byte {
	b := make([]byte, 0, len(hashes)*HashSize)
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}

// Fold returns the root over hashes, which are a power of two in number.
func Fold(hashes []Hash) Hash {
	switch n := len(hashes); {
	case n == 1:
		return hashes[0]
	case n == 0 || n&(n-1) != 0:
		panic(fmt.Sprintf("tile: bad math in Fold: %d hashes", n))
	default:
		return NodeHash(Fold(hashes[:n/2]), Fold(hashes[n/2:]))
	}
}

// Full is a full tile with all its inner nodes, for proofs without hashing. Rows are by height,
// from the 256 hashes of the tile to its root.
type Full struct {
	nodes [2*Width - 1]Hash
}

// Expand computes the inner nodes of a full tile.
func Expand(hashes []Hash) *Full {
	if len(hashes) != Width {
		panic(fmt.Sprintf("tile: bad math in Expand: %d hashes", len(hashes)))
	}
	f := new(Full)
	copy(f.nodes[:], hashes)
	for i := Width; i < len(f.nodes); i++ {
		child := 2 * (i - Width)
		f.nodes[i] = NodeHash(f.nodes[child], f.nodes[child+1])
	}
	return f
}

// Hashes returns the 256 hashes of the tile, which the caller must not change.
func (f *Full) Hashes() []Hash { return f.nodes[:Width] }

// Root returns the root of the tile, which is a hash of the level above.
func (f *Full) Root() Hash { return f.nodes[len(f.nodes)-1] }

// Node returns the root over hashes [i<<height, (i+1)<<height) of the tile; height is 0 to 8.
func (f *Full) Node(height uint, i int) Hash {
	first := 2*Width - 2*Width>>height // where the row begins: 0, 256, 384, ...
	return f.nodes[first+i]
}

// Position is where a tree node is found: it is the root over Count hashes, starting at First,
// of tile N of tile level Level.
type Position struct {
	Level  int
	N      int64
	Height uint // log2 of Count
	First  int
}

// Locate returns the position of node index of a tree level (0 for leaves).
func Locate(level uint, index uint64) Position {
	height := level % Height
	first := index << height
	return Position{
		Level:  int(level / Height),
		N:      int64(first / Width),
		Height: height,
		First:  int(first % Width),
	}
}

// Count is the number of the tile's hashes under the node.
func (p Position) Count() int { return 1 << p.Height }
