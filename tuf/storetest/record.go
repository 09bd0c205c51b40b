package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf"
)

// transcribed gives every set a transcript, as one has that a ceremony made.
type transcribed struct{ tuf.Store }

func (s transcribed) Update(ctx context.Context, f func(tuf.Release) (tuf.Release, error)) error {
	return s.Store.Update(ctx, func(cur tuf.Release) (tuf.Release, error) {
		next, err := f(cur)
		next.Transcript = fmt.Appendf(nil, "of %d and %d", len(next.Roots), next.Targets.Version)
		return next, err
	})
}

func wantRecord(t testing.TB, s tuf.Store, record, transcript string) {
	t.Helper()
	a, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if string(a.Current.Record) != record || string(a.Current.Transcript) != transcript {
		t.Errorf("record %q, transcript %q, want %q and %q", a.Current.Record, a.Current.Transcript, record, transcript)
	}
}

// records: a targets version has one record for ever, which is stored with it or not at all, and stays
// with the set while only snapshot and timestamp are renewed.
func records(t *testing.T, f Fixture) {
	cfg := Config(t, f.Store)
	r := tuf.New(cfg)
	if err := r.CreateEdition(t.Context(), tuf.Edition{Targets: List("1"), Record: []byte("one")}); err != nil {
		t.Fatal(err)
	}
	cfg.Clock.(*clock.Manual).Advance(25 * time.Hour)
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantRecord(t, f.Another(t), "one", "")
	// The same targets from another record are another version.
	if changed, err := r.PublishEdition(t.Context(), tuf.Edition{Targets: List("1"), Record: []byte("two")}); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	wantRecord(t, f.Another(t), "two", "")
	for name, change := range map[string]func(*tuf.Release){
		"record of targets version 2": func(n *tuf.Release) { n.Record = []byte("other") },
		"record of targets":           func(n *tuf.Release) { n.Record = nil },
	} {
		err := f.Store.Update(t.Context(), func(cur tuf.Release) (tuf.Release, error) {
			next := cur
			next.Timestamp.Version++
			change(&next)
			return next, nil
		})
		if !errors.Is(err, tuf.ErrConflict) || !strings.Contains(err.Error(), name) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	wantRecord(t, f.Another(t), "two", "")
	// A ceremony's transcript stays with its root and targets, as it was.
	s := transcribed{f.Store}
	cfg.Store = s
	if _, err := tuf.New(cfg).PublishEdition(t.Context(), tuf.Edition{Targets: List("3"), Record: []byte("three")}); err != nil {
		t.Fatal(err)
	}
	cfg.Clock.(*clock.Manual).Advance(25 * time.Hour)
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantRecord(t, f.Another(t), "three", "of 1 and 3")
	err := f.Store.Update(t.Context(), func(cur tuf.Release) (tuf.Release, error) {
		next := cur
		next.Timestamp.Version++
		next.Transcript = []byte("other")
		return next, nil
	})
	if !errors.Is(err, tuf.ErrConflict) || !strings.Contains(err.Error(), "transcript of root version 1 and targets version 3") {
		t.Errorf("another transcript: %v", err)
	}
	// Targets without a record have none, not that of the version before.
	if _, err := r.Publish(t.Context(), List("4")); err != nil {
		t.Fatal(err)
	}
	wantRecord(t, f.Another(t), "", "")
}

// inbox: a message is kept once, in the order in which they came, whoever brings it again.
func inbox(t *testing.T, f Fixture) {
	if list, err := f.Store.Messages(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("%d messages, %v", len(list), err)
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	want := []tuf.Message{{Sender: "tlog", At: at, Envelope: []byte("b")}, {Sender: "ca", At: at.Add(-time.Hour), Envelope: []byte("a")}}
	for _, m := range want {
		if fresh, err := f.Store.Receive(t.Context(), m); err != nil || !fresh {
			t.Errorf("%s: fresh %v, %v", m.Envelope, fresh, err)
		}
	}
	again := want[0]
	again.Sender, again.At = "file", at.Add(time.Hour)
	if fresh, err := f.Another(t).Receive(t.Context(), again); err != nil || fresh {
		t.Errorf("brought again: fresh %v, %v", fresh, err)
	}
	if have, err := f.Another(t).Messages(t.Context()); err != nil || !reflect.DeepEqual(have, want) {
		t.Errorf("%+v, %v, want %+v", have, err, want)
	}
	// Replicas fetch the same statements at once.
	var wg sync.WaitGroup
	var mu sync.Mutex
	fresh := 0
	for range 4 {
		s := f.Another(t)
		wg.Go(func() {
			ok, err := s.Receive(context.Background(), tuf.Message{Sender: "ca", At: at, Envelope: []byte("c")})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if ok {
				fresh++
			}
		})
	}
	wg.Wait()
	if fresh != 1 {
		t.Errorf("a statement that four replicas bring was fresh %d times", fresh)
	}
}
