package follow

import (
	"errors"
	"fmt"
	"slices"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	pb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	"github.com/sigbox/sigbox/tlog/checkpoint"
)

// State is where a follower stands: all it needs to go on after a restart. The zero value is the
// beginning of the log. It is kept as JSON, or as the caller likes.
type State struct {
	// Size is the number of entries that the follower has passed; the next one has this index.
	Size int64 `json:"size"`
	// Range is the compact range of those entries: the roots of the perfect subtrees of their tree,
	// left to right. Without it the follower takes it from the server, and verifies it.
	Range [][]byte `json:"range,omitempty"`
	// Checkpoint is the last one that was verified, a signed note; its size is Size or more.
	Checkpoint []byte `json:"checkpoint,omitempty"`
}

// From is the state of a follower that begins at an index without the entries before it.
func From(index int64) State { return State{Size: index} }

// Batch is what Save gets. Entries are consecutive and end before State.Size; there may be none,
// where only the checkpoint has moved.
type Batch struct {
	Entries []*pb.Entry
	State   State // after the entries
}

// Reasons of a Refusal.
var (
	// ErrCheckpoint: the checkpoint is not one of the log: another key, another origin, no note.
	ErrCheckpoint = errors.New("checkpoint is not signed by the log")
	// ErrOld: the checkpoint is of a smaller tree than the one before it.
	ErrOld = errors.New("checkpoint is older than the one before")
	// ErrFork: two checkpoints of one size have different roots. Both are signed by the log, which
	// proves to anybody that it has forked.
	ErrFork = errors.New("THE LOG HAS FORKED: two signed checkpoints of one size have different roots")
	// ErrInconsistent: the consistency proof between two checkpoints does not hold. The log has
	// forked, or the server does not serve it truly.
	ErrInconsistent = errors.New("checkpoint does not extend the one before")
	// ErrSequence: the entry is not the one that comes next.
	ErrSequence = errors.New("entries skipped or repeated")
	// ErrBeyond: the checkpoint does not cover the entries.
	ErrBeyond = errors.New("entries beyond their checkpoint")
	// ErrLeaves: the entries do not give the root that is signed.
	ErrLeaves = errors.New("entries are not those of the signed tree")
)

// Refusal is the error for what a server sent and cannot be true.
type Refusal struct {
	Reason error  // one of the errors above
	Detail string // what was compared
	Have   []byte // the last checkpoint that was verified before, nil for none
	Got    []byte // the checkpoint that was sent
}

func (r *Refusal) Error() string { return fmt.Sprintf("%v: %s", r.Reason, r.Detail) }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Reason }

// position is a State with its parts taken apart.
type position struct {
	State
	last checkpoint.Signed // of State.Checkpoint; the zero value for none
}

var hasher = &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}

// open takes a state apart. Its errors mean that the state is not one that was saved for this log.
func open(s State, v *checkpoint.Verifier) (position, error) {
	p := position{State: s}
	if s.Size < 0 {
		return p, fmt.Errorf("the saved state has size %d", s.Size)
	}
	if len(s.Checkpoint) > 0 {
		var err error
		if p.last, err = v.Open(s.Checkpoint); err != nil {
			return p, fmt.Errorf("the saved checkpoint: %w", err)
		}
		if p.last.Size < s.Size {
			return p, fmt.Errorf("the saved state has size %d, its checkpoint only %d", s.Size, p.last.Size)
		}
	}
	if len(s.Range) == 0 {
		return p, nil
	}
	r, err := newRange(s.Size, s.Range)
	if err != nil {
		return p, fmt.Errorf("the saved range: %w", err)
	}
	if root := rootOf(r); p.last.Size == s.Size && root != p.last.Root {
		return p, fmt.Errorf("the saved range of %d entries folds to %x, the saved checkpoint has root %x", s.Size, root, p.last.Root)
	}
	return p, nil
}

func newRange(size int64, hashes [][]byte) (*compact.Range, error) {
	for _, h := range hashes {
		if len(h) != rfc6962.DefaultHasher.Size() {
			return nil, fmt.Errorf("a hash of %d bytes", len(h))
		}
	}
	return hasher.NewRange(0, uint64(size), slices.Clone(hashes)) // it writes to what it is given
}

func rootOf(r *compact.Range) [32]byte {
	if r.End() == 0 {
		return [32]byte(rfc6962.DefaultHasher.EmptyRoot())
	}
	root, err := r.GetRootHash(nil)
	if err != nil {
		panic("follow: bad math: " + err.Error()) // a range from 0 has a root
	}
	return [32]byte(root)
}

// advance verifies a message and returns the position after it. A position without its range takes
// it from the message. The error is a *Refusal.
func (p position) advance(m *pb.FollowResponse, v *checkpoint.Verifier) (position, error) {
	refuse := func(reason error, format string, args ...any) (position, error) {
		return p, &Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...), Have: p.Checkpoint, Got: m.GetCheckpoint()}
	}
	head, err := v.Open(m.GetCheckpoint())
	if err != nil {
		return refuse(ErrCheckpoint, "%v", err)
	}
	switch old := p.last; {
	case head.Size < old.Size:
		return refuse(ErrOld, "size %d after %d", head.Size, old.Size)
	case head.Size == old.Size && old.Note != nil && head.Root != old.Root:
		return refuse(ErrFork, "size %d, roots %x and %x", head.Size, old.Root, head.Root)
	case old.Size > 0:
		if err := consistent(old.Size, head.Size, m.GetConsistency(), old.Root, head.Root); err != nil {
			return refuse(ErrInconsistent, "sizes %d and %d: %v", old.Size, head.Size, err)
		}
	}
	end := p.Size + int64(len(m.GetEntries()))
	if m.GetFirst() != p.Size {
		return refuse(ErrSequence, "entry %d comes next, this is %d", p.Size, m.GetFirst())
	}
	if end > head.Size {
		return refuse(ErrBeyond, "entries [%d, %d), the checkpoint has size %d", p.Size, end, head.Size)
	}
	if m.GetFinal() && end < head.Size {
		return refuse(ErrSequence, "the log is said to end at entry %d, its checkpoint has size %d", end, head.Size)
	}
	hashes := p.Range
	if len(hashes) == 0 {
		hashes = m.GetRange()
	}
	r, err := newRange(p.Size, hashes)
	if err != nil {
		return refuse(ErrLeaves, "range of the first %d entries: %v", p.Size, err)
	}
	if reason, err := p.extend(r, m.GetEntries()); err != nil {
		return refuse(reason, "%v", err)
	}
	if err := consistent(end, head.Size, m.GetPrefix(), rootOf(r), head.Root); err != nil {
		return refuse(ErrLeaves, "the first %d entries in the tree of size %d: %v", end, head.Size, err)
	}
	return position{State: State{Size: end, Range: r.Hashes(), Checkpoint: head.Note}, last: head}, nil
}

// extend appends entries to a range. Where it passes the last checkpoint it must have that root.
func (p position) extend(r *compact.Range, entries []*pb.Entry) (reason, err error) {
	for i := 0; ; i++ {
		if size := int64(r.End()); size == p.last.Size && p.last.Note != nil {
			if root := rootOf(r); root != p.last.Root {
				return ErrLeaves, fmt.Errorf("the first %d entries have root %x, their checkpoint %x", size, root, p.last.Root)
			}
		}
		if i == len(entries) {
			return nil, nil
		}
		e := entries[i]
		if want := p.Size + int64(i); e.GetIndex() != want {
			return ErrSequence, fmt.Errorf("entry %d comes next, this is %d", want, e.GetIndex())
		}
		if err := r.Append(rfc6962.DefaultHasher.HashLeaf(e.GetLeaf()), nil); err != nil {
			return ErrLeaves, err
		}
	}
}

// consistent checks a consistency proof. The empty tree is a prefix of every tree.
func consistent(old, size int64, path [][]byte, oldRoot, root [32]byte) error {
	if old == 0 && size > 0 {
		return nil
	}
	return proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(old), uint64(size), path, oldRoot[:], root[:])
}
