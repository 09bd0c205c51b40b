package stack

import (
	"context"
	"crypto"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/keys/pkcs11"
)

// keysEvery is how often a running server asks tokens whether they have its keys.
const keysEvery = 5 * time.Second

// watchedKeys are the keys of this process that are on tokens. Files need no watch: they were read.
type watchedKeys struct {
	log *slog.Logger

	mu   sync.Mutex
	keys []*watchedKey
}

// watchedKey is a key, by its name in the configuration.
type watchedKey struct {
	name string
	key  *pkcs11.Signer
	said bool // that it cannot be used
}

// add watches a key, if it is on a token.
func (w *watchedKeys) add(name string, key crypto.Signer) {
	on, ok := key.(*pkcs11.Signer)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys = append(w.keys, &watchedKey{name: name, key: on})
}

func (w *watchedKeys) all() []*watchedKey {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.keys)
}

// run asks the tokens until ctx ends.
func (w *watchedKeys) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(keysEvery):
		}
		w.look(ctx)
	}
}

// look asks for all keys at once, so that a token that hangs keeps no other waiting, and logs what is news.
func (w *watchedKeys) look(ctx context.Context) {
	var group sync.WaitGroup
	for _, k := range w.all() {
		group.Go(func() {
			err := k.key.Check()
			switch {
			case err != nil && !k.said:
				w.log.ErrorContext(ctx, "a key on a token cannot be used", "key", k.name, "error", err)
			case err == nil && k.said:
				w.log.InfoContext(ctx, "the key on the token can be used again", "key", k.name)
			}
			k.said = err != nil
		})
	}
	group.Wait()
}

// err says what is wrong with a key, as the last use or look has found it, without internal errors.
func (k *watchedKey) err() error {
	err := k.key.Err()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pkcs11.ErrPIN):
		return errors.New("the token has not accepted the PIN, and it is not tried again: " +
			"put the right one into its file, see docs/hsm.md, and restart sigbox")
	case errors.Is(err, pkcs11.ErrSignature):
		return errors.New("the token returned a signature that does not verify with the public key; it was not handed out: " +
			"see whether the key on the token is still the one that it was")
	case errors.Is(err, pkcs11.ErrAway):
		return errors.New("the token cannot be used, and nothing is signed with this key: " +
			"see that it is there and answers; the log says why. It is tried again by itself")
	default:
		return errors.New("the token refuses to sign with this key; the log says why")
	}
}

var (
	keyUsable = prometheus.NewDesc("sigbox_key_usable", "Whether a key on a token can be used: 1, or 0.", []string{"key"}, nil)
	keyBad    = prometheus.NewDesc("sigbox_key_bad_signatures_total", "Signatures of a token that did not verify, and were not handed out.", []string{"key"}, nil)
)

// Describe implements [prometheus.Collector].
func (w *watchedKeys) Describe(to chan<- *prometheus.Desc) {
	to <- keyUsable
	to <- keyBad
}

// Collect implements [prometheus.Collector].
func (w *watchedKeys) Collect(to chan<- prometheus.Metric) {
	for _, k := range w.all() {
		usable := 1.0
		if k.key.Err() != nil {
			usable = 0
		}
		to <- prometheus.MustNewConstMetric(keyUsable, prometheus.GaugeValue, usable, k.name)
		to <- prometheus.MustNewConstMetric(keyBad, prometheus.CounterValue, float64(k.key.BadSignatures()), k.name)
	}
}
