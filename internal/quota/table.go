package quota

import (
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
)

// Rate is how often something may be done: Count times in Per. The zero Rate is no limit.
type Rate struct {
	Count int64
	Per   time.Duration
}

func (r Rate) on() bool { return r.Count > 0 && r.Per > 0 }

// String is as in a configuration: 4/1m.
func (r Rate) String() string {
	per := r.Per.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(per, zero) {
			per = per[:len(per)-2]
		}
	}
	return strconv.FormatInt(r.Count, 10) + "/" + per
}

// interval is what one request costs: the time in which it is earned back.
func (r Rate) interval() time.Duration { return max(r.Per/time.Duration(r.Count), 1) }

// generation is how many keys one half of a table holds. Two maps of as many numbers take some 4 MiB.
const generation = 1 << 16

// table holds what each key has used up, as the time at which all of it is earned back, in Unix
// nanoseconds: none for a key that owes nothing. It is safe for concurrent use.
type table struct {
	clock clock.Clock
	seed  maphash.Seed // nobody can choose keys that share a number
	size  int

	mu         sync.Mutex
	rate       Rate
	young, old map[uint64]int64 // what is in both counts in young
}

func newTable(c clock.Clock, size int) *table {
	return &table{clock: c, seed: maphash.MakeSeed(), size: size, young: map[uint64]int64{}}
}

// set changes the rate. Under another one all begin anew.
func (t *table) set(r Rate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r != t.rate {
		t.rate, t.young, t.old = r, map[uint64]int64{}, nil
	}
}

func (t *table) current() Rate {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rate
}

// grant is one request that a key has been charged for. The zero grant is of nobody.
type grant struct {
	table *table
	key   uint64
	cost  time.Duration
}

// take charges a key. Where its quota is used up, nothing is charged, and wait says when one request
// is earned back.
func (t *table) take(key string) (g grant, rate Rate, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.rate.on() {
		return grant{}, t.rate, 0
	}
	now, id, cost := t.clock.Now().UnixNano(), maphash.String(t.seed, key), t.rate.interval()
	until := t.owed(id, now)
	if wait := until + int64(cost) - now - int64(t.rate.Per); wait > 0 {
		t.put(id, until) // which may be earlier than it was: see owed
		return grant{}, t.rate, time.Duration(wait)
	}
	t.put(id, until+int64(cost))
	return grant{t, id, cost}, t.rate, 0
}

// charge charges a key that has been let in, whether it has anything left or not.
func (t *table) charge(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rate.on() {
		id := maphash.String(t.seed, key)
		t.put(id, t.owed(id, t.clock.Now().UnixNano())+int64(t.rate.interval()))
	}
}

// owed returns when a key has earned back all: now at the earliest, and a period from now at the latest,
// even where the clock has been set back.
func (t *table) owed(id uint64, now int64) int64 {
	until, ok := t.young[id]
	if !ok {
		until = t.old[id]
	}
	return min(max(until, now), now+int64(t.rate.Per))
}

func (t *table) put(id uint64, until int64) {
	if _, ok := t.young[id]; !ok && len(t.young) >= t.size {
		t.old, t.young = t.young, map[uint64]int64{}
	}
	t.young[id] = until
}

// giveBack takes a charge back. Giving the same one back again does nothing.
func (g *grant) giveBack() {
	if g.table == nil {
		return
	}
	t := g.table
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(g.key, t.owed(g.key, t.clock.Now().UnixNano())-int64(g.cost))
	g.table = nil
}
