package ca_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/clock"
)

// running is a clock that an hour passes on with every look at it.
type running struct {
	mu    sync.Mutex
	t     time.Time
	looks int
}

func (r *running) Now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looks++
	r.t = r.t.Add(time.Hour)
	return r.t
}

// TestOneClockReading: all times of an issuance are those of one look at the clock (B-084). The CT log has
// a clock of its own, here the same one, standing where that look was.
func TestOneClockReading(t *testing.T) {
	s := newStack(t)
	c := &running{t: s.clock.Now()}
	src := source(nil)
	a, err := ca.New(ca.Config{
		Key: s.key, Chain: s.hierarchy.Chain(), SCTKey: s.ctKey.Public(), Records: s.records, Clock: c, Logger: discard(),
		SCTs: &lateSource{&src},
	})
	if err != nil {
		t.Fatal(err)
	}
	src = s.ct.AddPreChain
	s.clock.Set(c.t.Add(time.Hour))
	id := identity(t, emailToken("dev@example.com"))
	chain, err := a.Issue(t.Context(), id, prove(t, id.Challenge), ca.Grant{})
	if err != nil {
		t.Fatal(err)
	}
	at := s.clock.Now()
	leaf, records := chain[0], s.all(t)
	if !leaf.NotBefore.Equal(at.Truncate(time.Second)) || !leaf.NotAfter.Equal(leaf.NotBefore.Add(10*time.Minute-time.Second)) {
		t.Errorf("valid from %s to %s, the clock was read at %s", leaf.NotBefore, leaf.NotAfter, at)
	}
	if r := records[0]; !r.At.Equal(at.Truncate(time.Millisecond)) || !r.NotBefore.Equal(leaf.NotBefore) || !r.NotAfter.Equal(leaf.NotAfter) {
		t.Errorf("recorded at %s for %s to %s, want %s", r.At, r.NotBefore, r.NotAfter, at)
	}
	if c.looks != 2 { // the second says when the record was settled
		t.Errorf("the clock was read %d times", c.looks)
	}
}

// lateSource is a source that is set after the authority was made.
type lateSource struct{ *source }

// TestClockSteps issues at the times at which clocks and encodings of time have broken, with hierarchy, CT
// log and records of that time.
func TestClockSteps(t *testing.T) {
	date := func(y int, m time.Month, d, h, min, s, ms int) time.Time {
		return time.Date(y, m, d, h, min, s, ms*1e6, time.UTC)
	}
	for _, tc := range []struct {
		name  string
		steps []time.Time // the authority is made an hour before the first
		fails int         // the step that must be refused; -1 for none
	}{
		{"2038", []time.Time{date(2038, 1, 19, 3, 14, 7, 0), date(2038, 1, 19, 3, 14, 8, 0)}, -1},
		{"2050 within a certificate", []time.Time{date(2049, 12, 31, 23, 55, 0, 0)}, -1},
		{"last second of 2049", []time.Time{date(2049, 12, 31, 23, 59, 59, 999), date(2050, 1, 1, 0, 0, 0, 0)}, -1},
		{"2106", []time.Time{date(2106, 2, 7, 6, 28, 15, 0), date(2106, 2, 7, 6, 28, 16, 0)}, -1},
		{"leap second: the last second twice", []time.Time{date(2028, 12, 31, 23, 59, 59, 900), date(2028, 12, 31, 23, 59, 59, 0), date(2029, 1, 1, 0, 0, 0, 0)}, -1},
		{"leap second: as a second 60, which is the next day's first", []time.Time{time.Date(2028, 12, 31, 23, 59, 60, 5e8, time.UTC), date(2029, 1, 1, 0, 0, 0, 0)}, -1},
		{"leap day", []time.Time{date(2028, 2, 28, 23, 59, 0, 0), date(2028, 2, 29, 0, 0, 0, 0), date(2028, 3, 1, 0, 0, 0, 0)}, -1},
		{"summer time begins somewhere", []time.Time{date(2027, 3, 28, 0, 59, 59, 0).In(time.FixedZone("", 3600)), date(2027, 3, 28, 1, 0, 0, 0).In(time.FixedZone("", 7200))}, -1},
		{"an hour ahead", []time.Time{date(2027, 1, 1, 0, 0, 0, 0), date(2027, 1, 1, 1, 0, 0, 0)}, -1},
		{"ahead and back again", []time.Time{date(2027, 1, 1, 0, 0, 0, 0), date(2027, 1, 1, 1, 0, 0, 0), date(2027, 1, 1, 0, 0, 1, 0)}, 2},
		{"two seconds back", []time.Time{date(2027, 1, 1, 0, 0, 10, 0), date(2027, 1, 1, 0, 0, 8, 0)}, -1},
		{"a nanosecond more", []time.Time{date(2027, 1, 1, 0, 0, 10, 0), date(2027, 1, 1, 0, 0, 8, 0).Add(-time.Nanosecond)}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start := clock.NewManual(tc.steps[0].Add(-time.Hour))
			s := newStackAt(t, start)
			id := identity(t, emailToken("dev@example.com"))
			for n, at := range tc.steps {
				s.clock.Set(at)
				chain, err := s.authority.Issue(t.Context(), id, prove(t, id.Challenge), ca.Grant{})
				if n == tc.fails {
					if !errors.Is(err, ca.ErrClock) {
						t.Errorf("step %d: %v, want %v", n, err, ca.ErrClock)
					}
					continue
				}
				if err != nil {
					t.Fatalf("step %d: %v", n, err)
				}
				if leaf := chain[0]; !leaf.NotBefore.Equal(at.Truncate(time.Second)) || leaf.NotAfter.Sub(leaf.NotBefore) != 10*time.Minute-time.Second {
					t.Errorf("step %d: valid from %s to %s at %s", n, leaf.NotBefore, leaf.NotAfter, at)
				}
				verifyEverySCT(t, s, chain)
			}
		})
	}
}
