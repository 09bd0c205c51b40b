package sqlstore_test

import (
	"context"
	"errors"
	"math/big"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/sqlstore"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/migrations"
)

func open(t *testing.T, path string) (*sqlstore.SQLite, *sqlite.DB) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := migrations.ApplySQLite(t.Context(), db.Writer(), "ca"); err != nil {
		t.Fatal(err)
	}
	return sqlstore.NewSQLite(db), db
}

var at = time.Date(2026, 3, 1, 12, 0, 0, 5e6, time.UTC)

func intent(serial int64) ca.Intent {
	return ca.Intent{
		Serial: big.NewInt(serial), At: at, NotBefore: at.Truncate(time.Second), NotAfter: at.Truncate(time.Second).Add(10 * time.Minute),
		Issuer: "https://issuer.example.com", Subject: "subject", SAN: "dev@example.com", SPKISHA256: [32]byte{1}, TBSSHA256: [32]byte{2},
	}
}

func records(t *testing.T, s *sqlstore.SQLite, after int64, limit int) []ca.Record {
	t.Helper()
	r, err := s.Records(t.Context(), after, limit)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestLifeOfARecord follows records through every state and over a restart.
func TestLifeOfARecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.db")
	s, db := open(t, path)
	for i := range int64(4) {
		if err := s.Intend(t.Context(), intent(i+1)); err != nil {
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
		{ID: 1, Intent: intent(1), State: ca.Issued, SettledAt: settled, Precertificate: []byte("pre"), Certificate: []byte("cert")},
		{ID: 2, Intent: intent(2), State: ca.Precertified, SettledAt: settled, Precertificate: []byte("pre"), Failure: "log is down"},
		{ID: 3, Intent: intent(3), State: ca.Intended, SettledAt: settled, Failure: "signer is lost"},
		{ID: 4, Intent: intent(4), State: ca.Intended},
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, path)
	if got := records(t, s, 0, 10); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if got := records(t, s, 1, 2); !reflect.DeepEqual(got, want[1:3]) {
		t.Errorf("page: %+v", got)
	}
	if got := records(t, s, 4, 2); got != nil {
		t.Errorf("beyond the end: %+v", got)
	}
}

// TestRefused: what would lose or rewrite history.
func TestRefused(t *testing.T) {
	s, _ := open(t, filepath.Join(t.TempDir(), "ca.db"))
	ctx := t.Context()
	if err := s.Intend(ctx, intent(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Intend(ctx, intent(1)); !errors.Is(err, ca.ErrSerialUsed) {
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
	for name, n := range map[string]*big.Int{"nil": nil, "zero": new(big.Int), "negative": big.NewInt(-1), "21 octets": new(big.Int).Lsh(big.NewInt(1), 160)} {
		if err := s.Intend(ctx, ca.Intent{Serial: n}); err == nil {
			t.Errorf("serial number %s: accepted", name)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Intend(cancelled, intent(9)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before it began: %v", err)
	}
	if r := records(t, s, 0, 10); len(r) != 1 || r[0].Failure != "first" {
		t.Errorf("records %+v", r)
	}
}

// TestConcurrent: many writers, one row each.
func TestConcurrent(t *testing.T) {
	s, _ := open(t, filepath.Join(t.TempDir(), "ca.db"))
	var wg sync.WaitGroup
	for i := range int64(50) {
		wg.Go(func() {
			err := s.Intend(t.Context(), intent(i/2+1))
			if err != nil && !errors.Is(err, ca.ErrSerialUsed) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if r := records(t, s, 0, 100); len(r) != 25 {
		t.Errorf("%d records, want 25", len(r))
	}
}
