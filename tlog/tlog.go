package tlog

import (
	"context"
	"errors"

	"github.com/sigbox/sigbox/tlog/checkpoint"
)

// Errors of a log. Faces match them with errors.Is and turn them into a status.
var (
	ErrBusy        = errors.New("tlog: too many entries are waiting; try again shortly") // 429 or 503 with Retry-After
	ErrFrozen      = errors.New("tlog: this log is frozen and takes no entries")         // v2: 405, CT: 403
	ErrTooLarge    = errors.New("tlog: entry is larger than the log takes")              // 413 or 400
	ErrUnavailable = errors.New("tlog: the log cannot take entries now")                 // 503 with Retry-After
	ErrNotFound    = errors.New("tlog: not found")                                       // 404
	ErrRange       = errors.New("tlog: index or size is out of the tree's range")        // 400
	ErrCorrupt     = errors.New("tlog: stored data does not match the tree")             // 500, and a page to a human
)

// Entry is what a face appends to a log.
type Entry interface {
	// Identity says which entry this is: two entries with equal identities are one entry, and
	// the second is answered with the first. It is a full-width hash of all signed content.
	Identity() [32]byte
	// Encode returns the Merkle leaf input (without the 0x00 prefix) and the bytes to keep,
	// which are what Leaf returns as Data. The engine may call it more than once, with another
	// index or time, when a batch is tried again; the last call counts. timeMS is Unix
	// milliseconds. Where leaf and stored are the same bytes, return the same slice twice;
	// where they differ, Config.LeafInput must give leaf back from stored. Append itself calls
	// Encode first, with a likely index and time, to see that the entry can be logged.
	Encode(index, timeMS int64) (leaf, stored []byte, err error)
	// Keys returns the search keys of the entry, at most 100, each at most 512 bytes. The engine calls it
	// after Encode, in the same goroutine, so that a key may depend on the leaf.
	Keys() [][]byte
}

// Attester is an Entry that has an attestation to keep beside the leaf, outside the tree.
type Attester interface {
	// Attestation returns the bytes to keep, nil or empty for none.
	Attestation() []byte
}

// Leaf is one entry as the log holds it.
type Leaf struct {
	Index       int64
	TimeMS      int64    // the batch's time, Unix milliseconds
	Identity    [32]byte // as the entry gave it
	Hash        [32]byte // RFC 6962 leaf hash
	Data        []byte   // the stored bytes of Entry.Encode
	Attestation []byte   // nil where there is none
}

// Receipt is the answer to an append. The entry is durable and covered by Checkpoint, whose
// signature the engine has verified, and Proof proves it: both hold now, no later query needed.
type Receipt struct {
	Leaf       Leaf
	Duplicate  bool // the log held an entry of this identity already; Leaf is that one
	Proof      [][]byte
	Checkpoint checkpoint.Signed
}

// Early is a log that answers before it shows an entry, for whoever can do something with the receipt in the
// meantime that nobody else sees.
type Early interface {
	// AppendEarly is [Log.Append] in two steps. It returns when the entry is durable, maybe before the guard
	// holds the head that covers it: neither the entry nor the receipt's checkpoint may be shown, and nothing
	// that rests on them, before shown returns nil. shown waits for what Append waits for, and has its errors.
	AppendEarly(ctx context.Context, e Entry) (r Receipt, shown func(context.Context) error, err error)
}

// State says whether a log takes entries.
type State struct {
	Frozen bool   // it was ended, for good: it is served on and takes no entries
	Lost   int64  // entries after the last that were lost and given up, for which it was frozen then; see AcceptLoss
	Reason string // the whole story of them
}

// Hits is what a search has found: all entries with From <= index < Size that it asked for.
type Hits struct {
	Indexes []int64 // ascending
	From    int64   // 0 unless as many were found as were asked for
	Size    int64   // of the tree that was searched
}

// Log is an append-only Merkle log (RFC 6962 hashing) as faces see it. All methods are safe
// for concurrent use. Nothing beyond the size of the published checkpoint is ever returned.
type Log interface {
	// Append returns after the entry is committed, or with an error when it is known not to be.
	// Cancelling ctx stops the waiting, not the append. After ErrUnavailable the entry may be in
	// the log all the same, if the database or the guard went away in mid-commit; appending it
	// again tells, and is always safe.
	// Errors: ErrBusy, ErrFrozen, ErrTooLarge, ErrUnavailable, or the entry's own Encode error.
	Append(ctx context.Context, e Entry) (Receipt, error)
	// Checkpoint returns the published head.
	Checkpoint(ctx context.Context) (checkpoint.Signed, error)
	// Head is Checkpoint with the time of the last batch in Unix milliseconds.
	Head(ctx context.Context) (cp checkpoint.Signed, timeMS int64, err error)
	// Latest is Head, and no less than what any process had shown when it was called: who asks one replica
	// and then another one sees no log that goes back. Where that cannot be told within a second, as while
	// the database is away, it is Head.
	Latest(ctx context.Context) (cp checkpoint.Signed, timeMS int64, err error)
	// Reach looks for heads that other processes wrote, if size is beyond the published head. The
	// calls below that are given a size or an index do so by themselves.
	Reach(ctx context.Context, size int64)
	// State tells whether the log was frozen, as of the published head: where it was, that head is
	// the last, and nothing is on its way to readers any more. A process learns it by looking, as it
	// does of heads that others wrote (Config.Poll).
	State(ctx context.Context) (State, error)
	// Inclusion proves the leaf at index in the tree of the given size. ErrRange if
	// index >= size, size < 1 or size is beyond the published head.
	Inclusion(ctx context.Context, index, size int64) ([][]byte, error)
	// Consistency proves that the tree of size old is a prefix of the tree of the given size
	// (RFC 6962 2.1.2); empty where old is 0 or equals size. ErrRange as for Inclusion.
	Consistency(ctx context.Context, old, size int64) ([][]byte, error)
	// Root returns the root of the tree of the given size. ErrRange as for Inclusion; size 0 is the empty root.
	Root(ctx context.Context, size int64) ([32]byte, error)
	// Leaf returns one entry with its attestation. ErrNotFound beyond the head.
	Leaf(ctx context.Context, index int64) (Leaf, error)
	// Leaves returns entries [from, to), fewer where the head ends earlier, without attestations.
	Leaves(ctx context.Context, from, to int64) ([]Leaf, error)
	// Find returns the index of the entry with that identity, or ErrNotFound.
	Find(ctx context.Context, identity [32]byte) (index int64, err error)
	// LeafHashes returns the leaf hashes of the entries at indexes that ascend, each computed anew from
	// the stored bytes. That the tree has them at these indexes is for a proof to say.
	LeafHashes(ctx context.Context, indexes []int64) ([][32]byte, error)
	// Search looks for entries that carry any (and=false) or all (and=true) of the keys, and returns
	// the newest, at most limit of them, and never more than Config.MaxResults. What any process had
	// acknowledged before the call is searched; where this one cannot get to see it within two seconds, Hits.Size
	// says so.
	Search(ctx context.Context, keys [][]byte, and bool, limit int) (Hits, error)
	// Tile returns the concatenated hashes of tile n at level, width hashes of it (1..256).
	// ErrNotFound where the published tree has no such tile (C2SP tlog-tiles).
	Tile(ctx context.Context, level int, n int64, width int) ([]byte, error)
}
