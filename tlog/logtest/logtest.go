package logtest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/memstore"
)

// Origin of the logs that New makes, unless the test's options set another Signer.
const Origin = "log.test"

// New returns a running, empty log in memory with a fresh key. It is drained when the test ends.
// Options change the configuration: Signer for another origin or key, LeafInput for entries
// whose stored bytes are not their leaf, Clock, limits, Hook for the points of engine and store.
func New(t testing.TB, options ...func(*tlog.Config)) *tlog.Engine {
	t.Helper()
	store := memstore.New()
	cfg := Config(t, options...)
	if err := tlog.Create(t.Context(), store, cfg, nil); err != nil {
		t.Fatal(err)
	}
	store.UseHook(cfg.Hook)
	return Open(t, store, cfg)
}

// Config returns a configuration with a fresh key.
func Config(t testing.TB, options ...func(*tlog.Config)) tlog.Config {
	t.Helper()
	cfg := tlog.Config{Name: "test", Signer: Signer(t, Origin, Origin)}
	for _, o := range options {
		o(&cfg)
	}
	return cfg
}

// Signer returns a checkpoint signer with a fresh P-256 key.
func Signer(t testing.TB, name, origin string) *checkpoint.Signer {
	t.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	s, err := checkpoint.NewSigner(name, origin, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Open opens a log and runs it until the test ends; it fails the test if the log has halted then.
func Open(t testing.TB, store tlog.Store, cfg tlog.Config) *tlog.Engine {
	t.Helper()
	e, err := tlog.Open(t.Context(), store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop := Start(t, e)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("the log halted: %v", err)
		}
	})
	return e
}

// Start runs a log. The function it returns drains the log and returns what Run returned.
func Start(t testing.TB, e *tlog.Engine) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// Entry is an entry whose leaf, stored bytes and identity come from its text.
type Entry string

// Identity implements [tlog.Entry].
func (e Entry) Identity() [32]byte { return sha256.Sum256([]byte(e)) }

// Encode implements [tlog.Entry].
func (e Entry) Encode(int64, int64) (leaf, stored []byte, err error) {
	return []byte(e), []byte(e), nil
}

// Keys implements [tlog.Entry]: the first byte of the text.
func (e Entry) Keys() [][]byte {
	if e == "" {
		return nil
	}
	return [][]byte{[]byte(e[:1])}
}

// Numbered returns an entry that differs for every i.
func Numbered(i int) Entry { return Entry(fmt.Sprintf("entry %d", i)) }
