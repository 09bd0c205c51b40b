package stack

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/expiry"
)

// TestUpExpirySteps lives with an instance of sigbox up until each thing that ends was near its end: its owner does
// nothing until the last warning, and then what the command printed, which moves the end. Each warning comes before,
// once.
func TestUpExpirySteps(t *testing.T) {
	r := copyOf(t, newTemplate(t))
	left := map[string]bool{"tuf root": true, "tuf targets": true, "ca certificate": true, "ca issuer": true, "tsa certificate": true, "tsa issuer": true}
	var watch expiry.Watch
	for rounds := 0; len(left) > 0; rounds++ {
		if rounds > 30 {
			t.Fatalf("these did not come to an end: %v", slices.Sorted(maps.Keys(left)))
		}
		items := r.expiring(t)
		i := slices.IndexFunc(items, func(i expiry.Item) bool { return i.Renews == 0 })
		end := items[i]
		for _, threshold := range end.Thresholds() {
			r.clock.Set(end.At.Add(-threshold - time.Minute))
			r.expectNews(t, &watch, end, 0)
			r.clock.Set(end.At.Add(-threshold))
			r.expectNews(t, &watch, end, threshold)
		}
		r.printed(t, end)
		after := r.expiring(t)
		for _, was := range items {
			moved := !slices.ContainsFunc(after, func(is expiry.Item) bool { return is.What == was.What && !is.At.After(was.At) })
			if moved {
				delete(left, was.What)
			}
			if was.What == end.What && !moved {
				t.Fatalf("%s: %q did not move its end", end.Title(), end.Mend)
			}
		}
		r.opens(t)
	}
}

func (r *rotated) expiring(t *testing.T) []expiry.Item {
	t.Helper()
	items, err := UpExpiring(t.Context(), r.dir, r.clock)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// expectNews wants to be told of an item that it has passed a threshold, 0 for none.
func (r *rotated) expectNews(t *testing.T, w *expiry.Watch, of expiry.Item, threshold time.Duration) {
	t.Helper()
	var got time.Duration
	for _, n := range w.News(r.expiring(t), r.clock.Now()) {
		if n.What == of.What && n.Detail == of.Detail {
			got = n.Threshold
		}
	}
	if got != threshold {
		t.Errorf("%s, %s before its end: warned of %s, want %s", of.Title(), of.Left(r.clock.Now()), got, threshold)
	}
}

// printed does what the command prints.
func (r *rotated) printed(t *testing.T, i expiry.Item) {
	t.Helper()
	words := strings.Fields(i.Mend[0])
	switch {
	case strings.HasPrefix(i.Mend[0], "sigbox up --data ") && words[3] == r.dir.Path:
		r.opens(t)
	case len(words) == 6 && words[1] == "rotate" && words[3] == "--yes" && words[5] == r.dir.Path && IsRotatable(words[2]):
		if err := r.begin(t, words[2], "", cut{}); err != nil {
			t.Fatalf("%s: %s: %v", i.Title(), i.Mend[0], err)
		}
	default:
		t.Fatalf("%s: nothing does %q", i.Title(), i.Mend)
	}
}

// opens opens the instance as "sigbox up" does, which renews what is due, and nothing that ends is over then.
func (r *rotated) opens(t *testing.T) {
	t.Helper()
	d, err := instance.Open(r.dir.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s, err := Open(t.Context(), Options{Dir: d, URL: d.Info.URL, Clock: r.clock, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("up: %v", err)
	}
	defer s.Close()
	for _, i := range s.expiry.known() {
		if now := r.clock.Now(); i.Left(now) <= 0 {
			t.Errorf("%s has ended at %s", i.Title(), now)
		}
	}
	r.clock.Advance(time.Second)
}
