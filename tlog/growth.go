package tlog

import (
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"

	"github.com/sigbox/sigbox/tlog/tile"
)

// growth is a batch of new leaves on top of a tree: the new right edge, the full tiles that the
// batch completes, and every node that is new. Proofs of the new leaves, and that the new tree
// extends the old one, need nothing else. It is never changed once it is grown.
type growth struct {
	from  *edge
	to    *edge
	tiles []TileRow

	old [64][]byte // old[l] is the node of level l in the old tree's compact range
	// new[l] are the new nodes of level l, from index first[l] on.
	new   [64][][]byte
	first [64]uint64
}

var hasher = &compact.RangeFactory{Hash: nodeHash}

// grow appends leaf hashes to a tree.
func grow(from *edge, leaves []tile.Hash) *growth {
	g := &growth{from: from}
	old := from.compactRange()
	for i, id := range compact.RangeNodes(0, uint64(from.size), nil) {
		g.old[id.Level] = old[i]
	}
	r, err := hasher.NewRange(0, uint64(from.size), old)
	for i := 0; i < len(leaves) && err == nil; i++ {
		err = r.Append(leaves[i][:], g.visit)
	}
	if err != nil {
		panic(fmt.Sprintf("tlog: bad math: append %d leaves at size %d: %v", len(leaves), from.size, err))
	}
	g.to = &edge{size: from.size + int64(len(leaves)), root: foldRange(r.Hashes())}
	g.cutTiles(leaves)
	return g
}

func (g *growth) visit(id compact.NodeID, hash []byte) {
	if g.new[id.Level] == nil {
		g.first[id.Level] = id.Index
	}
	g.new[id.Level] = append(g.new[id.Level], hash)
}

// cutTiles extends the partial tiles level by level and cuts those that are full.
func (g *growth) cutTiles(hashes []tile.Hash) {
	for level := 0; hashesAt(g.to.size, level) > 0; level++ {
		var tail []tile.Hash
		if level < len(g.from.tails) {
			tail = append(tail, g.from.tails[level]...)
		}
		tail = append(tail, hashes...)
		hashes = nil
		n := hashesAt(g.from.size, level) / tile.Width
		for ; len(tail) >= tile.Width; n++ {
			root := tile.Fold(tail[:tile.Width])
			g.tiles = append(g.tiles, TileRow{Level: level, N: n, Hashes: tile.Join(tail[:tile.Width]), Root: root})
			hashes = append(hashes, root)
			tail = tail[tile.Width:]
		}
		g.to.tails = append(g.to.tails, tail)
	}
}

func (g *growth) node(id compact.NodeID) []byte {
	if i := int64(id.Index - g.first[id.Level]); g.new[id.Level] != nil && i >= 0 && i < int64(len(g.new[id.Level])) {
		return g.new[id.Level][i]
	}
	if h := g.old[id.Level]; h != nil && id.Index == uint64(g.from.size)>>id.Level-1 {
		return h
	}
	panic(fmt.Sprintf("tlog: bad math: node %v is neither new nor in the right edge at size %d", id, g.from.size))
}

// inclusion proves a new leaf in the new tree.
func (g *growth) inclusion(index int64) [][]byte {
	nodes, err := proof.Inclusion(uint64(index), uint64(g.to.size))
	return g.prove(nodes, err)
}

// consistency proves that the new tree extends the old one.
func (g *growth) consistency() [][]byte {
	nodes, err := proof.Consistency(uint64(g.from.size), uint64(g.to.size))
	return g.prove(nodes, err)
}

func (g *growth) prove(nodes proof.Nodes, err error) [][]byte {
	if err != nil {
		panic("tlog: bad math: " + err.Error())
	}
	hashes := make([][]byte, len(nodes.IDs))
	for i, id := range nodes.IDs {
		hashes[i] = g.node(id)
	}
	hashes, err = nodes.Rehash(hashes, nodeHash)
	if err != nil {
		panic("tlog: bad math: " + err.Error())
	}
	return hashes
}
