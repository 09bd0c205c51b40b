package tlog

import (
	"context"
	"errors"

	"github.com/sigbox/sigbox/tlog/tile"
)

// What a Store's Update reports, wrapped, besides the error of its callback. Any other error
// means that the transaction was rolled back and nothing is written.
var (
	// ErrTransient says that the transaction was rolled back for a reason that may be gone on
	// the next try: deadlock, lock timeout, no connection.
	ErrTransient = errors.New("tlog: transient store error")
	// ErrUnknownOutcome says that COMMIT was sent and that its answer is missing or not a plain
	// yes. The engine finds out under the head lock.
	ErrUnknownOutcome = errors.New("tlog: the outcome of a commit is unknown")
	// ErrConflict says that the database refused a row as a duplicate, or that the head row was
	// not the one that was locked. Under the head lock this cannot happen: it is a bug or a hand
	// in the database. The error names the row.
	ErrConflict = errors.New("tlog: the store holds a row that must not exist")
	// ErrExists is returned when a log is created that exists.
	ErrExists = errors.New("tlog: the log exists already")
)

// Description is what is stored about a log when it is created, and never changed.
type Description struct {
	Name      string   // unique in the database
	Origin    string   // origin of its checkpoints, or Config.Register, unique in the database
	Face      string   // the API it was created for; may be empty
	KeySHA256 [32]byte // SHA-256 of the SubjectPublicKeyInfo of its key
	CreatedMS int64    // Unix milliseconds
	Follows   string   // name of the log that this one goes on for once that is frozen; "" for none. One log has one successor
}

// Head is the head row of a log, the only row that is ever updated.
type Head struct {
	Size   int64
	Root   [32]byte
	TimeMS int64  // time of the last batch, or of the creation; Unix milliseconds
	Note   []byte // the signed checkpoint of Size and Root
	Frozen bool   // the log takes no entries, for good
	Lost   int64  // entries after Size that were lost and given up, for which it was frozen then
	Reason string // the whole story of them
}

// Ending is how a log is frozen.
type Ending struct {
	Note   []byte // signed checkpoint to keep from now on, of the head's size and root; nil for the one that is there
	Lost   int64  // as in Head
	Reason string // as in Head
}

// Key is one search key of one entry.
type Key struct {
	Key   []byte
	Index int64
}

// TileRow is a full tile.
type TileRow struct {
	Level  int
	N      int64
	Hashes []byte   // tile.FullSize bytes
	Root   [32]byte // root over Hashes
}

// Rows are the new rows of a batch.
type Rows struct {
	Leaves []Leaf // consecutive from the head's size; Leaf.Attestation nil for none, never empty
	Tiles  []TileRow
	Keys   []Key // no key twice for one index
}

// Batch is what one transaction writes.
type Batch struct {
	Rows
	// Seal returns the head to store. The Store calls it once, after it has written all rows
	// and has read them back: stored.Leaves (without attestations) and stored.Tiles are what
	// the database says, in the order of Rows; stored.Keys is empty. If Seal fails, the
	// transaction is rolled back and Update returns its error, wrapped.
	Seal func(stored Rows) (Head, error)
}

// Reader is what can be read of a log, in a transaction or outside. Byte slices that it returns
// belong to the caller. What was committed before the call is seen.
type Reader interface {
	// Leaf returns one leaf with its attestation, or ErrNotFound.
	Leaf(ctx context.Context, index int64) (Leaf, error)
	// Leaves returns the leaves with from <= index < to that exist, in order, without
	// attestations.
	Leaves(ctx context.Context, from, to int64) ([]Leaf, error)
	// LeafHashes returns the hashes of the leaves with from <= index < to that exist, in order.
	LeafHashes(ctx context.Context, from, to int64) ([]tile.Hash, error)
	// Tile returns a full tile, or ErrNotFound.
	Tile(ctx context.Context, level int, n int64) (TileRow, error)
	// TileRoots returns the roots of the tiles of a level with from <= n < to that exist, in
	// order.
	TileRoots(ctx context.Context, level int, from, to int64) ([]tile.Hash, error)
	// Find returns where entries with the given identities are; those that are not there are
	// not in the map.
	Find(ctx context.Context, identities [][32]byte) (map[[32]byte]Found, error)
}

// Found is where an entry is.
type Found struct {
	Index  int64
	TimeMS int64
}

// Tx is the view of the transaction that holds the lock of the head row. It sees everything
// that earlier holders of the lock have committed.
type Tx interface {
	Reader
	// Head returns the head row as it was read under the lock.
	Head() Head
}

// Store keeps one log. It is safe for concurrent use, by other processes too.
//
// A Store promises: when Update returns nil the batch is durable and every later read sees it,
// all of it; when it returns an error other than ErrUnknownOutcome, no read ever sees any of it.
type Store interface {
	Reader
	// Create makes the log and commits its first batch in one transaction. The callback's Tx
	// has a zero Head with the root of the empty tree. ErrExists if the name or the origin is
	// taken, or the log that it follows has a successor. Other errors as for Update.
	Create(ctx context.Context, d Description, f func(Tx) (*Batch, error)) error
	// Describe returns what Create was given, or ErrNotFound where there is no such log.
	Describe(ctx context.Context) (Description, error)
	// Update locks the head row, calls f once, writes the batch it returns and commits,
	// durably. It writes nothing if f returns no batch or fails; the error of f is returned
	// wrapped. Cancelling ctx has no effect once f was called. wanted are identities that f is
	// going to ask Find for: a store may look for them as soon as it has the lock.
	Update(ctx context.Context, wanted [][32]byte, f func(Tx) (*Batch, error)) error
	// Freeze locks the head row, calls f once and marks the log as frozen, durably: every batch
	// is before it or sees it. It changes nothing if f fails, and returns its error, wrapped. f
	// sees in its Head whether the log is frozen already, and fails then.
	Freeze(ctx context.Context, f func(Head) (Ending, error)) error
	// Head returns the head row.
	Head(ctx context.Context) (Head, error)
	// Search returns the last limit indexes below size whose entries carry any (and=false) or
	// all (and=true) of the keys, ascending, each once.
	Search(ctx context.Context, keys [][]byte, and bool, size int64, limit int) ([]int64, error)
	// LeavesAt returns the leaves with the given indexes, which ascend, as far as they exist, in order
	// and without attestations.
	LeavesAt(ctx context.Context, indexes []int64) ([]Leaf, error)
	// Keys calls each with every search key that Search finds for an index with
	// from <= index < to, in any order. Key.Key is only good until each returns. It is for Fsck
	// and Recover.
	Keys(ctx context.Context, from, to int64, each func(Key) error) error
	// Attestations returns the attestations of the leaves with from <= index < to, by index. It is
	// for Recover.
	Attestations(ctx context.Context, from, to int64) (map[int64][]byte, error)
}
