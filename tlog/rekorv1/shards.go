package rekorv1

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
)

// Shard is one tree of a log, which was frozen when the next one began.
type Shard struct {
	Log    tlog.Log      // as Config.Log; frozen
	TreeID int64         // positive, of no other shard
	Signer crypto.Signer // the key of Log; nil is Config.Signer
}

// shard is a tree with its place among the others.
type shard struct {
	from   Shard
	log    tlog.Log
	treeID int64
	origin string // how the origin of its checkpoints ends
	sets   *setSigner
	logID  string // hex SHA-256 of the key's SPKI
	pem    []byte

	first  int64 // virtual index of its first entry
	length int64 // of an inactive shard: entries, those that were lost and given up included
}

// shards are oldest first. The last one takes entries.
type shards []*shard

func newShards(c Config) (shards, error) {
	list := append(slices.Clone(c.Inactive), Shard{Log: c.Log, TreeID: c.TreeID, Signer: c.Signer})
	var all shards
	first := int64(0)
	for i, from := range list {
		if from.Signer == nil {
			from.Signer = c.Signer
		}
		sh, err := newShard(from)
		if err != nil {
			return nil, err
		}
		if all.tree(sh.treeID) != nil {
			return nil, fmt.Errorf("two shards have the tree id %d", sh.treeID)
		}
		if i < len(list)-1 {
			if err := sh.close(); err != nil {
				return nil, fmt.Errorf("shard with tree id %d: %w", sh.treeID, err)
			}
		}
		sh.first = first
		first += sh.length
		all = append(all, sh)
	}
	return all, nil
}

func newShard(c Shard) (*shard, error) {
	if c.Log == nil {
		return nil, fmt.Errorf("shard with tree id %d has no log", c.TreeID)
	}
	if c.TreeID <= 0 {
		return nil, fmt.Errorf("tree id %d is not positive", c.TreeID)
	}
	pub, ok := c.Signer.Public().(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return nil, fmt.Errorf("the log key is a %T, clients verify SETs with ECDSA P-256 only", c.Signer.Public())
	}
	id, err := keys.ID(pub)
	if err != nil {
		return nil, err
	}
	pem, err := keys.PublicPEM(pub)
	if err != nil {
		return nil, err
	}
	sh := &shard{from: c, log: c.Log, treeID: c.TreeID, origin: fmt.Sprintf(" - %d", c.TreeID), logID: hex.EncodeToString(id[:]), pem: pem}
	sh.sets = newSETSigner(c.Signer, pub, sh.logID)
	return sh, nil
}

// close fixes the length of an inactive shard. Entries that were lost count: their indexes have
// been signed once, and are never given to others.
func (sh *shard) close() error {
	ctx := context.Background() // what a process knows of its log is in memory
	state, err := sh.log.State(ctx)
	if err != nil {
		return err
	}
	if !state.Frozen {
		return fmt.Errorf("it is not frozen, and entries that it takes would move those of later shards: freeze it with sigbox log freeze")
	}
	cp, err := sh.log.Checkpoint(ctx)
	sh.length = cp.Size + state.Lost
	return err
}

// then returns the shards with one more at the end. The one that was the last is frozen.
func (s shards) then(next Shard) (shards, error) {
	sh, err := newShard(next)
	if err == nil && s.tree(sh.treeID) != nil {
		err = fmt.Errorf("two shards have the tree id %d", sh.treeID)
	}
	if err != nil {
		return nil, err
	}
	last := *s.active() // readers have the old one
	if err := last.close(); err != nil {
		return nil, fmt.Errorf("shard with tree id %d: %w", last.treeID, err)
	}
	sh.first = last.first + last.length
	return append(slices.Clone(s[:len(s)-1]), &last, sh), nil
}

func (s shards) active() *shard { return s[len(s)-1] }

// newest returns the shards in the order in which they are asked for a UUID: the active one, then
// the others from the oldest on, as upstream does.
func (s shards) newest() shards {
	return append(shards{s.active()}, s[:len(s)-1]...)
}

// tree returns the shard with a tree id, nil where there is none.
func (s shards) tree(id int64) *shard {
	for _, sh := range s {
		if sh.treeID == id {
			return sh
		}
	}
	return nil
}

// resolve returns where a virtual index is: a shard, and the index in it, which may be beyond its
// end.
func (s shards) resolve(virtual int64) (*shard, int64) {
	for _, sh := range s[:len(s)-1] {
		if virtual < sh.first+sh.length {
			return sh, virtual - sh.first
		}
	}
	return s.active(), virtual - s.active().first
}
