package tuf

import (
	"context"
	"errors"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// The four top-level roles.
const (
	Root      = metadata.ROOT
	Targets   = metadata.TARGETS
	Snapshot  = metadata.SNAPSHOT
	Timestamp = metadata.TIMESTAMP
)

// Errors of the package and of every Store.
var (
	ErrNotCreated = errors.New("tuf: there is no repository yet")
	ErrExists     = errors.New("tuf: there is a repository already")
	ErrConflict   = errors.New("tuf: this version of the role is stored with other bytes")
	ErrNoKey      = errors.New("tuf: the role's key is not here")
	ErrRejected   = errors.New("tuf: a client would refuse this set")
	ErrClock      = errors.New("tuf: the clock cannot be right")
	ErrStale      = errors.New("tuf: another set was published since this one was asked for")
)

// Metadata is one signed file, exactly as it is served.
type Metadata struct {
	Role     string
	Version  int64
	SignedAt time.Time // whole seconds, UTC
	Bytes    []byte
}

// Blob is the content of one target.
type Blob struct {
	Name    string
	Content []byte
}

// Release is everything a client needs to get from the first root to the current targets. The zero
// value is the set of a repository that was never created.
type Release struct {
	Roots                        []Metadata // versions 1 to N without a gap
	Targets, Snapshot, Timestamp Metadata
	Contents                     []Blob // of the current targets, sorted by name

	// Record is what the targets were composed from (tuf/record), as it was written then. A targets
	// version has one for ever; nil where it was published without one.
	Record []byte
	// Transcript is the ceremony that signed this root and these targets (tuf/ceremony), nil for none.
	Transcript []byte
}

// Message is a trust statement (tuf/statement) that somebody brought.
type Message struct {
	Sender   string    // who brought it: "ca", "tlog", or "file" for a person
	At       time.Time // whole seconds, UTC
	Envelope []byte
}

// Inbox keeps trust statements until a ceremony takes them in, and afterwards too: nothing is ever
// removed. Implementations are safe for concurrent use.
type Inbox interface {
	// Receive adds a message, and reports whether its envelope was not there before.
	Receive(ctx context.Context, m Message) (fresh bool, err error)

	// Messages returns all of them, in the order in which they came.
	Messages(ctx context.Context) ([]Message, error)
}

// Versions identifies a set among those of one repository.
type Versions struct {
	Root, Targets, Snapshot, Timestamp int64
}

// Created reports whether there is a repository at all.
func (s Release) Created() bool { return len(s.Roots) > 0 }

// Versions returns the version of each role, zeros for the zero Release.
func (s Release) Versions() Versions {
	return Versions{
		Root: int64(len(s.Roots)), Targets: s.Targets.Version,
		Snapshot: s.Snapshot.Version, Timestamp: s.Timestamp.Version,
	}
}

// Archive is the current set and what older sets still refer to.
type Archive struct {
	Current Release
	Old     []Metadata // targets and snapshots of earlier sets
	Blobs   []Blob     // contents of earlier targets
}

// Store keeps the repository. Implementations are safe for concurrent use.
type Store interface {
	// Update takes the repository's lock, which all replicas share, and calls f with the current
	// set. It stores what f returns and makes it current in one durable transaction. If f fails, or
	// returns a set with the same versions, nothing is written. A (role, version), or the record of a
	// targets version, that is stored with other bytes is ErrConflict. f is called again, with what is current then, where the
	// database has rolled back the transaction for a reason of its own.
	Update(ctx context.Context, f func(cur Release) (next Release, err error)) error

	// Versions returns the versions of the current set, zeros if there is none.
	Versions(ctx context.Context) (Versions, error)

	// Load returns everything that was ever published, or ErrNotCreated.
	Load(ctx context.Context) (Archive, error)
}
