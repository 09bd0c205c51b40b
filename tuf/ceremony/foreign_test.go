package ceremony_test

import (
	"strings"
	"testing"

	"github.com/sigbox/sigbox/tuf/ceremony"
	"github.com/sigbox/sigbox/tuf/foreign"
	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// TestForeign: signers read what the root of another instance makes clients trust, and none that goes back
// gets to them.
func TestForeign(t *testing.T) {
	s := newSite(t)
	s.publish(s.sign(s.first(), s.root[0], s.root[1], s.targets[0], s.targets[1]))
	file := func(url string) (raw []byte) {
		for _, target := range tuftest.Compose(t, tuftest.Material(t, url, now)) {
			if target.Name == trustroot.TrustedRootName {
				raw = target.Content
			}
		}
		return raw
	}
	acme, err := foreign.FromFile("acme", file("https://acme.example"), []string{"https://login.acme.example"}, now, now.AddDate(0, 3, 0))
	if err != nil {
		t.Fatal(err)
	}
	r := s.ask(nil, func(o *ceremony.Options) {
		if o.Record, err = o.Record.WithForeign(acme); err != nil {
			t.Fatal(err)
		}
	})
	words, err := r.Words()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"trust roots of others, served beside this one", "+ foreign root acme, good until 2026-06-01T12:00:00Z", "  acme: CA key ", "at https://acme.example, from",
		"  acme: takes tokens of https://login.acme.example", "+ acme.trusted_root.json", "+ foreign_roots.json",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("the words lack %q:\n%s", want, words)
		}
	}
	s.publish(s.sign(carry(t, r), s.targets[0], s.targets[1]))
	if f, ok := s.repo.Published().Target("acme.trusted_root.json"); !ok || string(f.Bytes) != string(acme.Content) {
		t.Error("it is not published as it was taken")
	}
	// Somebody prepares a request that puts another instance under the name.
	other := acme
	other.Content = file("https://other.example")
	cur, rec := s.current()
	rec.Foreign = []foreign.Root{other}
	_, err = ceremony.New(ceremony.Options{Instance: rec.Instance, Current: cur, Record: rec, Now: now})
	if err == nil || !strings.Contains(err.Error(), "the file lacks the") {
		t.Errorf("another instance under the name: %v", err)
	}
}
