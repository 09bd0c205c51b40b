package ceremony_test

import (
	"context"
	"crypto"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/ceremony"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const instanceID = "00112233445566778899aabbccddeeff"

// site is an instance whose keys are offline: two of three sign root, two of three others targets.
type site struct {
	t             testing.TB
	clock         *clock.Manual
	instance      *tuftest.Instance
	root, targets []crypto.Signer
	store         tuf.Store
	repo          *tuf.Repository
	online        tuf.Keys
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, clock: clock.NewManual(now), instance: tuftest.NewInstance(t, instanceID, "https://log.example", now), store: &tuftest.Memory{}}
	for range 3 {
		s.root, s.targets = append(s.root, tuftest.Key(t)), append(s.targets, tuftest.Key(t))
	}
	s.online = tuf.Keys{Snapshot: tuftest.Key(t), Timestamp: tuftest.Key(t)}
	s.repo = tuf.New(tuf.Config{Store: s.store, Keys: s.online, Lifetimes: tuf.Production(), Clock: s.clock, Log: slog.New(slog.DiscardHandler)})
	return s
}

func public(keys ...crypto.Signer) (out []crypto.PublicKey) {
	for _, k := range keys {
		out = append(out, k.Public())
	}
	return out
}

// signers are those of the site's root, with these thresholds.
func (s *site) signers(threshold int) *tuf.RootSigners {
	return &tuf.RootSigners{
		Root: tuf.Signers{Keys: public(s.root...), Threshold: threshold}, Targets: tuf.Signers{Keys: public(s.targets...), Threshold: threshold},
		Snapshot:  tuf.Signers{Keys: public(s.online.Snapshot), Threshold: 1},
		Timestamp: tuf.Signers{Keys: public(s.online.Timestamp), Threshold: 1},
	}
}

func (s *site) record(from record.Record, envelopes [][]byte) (record.Record, [][]byte) {
	s.t.Helper()
	rec, taken, err := from.Collect(envelopes, s.clock.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	return rec, taken
}

// current is the set that is published, and its record.
func (s *site) current() (tuf.Release, record.Record) {
	s.t.Helper()
	cur, err := s.repo.Current(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if cur.Record == nil {
		return cur, record.New(instanceID, "log.example")
	}
	rec, err := record.Parse(cur.Record)
	if err != nil {
		s.t.Fatal(err)
	}
	return cur, rec
}

// ask makes a request that takes statements in.
func (s *site) ask(envelopes [][]byte, change func(*ceremony.Options)) *ceremony.Request {
	s.t.Helper()
	cur, rec := s.current()
	o := ceremony.Options{Instance: instanceID, Current: cur, Lifetimes: tuf.Production(), Now: s.clock.Now()}
	o.Record, o.Statements = s.record(rec, envelopes)
	change(&o)
	r, err := ceremony.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// first is the request for the first set.
func (s *site) first() *ceremony.Request {
	s.t.Helper()
	return s.ask(s.instance.Statements(s.t, now), func(o *ceremony.Options) { o.Root = s.signers(2) })
}

// carry is what a file goes through between two signers.
func carry(t testing.TB, r *ceremony.Request) *ceremony.Request {
	t.Helper()
	raw, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ceremony.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if again.ID() != r.ID() {
		t.Fatal("the file has another id")
	}
	return again
}

func (s *site) sign(r *ceremony.Request, keys ...crypto.Signer) *ceremony.Request {
	s.t.Helper()
	for _, k := range keys {
		r = carry(s.t, r)
		if _, err := r.Sign(k, s.clock.Now()); err != nil {
			s.t.Fatal(err)
		}
	}
	return carry(s.t, r)
}

func (s *site) publish(r *ceremony.Request) {
	s.t.Helper()
	changed, err := r.Publish(s.t.Context(), s.repo, instanceID, s.clock.Now())
	if err != nil || !changed {
		s.t.Fatalf("changed %v, %v", changed, err)
	}
}

// unread is a store that cannot be read.
type unread struct{ tuf.Store }

var errUnread = errors.New("no connection")

func (unread) Load(context.Context) (tuf.Archive, error) { return tuf.Archive{}, errUnread }

func (unread) Update(context.Context, func(tuf.Release) (tuf.Release, error)) error { return errUnread }

func TestFirstSet(t *testing.T) {
	s := newSite(t)
	r := s.sign(s.first(), s.root[0], s.targets[2], s.root[2], s.targets[0])
	s.publish(r)
	if got, want := s.repo.Published().Versions(), (tuf.Versions{Root: 1, Targets: 1, Snapshot: 1, Timestamp: 1}); got != want {
		t.Errorf("versions %+v", got)
	}
	cur, _ := s.current()
	raw, err := r.Encode()
	if err != nil || string(cur.Transcript) != string(raw) || string(cur.Record) != string(r.Record) {
		t.Errorf("the transcript is not the request, or the record not its record: %v", err)
	}
	// Whether it was published in time is for the store to say.
	broken := tuf.New(tuf.Config{Store: unread{s.store}, Keys: s.online, Lifetimes: tuf.Production(), Clock: s.clock, Log: slog.New(slog.DiscardHandler)})
	if _, err := r.Publish(t.Context(), broken, instanceID, now.AddDate(0, 0, 31)); !errors.Is(err, errUnread) {
		t.Errorf("over, and the store cannot be read: %v", err)
	}
	// Again changes nothing, even when the request is over.
	for range 2 {
		if changed, err := r.Publish(t.Context(), s.repo, instanceID, s.clock.Now()); err != nil || changed {
			t.Errorf("published again: changed %v, %v", changed, err)
		}
		s.clock.Advance(31 * 24 * time.Hour)
	}
}
