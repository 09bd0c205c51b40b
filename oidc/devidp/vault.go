package devidp

import (
	"sync"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
)

// vault keeps values that can be taken once, until they expire, and never more than max of them.
type vault[T any] struct {
	clock clock.Clock
	max   int

	mu    sync.Mutex
	items map[string]kept[T]
}

type kept[T any] struct {
	value   T
	expires time.Time
}

func newVault[T any](c clock.Clock, max int) *vault[T] {
	return &vault[T]{clock: c, max: max, items: map[string]kept[T]{}}
}

// put keeps v under id for ttl. It reports false where the vault is full of what has not expired.
func (v *vault[T]) put(id string, value T, ttl time.Duration) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.clock.Now()
	if len(v.items) >= v.max {
		for id, k := range v.items {
			if !now.Before(k.expires) {
				delete(v.items, id)
			}
		}
	}
	if len(v.items) >= v.max {
		return false
	}
	v.items[id] = kept[T]{value, now.Add(ttl)}
	return true
}

// take removes and returns the value, whether or not the caller then likes it.
func (v *vault[T]) take(id string) (T, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	k, ok := v.items[id]
	delete(v.items, id)
	if !ok || !v.clock.Now().Before(k.expires) {
		var zero T
		return zero, false
	}
	return k.value, true
}
