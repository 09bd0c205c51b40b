package ceremony_test

import (
	"crypto"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/ceremony"
	"github.com/sigbox/sigbox/tuf/statement"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// TestRootRotation: root 2 has new keys of root and targets, and needs both thresholds; the targets are
// signed again by the new keys, though they say the same.
func TestRootRotation(t *testing.T) {
	s := newSite(t)
	s.publish(s.sign(s.first(), s.root[0], s.root[1], s.targets[0], s.targets[1]))
	old, oldTargets := slices.Clone(s.root), slices.Clone(s.targets)
	for i := range 3 {
		s.root[i], s.targets[i] = tuftest.Key(t), tuftest.Key(t)
	}
	r := s.ask(nil, func(o *ceremony.Options) { o.Root = s.signers(2) })
	if r.Targets == nil {
		t.Fatal("the targets keep signatures of keys that count no more")
	}
	want := func(r *ceremony.Request, text string) {
		t.Helper()
		if _, err := r.Signed(); !errors.Is(err, ceremony.ErrThreshold) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
	}
	r = s.sign(r, s.root[0], s.root[1], s.targets[0], s.targets[1])
	want(r, "root, by the keys of version 1 has 0 of 2")
	r = s.sign(r, old[2])
	want(r, "root, by the keys of version 1 has 1 of 2")
	if _, err := carry(t, r).Sign(oldTargets[0], now); !errors.Is(err, ceremony.ErrUnknownKey) {
		t.Errorf("an old targets key: %v", err)
	}
	s.publish(s.sign(r, old[0]))
	if got, want := s.repo.Published().Versions(), (tuf.Versions{Root: 2, Targets: 2, Snapshot: 2, Timestamp: 2}); got != want {
		t.Errorf("versions %+v", got)
	}
	// The old keys have no part in what follows.
	next := s.ask(nil, func(o *ceremony.Options) { o.RenewTargets = true })
	if _, err := next.Sign(oldTargets[0], now); !errors.Is(err, ceremony.ErrUnknownKey) {
		t.Errorf("an old targets key: %v", err)
	}
	s.publish(s.sign(next, s.targets[1], s.targets[2]))
}

// TestFollows: a signer who knows the root is not led by one that somebody made up.
func TestFollows(t *testing.T) {
	s, other := newSite(t), newSite(t)
	for _, x := range []*site{s, other} {
		x.publish(x.sign(x.first(), x.root[0], x.root[1], x.targets[0], x.targets[1]))
	}
	known, _ := s.current()
	renew := func(o *ceremony.Options) { o.RenewTargets = true }
	if err := s.ask(nil, renew).Follows(known.Roots[0].Bytes); err != nil {
		t.Error(err)
	}
	if err := other.ask(nil, renew).Follows(known.Roots[0].Bytes); !errors.Is(err, ceremony.ErrRequest) || !strings.Contains(err.Error(), "made this one up") {
		t.Errorf("another root: %v", err)
	}
	if err := newSite(t).first().Follows(known.Roots[0].Bytes); !errors.Is(err, ceremony.ErrRequest) || !strings.Contains(err.Error(), "follows no set") {
		t.Errorf("a first set: %v", err)
	}
}

// TestRootAlone: a root that is renewed leaves targets, record and contents as they are, and has a
// transcript of its own.
func TestRootAlone(t *testing.T) {
	s := newSite(t)
	s.publish(s.sign(s.first(), s.root[0], s.root[1], s.targets[0], s.targets[1]))
	before, _ := s.current()
	r := s.ask(nil, func(o *ceremony.Options) { o.Root = s.signers(2) })
	if r.Targets != nil {
		t.Fatal("targets are to be signed though nothing changed")
	}
	s.publish(s.sign(r, s.root[1], s.root[2]))
	after, _ := s.current()
	if len(after.Roots) != 2 || after.Targets.Version != 1 || string(after.Record) != string(before.Record) || string(after.Transcript) == string(before.Transcript) {
		t.Errorf("%+v", after.Versions())
	}
}

// TestOnlineRotation: another timestamp key needs the root's signers only.
func TestOnlineRotation(t *testing.T) {
	s := newSite(t)
	s.publish(s.sign(s.first(), s.root[0], s.root[1], s.targets[0], s.targets[1]))
	s.online.Timestamp = tuftest.Key(t)
	r := s.sign(s.ask(nil, func(o *ceremony.Options) { o.Root = s.signers(2) }), s.root[0], s.root[1])
	// The service still has the old key: its client refuses the set before anybody sees it.
	if _, err := r.Publish(t.Context(), s.repo, instanceID, now); !errors.Is(err, tuf.ErrRejected) {
		t.Errorf("published with the old timestamp key: %v", err)
	}
	if got := s.repo.Published().Versions(); got.Root != 1 {
		t.Errorf("versions %+v", got)
	}
}

// TestCopies: signers who work on copies at the same time are put together, in any order.
func TestCopies(t *testing.T) {
	s := newSite(t)
	base := s.first()
	keys := []crypto.Signer{s.root[0], s.root[1], s.targets[0], s.targets[1]}
	copies := make([]*ceremony.Request, len(keys))
	for i, k := range keys {
		copies[i] = s.sign(base, k)
	}
	forth, back := carry(t, base), carry(t, base)
	for i := range copies {
		if n, err := forth.Merge(copies[i]); err != nil || n != 1 {
			t.Fatalf("%d, %v", n, err)
		}
		if n, err := back.Merge(copies[len(copies)-1-i]); err != nil || n != 1 {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if n, err := forth.Merge(back); err != nil || n != 0 {
		t.Errorf("what is there already: %d, %v", n, err)
	}
	if string(forth.Root) != string(back.Root) || string(forth.Targets) != string(back.Targets) {
		t.Error("the order makes a difference")
	}
	// One key on two copies has two signatures, of which the first counts.
	again := carry(t, base)
	if _, err := again.Sign(s.root[0], now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n, err := forth.Merge(again); err != nil || n != 0 {
		t.Errorf("the same signer twice: %d, %v", n, err)
	}
	other := s.ask(s.instance.Statements(t, now), func(o *ceremony.Options) { o.Root, o.GoodFor = s.signers(2), time.Hour })
	if _, err := forth.Merge(other); !errors.Is(err, ceremony.ErrOther) {
		t.Errorf("another request: %v", err)
	}
	s.publish(carry(t, forth))
}

// TestWords: a signer is told what is new, what ends and what stays, and by which bytes.
func TestWords(t *testing.T) {
	s := newSite(t)
	s.publish(s.sign(s.first(), s.root[0], s.root[1], s.targets[0], s.targets[1]))
	s.instance.NewCA(t, now.Add(30*time.Minute))
	cur, rec := s.current()
	s.instance.Keys[statement.RekorV2] = tuftest.Key(t)
	v2 := s.instance.Says(statement.RekorV2, now)
	v2.URL, v2.Origin = "https://two.example", "two.example"
	id := s.instance.Says(statement.CT, now).KeyID()
	oldV2 := rec.Keys[3].ID()
	rec, err := rec.Retire(oldV2, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	v1 := s.instance.Says(statement.RekorV1, now.Add(time.Minute)) // its next shard
	v1.Origin = "log.example - 8"
	rec, taken := s.record(rec, [][]byte{s.instance.State(t, s.instance.Says(statement.CA, now)), s.instance.State(t, v2), s.instance.State(t, v1)})
	r, err := ceremony.New(ceremony.Options{Instance: instanceID, Current: cur, Record: rec, Statements: taken, Lifetimes: tuf.Production(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	words, err := r.Words()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"root stays at version 1", "targets version 2, expire 2027-03-01T12:00:00Z",
		"  + CA key ", "  = CA key ", "  = TSA key ", hexOf("  = CT log key ", id),
		hexOf("  ~ transparency log key ", oldV2), "until 2026-03-01T13:00:00Z", hexOf("  + transparency log key ", v2.KeyID()), "rekor-v2, origin two.example",
		hexOf("  ~ transparency log key ", v1.KeyID()) + "\n      at https://log.example, from 2026-03-01T11:00:00Z\n      rekor-v1, origin log.example - 8\n      was\n      at https://log.example, from 2026-03-01T11:00:00Z\n      rekor-v1, origin log.example - 7\n",
		"  = CA https://log.example, from 2026-03-01T11:00:00Z", "  + CA https://log.example, from 2026-03-01T11:30:00Z", "  + log https://two.example", "  - log https://log.example", "  ~ trusted_root.json ", "  = ctfe.pub ",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if t.Failed() {
		t.Log(words)
	}
}

func hexOf(prefix string, id [32]byte) string {
	const digits = "0123456789abcdef"
	for _, b := range id {
		prefix += string(digits[b>>4]) + string(digits[b&15])
	}
	return prefix
}
