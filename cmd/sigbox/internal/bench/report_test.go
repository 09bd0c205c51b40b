package bench

import (
	"errors"
	"testing"
	"time"
)

func TestLatency(t *testing.T) {
	var hundred []time.Duration
	for i := 100; i > 0; i-- {
		hundred = append(hundred, time.Duration(i)*time.Millisecond)
	}
	for _, row := range []struct {
		name string
		all  []time.Duration
		want Latency
	}{
		{"none", nil, Latency{}},
		{"one", []time.Duration{1500 * time.Microsecond}, Latency{1.5, 1.5, 1.5, 1.5, 1.5}},
		{"two", []time.Duration{3 * time.Millisecond, time.Millisecond}, Latency{1, 3, 3, 3, 2}},
		{"1 to 100", hundred, Latency{50, 90, 99, 100, 50.5}},
	} {
		if got := newLatency(row.all); got != row.want {
			t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
		}
	}
}

// TestCounts: every request counts once, the throughput counts right answers only, and latencies are
// those of answers with success.
func TestCounts(t *testing.T) {
	var r Report
	r.Statuses = map[string]int{}
	r.fill([]sample{
		{status: 201, latency: time.Millisecond},
		{status: 201, latency: 3 * time.Millisecond},
		{status: 503, latency: time.Minute},
		{err: errors.New("connection refused")},
	}, []error{nil, errors.New("no proof"), nil, nil}, 2*time.Second)
	if r.Requests != 4 || r.OK != 1 || r.Wrong != 1 || r.Failed != 2 || r.PerSecond != 0.5 || r.LatencyMS.Max != 3 || r.LatencyMS.P50 != 1 ||
		r.Statuses["201"] != 2 || r.Statuses["503"] != 1 || r.Statuses["none"] != 1 || len(r.Errors) != 3 || r.Err() == nil {
		t.Errorf("%+v", r)
	}
	good := Report{Statuses: map[string]int{}}
	good.fill([]sample{{status: 200, latency: time.Millisecond}}, []error{nil}, time.Second)
	if good.Err() != nil || good.OK != 1 {
		t.Errorf("%+v: %v", good, good.Err())
	}
}

func TestIsLocal(t *testing.T) {
	for url, want := range map[string]bool{
		"http://127.0.0.1:8080": true, "http://127.9.9.9": true, "http://localhost:1": true, "https://[::1]:8080": true,
		"http://0.0.0.0:8080": false, "http://192.168.0.1": false, "https://localhost.example.com": false, "https://rekor.example.com": false, "http://[2001:db8::1]": false,
	} {
		if got := IsLocal(url); got != want {
			t.Errorf("%s: %v", url, got)
		}
	}
}
