package expiry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

const day = 24 * time.Hour

// thresholds are those of every item.
var thresholds = []time.Duration{90 * day, 30 * day, 14 * day, 7 * day, 2 * day}

// mendTime is what is left of an item when a server that depends on it counts as degraded: the time that
// a ceremony may take (sigbox tuf request --good-for), or a quarter of a life that is short.
const mendTime = 30 * day

// Item is one thing that stops working at a known time.
type Item struct {
	What   string    // a short name, the same for ever, for example "tuf root"; labels of metrics are made of it
	Detail string    // which one, for example the subject of a certificate; may be empty
	At     time.Time // from then on it counts no more
	Breaks string    // what stops then, as the rest of a sentence: "clients refuse ..."
	Mend   []string  // what prevents it, in order: commands, and words for what no command does

	// Life is how long it was made for; zero where that is not known.
	Life time.Duration
	// Renews is how much is left when it is renewed by itself; zero where somebody has to do it.
	Renews time.Duration
	// Planned says that it ends when somebody wanted it to: it is shown and warned of, and nothing is wrong.
	Planned bool
}

// Left is how long it still works at a time, negative after its end.
func (i Item) Left(now time.Time) time.Duration { return i.At.Sub(now) }

// year is up to which life a quarter and a tenth of it are thresholds: of a longer one they are years.
const year = 366 * day

// Thresholds are what is left when it is warned of, the longest first: where the whole life is known
// none of more than a third of it, which is when careful people renew, and of what renews itself none
// that it passes before that.
func (i Item) Thresholds() []time.Duration {
	list := slices.Clone(thresholds)
	if i.Life > 0 {
		list = slices.DeleteFunc(list, func(t time.Duration) bool { return t >= i.Life/3 })
	}
	if i.Life > 0 && i.Life <= year {
		list = append(list, i.Life/4, i.Life/10)
	}
	if i.Life > 0 && i.Renews > 0 {
		list = append(list, i.Life/2)
	}
	if i.Renews > 0 {
		list = slices.DeleteFunc(list, func(t time.Duration) bool { return t >= i.Renews })
	}
	slices.SortFunc(list, func(a, b time.Duration) int { return cmp.Compare(b, a) })
	return slices.Compact(list)
}

// Passed returns the shortest threshold that is passed at a time. ok is false where none is.
func (i Item) Passed(now time.Time) (t time.Duration, ok bool) {
	left := i.Left(now)
	for _, next := range i.Thresholds() {
		if left > next {
			break
		}
		t, ok = next, true
	}
	return t, ok
}

// Urgent says whether it is to be mended now: it is over, or little is left, or its renewal is overdue.
func (i Item) Urgent(now time.Time) bool {
	if i.Planned {
		return false
	}
	urgent := mendTime
	if i.Life > 0 {
		urgent = min(urgent, i.Life/4)
	}
	_, passed := i.Passed(now)
	return i.Left(now) <= 0 || passed && (i.Renews > 0 || i.Left(now) <= urgent)
}

// Within says that it is over, or stops within a time unless somebody does something: what renews itself
// counts only when that is overdue.
func (i Item) Within(now time.Time, within time.Duration) bool {
	if i.Planned {
		return false
	}
	if _, overdue := i.Passed(now); i.Renews > 0 && !overdue {
		return i.Left(now) <= 0
	}
	return i.Left(now) <= within
}

// Title is what and which.
func (i Item) Title() string {
	if i.Detail == "" {
		return i.What
	}
	return fmt.Sprintf("%s (%s)", i.What, i.Detail)
}

// Order returns the items by the time when they stop working, each once.
func Order(items []Item) []Item {
	list := slices.Clone(items)
	slices.SortStableFunc(list, func(a, b Item) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.What, b.What), strings.Compare(a.Detail, b.Detail))
	})
	return slices.CompactFunc(list, func(a, b Item) bool { return a.At.Equal(b.At) && a.What == b.What && a.Detail == b.Detail })
}

// Words says how much time is left, in the unit that a person would choose: "in 89 days", "in 5 hours",
// "3 days ago".
func Words(left time.Duration) string {
	ago := left < 0
	if ago {
		left = -left
	}
	n, unit := int(left/day), "day"
	switch {
	case left < time.Hour:
		n, unit = int(left/time.Minute), "minute"
	case left < 2*day:
		n, unit = int(left/time.Hour), "hour"
	}
	if n != 1 {
		unit += "s"
	}
	if ago {
		return fmt.Sprintf("%d %s ago", n, unit)
	}
	return fmt.Sprintf("in %d %s", n, unit)
}
