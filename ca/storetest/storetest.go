package storetest

import (
	"context"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
)

// Store is a ca.Store that exports its records: up to limit of those with an ID above after, in the
// order of their IDs.
type Store interface {
	ca.Store
	Records(ctx context.Context, after int64, limit int) ([]ca.Record, error)
}

// Fixture is an empty store.
type Fixture struct {
	Store  Store
	Reopen func(testing.TB) Store // the same records, in a store of another process
}

// Run runs the suite. open is called once for each test.
func Run(t *testing.T, open func(testing.TB) Fixture) {
	for name, f := range map[string]func(*testing.T, Fixture){
		"LifeOfARecord": lifeOfARecord, "Refused": refused, "Concurrent": concurrent, "OneBadRow": oneBadRow, "AnyText": anyText,
	} {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

var at = time.Date(2026, 3, 1, 12, 0, 0, 5e6, time.UTC)

// Intent returns an intent with a serial number.
func Intent(serial int64) ca.Intent {
	return ca.Intent{
		Serial: big.NewInt(serial), At: at, NotBefore: at.Truncate(time.Second), NotAfter: at.Truncate(time.Second).Add(10 * time.Minute),
		Issuer: "https://issuer.example.com", Subject: "subject", SAN: "dev@example.com", SPKISHA256: [32]byte{1}, TBSSHA256: [32]byte{2},
	}
}

// Granted returns an intent of a token that these rules let through, of which there are some.
func Granted(serial int64, rules ...string) ca.Intent {
	in := Intent(serial)
	in.Grant = ca.Grant{RulesSHA256: [32]byte{3, byte(serial)}, Rules: rules}
	return in
}

// All returns all records. Their IDs must ascend, and are zero then: stores may leave some out.
func All(t testing.TB, s Store) []ca.Record { return page(t, s, 0, 10000) }

func page(t testing.TB, s Store, after int64, limit int) []ca.Record {
	t.Helper()
	list, err := s.Records(t.Context(), after, limit)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range list {
		if r.ID <= after {
			t.Errorf("record with ID %d after %d", r.ID, after)
		}
		after, list[i].ID = r.ID, 0
	}
	return list
}

// lifeOfARecord follows records through every state and over a restart: without rules, with one, with more.
func lifeOfARecord(t *testing.T, f Fixture) {
	s := f.Store
	intents := []ca.Intent{Intent(1), Granted(2, "main only"), Granted(3, "our repositories", "Größe, \"α\"", "main only"), Intent(4)}
	for _, in := range intents {
		if err := s.Intend(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	settled := at.Add(3 * time.Millisecond)
	for _, o := range []ca.Outcome{
		{Serial: big.NewInt(1), At: settled, Precertificate: []byte("pre"), Certificate: []byte("cert")},
		{Serial: big.NewInt(2), At: settled, Precertificate: []byte("pre"), Failure: "log is down"},
		{Serial: big.NewInt(3), At: settled, Failure: "signer is lost"},
	} {
		if err := s.Settle(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	want := []ca.Record{
		{Intent: intents[0], State: ca.Issued, SettledAt: settled, Precertificate: []byte("pre"), Certificate: []byte("cert")},
		{Intent: intents[1], State: ca.Precertified, SettledAt: settled, Precertificate: []byte("pre"), Failure: "log is down"},
		{Intent: intents[2], State: ca.Intended, SettledAt: settled, Failure: "signer is lost"},
		{Intent: intents[3], State: ca.Intended},
	}
	s = f.Reopen(t)
	if got := All(t, s); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	list, err := s.Records(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if got := page(t, s, list[0].ID, 2); !reflect.DeepEqual(got, want[1:3]) {
		t.Errorf("page: %+v", got)
	}
	if got := page(t, s, list[3].ID, 2); len(got) > 0 {
		t.Errorf("beyond the end: %+v", got)
	}
}

// refused is what would lose or rewrite history.
func refused(t *testing.T, f Fixture) {
	s, ctx := f.Store, t.Context()
	if err := s.Intend(ctx, Intent(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Intend(ctx, Intent(1)); !errors.Is(err, ca.ErrSerialUsed) {
		t.Errorf("serial number twice: %v", err)
	}
	if err := s.Settle(ctx, ca.Outcome{Serial: big.NewInt(2), Certificate: []byte("c"), Precertificate: []byte("p")}); err == nil {
		t.Error("outcome without intent: accepted")
	}
	if err := s.Settle(ctx, ca.Outcome{Serial: big.NewInt(1), Certificate: []byte("c")}); err == nil {
		t.Error("certificate without precertificate: accepted")
	}
	out := ca.Outcome{Serial: big.NewInt(1), At: at, Failure: "first"}
	if err := s.Settle(ctx, out); err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(ctx, ca.Outcome{Serial: big.NewInt(1), At: at, Precertificate: []byte("p")}); err == nil {
		t.Error("second outcome: accepted")
	}
	if err := s.Settle(ctx, out); err == nil {
		t.Error("the same outcome again: accepted")
	}
	for name, n := range map[string]*big.Int{"nil": nil, "zero": new(big.Int), "negative": big.NewInt(-1), "21 octets": new(big.Int).Lsh(big.NewInt(1), 160)} {
		if err := s.Intend(ctx, ca.Intent{Serial: n}); err == nil {
			t.Errorf("serial number %s: accepted", name)
		}
		if err := s.Settle(ctx, ca.Outcome{Serial: n}); err == nil {
			t.Errorf("outcome of serial number %s: accepted", name)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Intend(cancelled, Intent(9)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before it began: %v", err)
	}
	if r := All(t, s); len(r) != 1 || r[0].Failure != "first" {
		t.Errorf("records %+v", r)
	}
}

// concurrent has many writers, in two processes, and two for each row: one of them gets it.
func concurrent(t *testing.T, f Fixture) {
	stores := []Store{f.Store, f.Reopen(t)}
	var mu sync.Mutex
	got := make(map[int64]int)
	var wg sync.WaitGroup
	for i := range int64(200) {
		wg.Go(func() {
			s, n := stores[i%2], i/2+1
			if i%4 > 1 {
				s = stores[0] // both in one process
			}
			err := s.Intend(t.Context(), Intent(n))
			if errors.Is(err, ca.ErrSerialUsed) {
				return
			}
			if err == nil {
				err = s.Settle(t.Context(), ca.Outcome{Serial: big.NewInt(n), At: at, Failure: "none"})
			}
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			got[n]++
		})
	}
	wg.Wait()
	for n, times := range got {
		if times != 1 {
			t.Errorf("serial number %d was given out %d times", n, times)
		}
	}
	if r := All(t, f.Store); len(r) != 100 || len(got) != 100 {
		t.Errorf("%d records, %d given out, want 100", len(r), len(got))
	}
}

// oneBadRow has many outcomes at once of which one is refused: the others must not go with it.
func oneBadRow(t *testing.T, f Fixture) {
	const rows = 40
	for i := range int64(rows) {
		if err := f.Store.Intend(t.Context(), Intent(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i := range int64(rows) {
		wg.Go(func() {
			out := ca.Outcome{Serial: big.NewInt(i + 1), At: at, Precertificate: []byte("p"), Certificate: []byte("c")}
			if i%10 == 5 {
				out.Precertificate = nil
			}
			if err := f.Store.Settle(t.Context(), out); (err != nil) != (i%10 == 5) {
				t.Errorf("outcome %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i, r := range All(t, f.Store) {
		if (r.State == ca.Issued) != (i%10 != 5) {
			t.Errorf("record %d is %s", i, r.State)
		}
	}
}

// anyText: why an issuance failed is kept, whatever another service has put into it.
func anyText(t *testing.T, f Fixture) {
	if err := f.Store.Intend(t.Context(), Intent(1)); err != nil {
		t.Fatal(err)
	}
	out := ca.Outcome{Serial: big.NewInt(1), At: at, Failure: "the log says \x00\xff\xfe"}
	if err := f.Store.Settle(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	if r := All(t, f.Store); len(r) != 1 || !strings.HasPrefix(r[0].Failure, "the log says ") {
		t.Errorf("records %+v", r)
	}
}
