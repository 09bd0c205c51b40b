package expiry

import (
	"sync"
	"time"
)

// Warning is an item that has passed a threshold.
type Warning struct {
	Item
	Threshold time.Duration // zero where the item is over
}

// Watch remembers what was warned of. The zero value has said nothing. It is safe for concurrent use.
type Watch struct {
	mu   sync.Mutex
	said map[said]time.Duration
}

// said is one item: one that was renewed has another end, and is another.
type said struct {
	what, detail string
	at           int64
}

// News returns what is to be said at a time and was not said before, the first to break first: one
// warning for each item, of the shortest threshold that it has passed, and one more when it is over.
func (w *Watch) News(items []Item, now time.Time) (news []Warning) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := map[said]time.Duration{}
	for _, i := range Order(items) {
		key := said{i.What, i.Detail, i.At.UnixNano()}
		t, passed := i.Passed(now)
		if i.Left(now) <= 0 {
			t, passed = 0, true
		}
		if !passed {
			continue
		}
		next[key] = t
		if before, ok := w.said[key]; ok && before <= t {
			next[key] = before // a clock that goes back does not make it new
			continue
		}
		news = append(news, Warning{Item: i, Threshold: t})
	}
	w.said = next
	return news
}
