package expiry_test

import (
	"slices"
	"testing"
	"time"

	"github.com/sigbox/sigbox/expiry"
)

const day = 24 * time.Hour

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestPassed(t *testing.T) {
	year := expiry.Item{Life: 365 * day}
	online := expiry.Item{Life: 7 * day, Renews: 6 * day}
	for _, tc := range []struct {
		name   string
		item   expiry.Item
		left   time.Duration
		want   time.Duration // 0: none
		urgent bool
	}{
		{"nothing yet", expiry.Item{}, 90*day + 1, 0, false},
		{"on the edge", expiry.Item{}, 90 * day, 90 * day, false},
		{"a little urgent", expiry.Item{}, 30*day + 1, 90 * day, false},
		{"urgent", expiry.Item{}, 30 * day, 30 * day, true},
		{"two weeks", expiry.Item{}, 13 * day, 14 * day, true},
		{"one week", expiry.Item{}, 6 * day, 7 * day, true},
		{"two days", expiry.Item{}, time.Hour, 2 * day, true},
		{"over", expiry.Item{}, -1, 2 * day, true},
		{"a quarter of a year's life comes before 90 days", year, 91 * day, 365 * day / 4, false},
		{"a tenth of a year's life", year, 36 * day, 365 * day / 10, false},
		{"made for less than a threshold", expiry.Item{Life: 20 * day}, 19 * day, 0, false},
		{"ten years: no quarter of them", expiry.Item{Life: 3650 * day}, 91 * day, 0, false},
		{"ninety days: not where robots renew", expiry.Item{Life: 90 * day}, 30 * day, 0, false},
		{"ninety days: where a robot has failed", expiry.Item{Life: 90 * day}, 22 * day, 90 * day / 4, true},
		{"a day: an hour is left", expiry.Item{Life: day}, time.Hour, day / 10, true},
		{"a day: half is left", expiry.Item{Life: day}, 12 * time.Hour, 0, false},
		{"renews itself, and it is not due", online, 6*day + 1, 0, false},
		{"renews itself, and is a little late", online, 5 * day, 0, false},
		{"renews itself, and half is gone", online, 3 * day, 7 * day / 2, true},
		{"renews itself, and a quarter is left", online, 36 * time.Hour, 7 * day / 4, true},
	} {
		tc.item.At = now.Add(tc.left)
		got, ok := tc.item.Passed(now)
		if got != tc.want || ok != (tc.want != 0) {
			t.Errorf("%s: passed %s (%v), want %s", tc.name, got, ok, tc.want)
		}
		if u := tc.item.Urgent(now); u != tc.urgent {
			t.Errorf("%s: urgent = %v", tc.name, u)
		}
	}
}

// TestWithin: what somebody has to do counts by its time, what renews itself only where it is late.
func TestWithin(t *testing.T) {
	online := expiry.Item{Life: 7 * day, Renews: 6 * day}
	for _, tc := range []struct {
		name         string
		item         expiry.Item
		left, within time.Duration
		want         bool
	}{
		{"later", expiry.Item{}, 31 * day, 30 * day, false},
		{"within", expiry.Item{}, 30 * day, 30 * day, true},
		{"over", expiry.Item{}, -1, 0, true},
		{"not over", expiry.Item{}, 1, 0, false},
		{"renews itself", online, 5 * day, 30 * day, false},
		{"renews itself, and is overdue", online, 3 * day, 30 * day, true},
		{"renews itself, is overdue, and ends later", online, 3 * day, day, false},
		{"renews itself, and is over", online, 0, 0, true},
	} {
		tc.item.At = now.Add(tc.left)
		if got := tc.item.Within(now, tc.within); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

func TestOrder(t *testing.T) {
	in := []expiry.Item{
		{What: "b", At: now.Add(2)}, {What: "c", At: now.Add(1)}, {What: "a", Detail: "2", At: now.Add(2)}, {What: "a", Detail: "1", At: now.Add(2)},
		{What: "b", At: now.Add(2)}, {What: "b", At: now.Add(3)},
	}
	var got []string
	for _, i := range expiry.Order(in) {
		got = append(got, i.Title())
	}
	if want := []string{"c", "a (1)", "a (2)", "b", "b"}; !slices.Equal(got, want) {
		t.Errorf("order %q, want %q", got, want)
	}
	if in[0].What != "b" || in[1].What != "c" {
		t.Error("the list that was given has changed")
	}
}

// TestNews counts what is said over the life of an item that is looked at every minute or so.
func TestNews(t *testing.T) {
	var w expiry.Watch
	item := expiry.Item{What: "x", At: now.Add(100 * day)}
	var got []time.Duration
	for at := now; at.Before(now.Add(102 * day)); at = at.Add(7 * time.Minute) {
		for _, n := range w.News([]expiry.Item{item}, at) {
			if left := item.Left(at); left > n.Threshold || left < n.Threshold-7*time.Minute {
				t.Errorf("threshold %s is said with %s left", n.Threshold, left)
			}
			got = append(got, n.Threshold)
		}
	}
	if want := []time.Duration{90 * day, 30 * day, 14 * day, 7 * day, 2 * day, 0}; !slices.Equal(got, want) {
		t.Errorf("said %v, want %v", got, want)
	}
	if n := w.News([]expiry.Item{item}, now.Add(99*day)); n != nil {
		t.Errorf("a clock that goes back makes it new: %v", n)
	}
	renewed := expiry.Item{What: "x", At: now.Add(190 * day)}
	if n := w.News([]expiry.Item{renewed}, now.Add(102*day)); len(n) != 1 || n[0].Threshold != 90*day {
		t.Errorf("one that was renewed is not warned of anew: %v", n)
	}
	if n := w.News([]expiry.Item{item, renewed}, now.Add(189*day)); len(n) != 2 || n[0].At != item.At || n[1].Threshold != 2*day {
		t.Errorf("a look after a long time says %v, want one warning for each item", n)
	}
}

func TestWords(t *testing.T) {
	for _, tc := range []struct {
		left time.Duration
		want string
	}{
		{90 * day, "in 90 days"}, {2*day - 1, "in 47 hours"}, {2 * day, "in 2 days"}, {time.Hour, "in 1 hour"}, {59 * time.Minute, "in 59 minutes"}, {-3 * day, "3 days ago"},
	} {
		if got := expiry.Words(tc.left); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.left, got, tc.want)
		}
	}
}
