package tlog

import (
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tlog/checkpoint"
)

// Config is what an engine needs beside its Store. Zero fields have the defaults named here.
type Config struct {
	// Name of the log in our log lines and metrics, and in the database when it is created.
	Name string
	// Face is the API that the log is for. It is stored when the log is created; Open refuses a
	// log that was created for another one, unless either is empty.
	Face string
	// Register is what the database and the guard know the log by, as no other one. Default: the origin.
	// Shards of Rekor v2 that share a host name share an origin, and are told apart by it: the origin,
	// # and what the caller likes.
	Register string
	// Follows is the name of the log that a new one goes on for, once that is frozen: its next shard.
	// It is stored when the log is created, and read by nobody here.
	Follows string
	// Signer signs the checkpoints and knows the origin. Open refuses a log whose stored origin
	// or key is another. Required.
	Signer *checkpoint.Signer
	// Guard remembers the last head outside the database. Default: none, so that a database
	// which is rolled back goes unnoticed.
	Guard Guard
	// LeafInput returns the Merkle leaf input (without the 0x00 prefix) from what Entry.Encode
	// returned as stored. It lets the engine check stored bytes against the tree. Default: they
	// are the same bytes; an entry whose leaf and stored bytes differ is refused then.
	LeafInput func(stored []byte) (leaf []byte, err error)

	// SayFrozen makes the last checkpoint of a log that is frozen say so, on the extension line that
	// rekor-tiles writes: the same head, signed once more.
	SayFrozen bool

	Clock   clock.Clock           // default: the system's
	Logger  *slog.Logger          // default: discards
	Metrics prometheus.Registerer // default: none; series carry the label log=Name

	MaxEntry      int           // bytes of a leaf, of its stored form, of its attestation; default 1 MiB
	MaxBatch      int           // entries in one commit; default 1,024
	MaxBatchBytes int           // bytes in one commit, beyond the first entry; default 8 MiB
	MaxPending    int           // entries that wait for their commit; default 8,192, then ErrBusy
	MaxResults    int           // indexes that one Search returns at most; default 10,000
	CacheTiles    int           // full tiles kept in memory, 16 KiB each; default 512
	Poll          time.Duration // how often to look for heads that other processes wrote; default: never

	// Hook is for tests: see Hook.
	Hook Hook
}

const (
	maxKeys     = 100             // search keys of an entry
	maxKeyBytes = 512             // bytes of a search key
	maxAhead    = 2 * time.Second // how far the head's time may be ahead of the clock

	minGap       = time.Millisecond       // between batches, since each takes a millisecond of its own
	maxRetries   = 2                      // of a batch that was rolled back for a transient reason
	retryPause   = 10 * time.Millisecond  // before the first try again; then twice as long, and so on
	maxPause     = 500 * time.Millisecond // between tries
	maxResolves  = 14                     // tries to learn the outcome of a commit, some 5 s
	republishGap = 500 * time.Millisecond
)

func (c Config) withDefaults() (Config, error) {
	if c.Signer == nil {
		return c, errors.New("tlog: Config.Signer is missing")
	}
	c.Register = c.Registered()
	if c.Name == "" {
		return c, errors.New("tlog: Config.Name is missing")
	}
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("log", c.Name)
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.MaxEntry, 1 << 20}, {&c.MaxBatch, 1024}, {&c.MaxBatchBytes, 8 << 20}, {&c.MaxPending, 8192},
		{&c.MaxResults, 10_000}, {&c.CacheTiles, 512},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return c, nil
}

// Registered is Register or its default.
func (c Config) Registered() string {
	if c.Register == "" {
		return c.Signer.Verifier().Origin()
	}
	return c.Register
}

// registered returns a checkpoint with what the guard knows the log by for its origin.
func (c Config) registered(cp checkpoint.Signed) checkpoint.Signed {
	cp.Origin = c.Register
	return cp
}
