package pgstore

import (
	"context"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/internal/pgtest"
)

// TestLane: intents and outcomes in one transaction, each with an error of its own; of a transaction that
// fails, all are to be written again, each by itself, and are.
func TestLane(t *testing.T) {
	server := pgtest.Shared(t)
	url := server.URL(server.Database(t))
	if err := pg.Migrate(t.Context(), url, "ca"); err != nil {
		t.Fatal(err)
	}
	db, err := pg.Open(t.Context(), pg.Config{URL: url + "&role=sigbox_ca_writer", Schema: "ca"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	s := New(db)
	intend := func(n byte, issuer string) record {
		return record{intent: &intent{serial: serial{19: n}, Intent: ca.Intent{At: time.Unix(1, 0), Issuer: issuer}}}
	}
	settle := func(n byte) record { return record{outcome: &outcome{serial: serial{19: n}}} }
	write := func(records ...record) (errs []error) {
		rows := make([]*row[record], len(records))
		for i, r := range records {
			rows[i] = &row[record]{value: r, err: errNotWritten}
		}
		s.lane.write(rows)
		for _, r := range rows {
			errs = append(errs, r.err)
		}
		return errs
	}
	want := func(what string, have []error, want ...error) {
		t.Helper()
		for i := range want {
			if !errors.Is(have[i], want[i]) {
				t.Errorf("%s, %d: %v, want %v", what, i, have[i], want[i])
			}
		}
	}
	want("first", write(intend(1, "a"), intend(1, "a"), intend(2, "a")), nil, ca.ErrSerialUsed, nil)
	want("both kinds", write(intend(3, "a"), settle(1), intend(2, "a"), settle(1), settle(9)), nil, nil, ca.ErrSerialUsed, errSettled, errSettled)
	want("a text that is none", write(intend(4, "\x00"), settle(2), intend(5, "a")), errAgain, errAgain, errAgain)
	want("again", write(settle(2), intend(5, "a")), nil, nil)

	// Callers who wait in one turn with one whose row the database refuses.
	held := make(chan bool)
	began := make(chan bool)
	plain := s.lane.turns.write
	s.lane.turns.write = func(batch []*row[record]) {
		began <- true
		<-held
		plain(batch)
	}
	answers := map[string]chan error{}
	call := func(name string, f func() error) {
		answers[name] = make(chan error, 1)
		go func() { answers[name] <- f() }()
	}
	ask := func(n int64, issuer string) func() error {
		return func() error {
			return s.Intend(context.Background(), ca.Intent{Serial: big.NewInt(n), At: time.Unix(1, 0), Issuer: issuer, TBSSHA256: [32]byte{byte(n)}})
		}
	}
	call("first", ask(20, "a"))
	<-began
	call("refused", ask(21, "b"))
	call("outcome", func() error {
		return s.Settle(context.Background(), ca.Outcome{Serial: big.NewInt(3), At: time.Unix(2, 0)})
	})
	call("sound", ask(22, "c"))
	for n := 0; n < 3; time.Sleep(time.Millisecond) {
		s.lane.mu.Lock()
		n = len(s.lane.waiting)
		for _, r := range s.lane.waiting {
			if n == 3 && r.value.intent != nil && r.value.intent.Issuer == "b" {
				r.value.intent.Intent.NotAfter, r.value.intent.Issuer = time.Unix(1, 0), "\x00"
			}
		}
		s.lane.mu.Unlock()
	}
	held <- true
	<-began
	held <- true
	for name, refused := range map[string]bool{"first": false, "refused": true, "outcome": false, "sound": false} {
		if err := <-answers[name]; (err != nil) != refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}
