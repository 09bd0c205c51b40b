//go:build postgres

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// TestForeignRootCeremony: with offline keys a foreign root is asked for, read by those who sign, and published;
// then replaced, and let go. What is refused leaves no request.
func TestForeignRootCeremony(t *testing.T) {
	s := newCeremonySite(t)
	round := func(file string) (signed string) {
		t.Helper()
		for i, who := range []string{"alice", "bob"} {
			s.pass([]string{"", "alice"}[i], who, file)
			signed = s.sign(who, file)
		}
		s.pass("bob", "", file)
		status := s.ok("", "tuf", "status", file)
		s.ok("", "tuf", "publish", file, "--approve", requestID.FindStringSubmatch(status)[1])
		return signed
	}
	s.init("first.json")
	s.refused("there is no set yet", "", "trust", "add", "acme", "--file", s.trusted("acme.json"), "--config", "sigbox.yaml", "--out", "acme-request.json")
	round("first.json")
	add := []string{"trust", "add", "acme", "--file", "acme.json", "--issuer", "https://login.acme.example", "--config", "sigbox.yaml"}
	s.refused("[config out] are set they must all be set", "", add...)
	if out := s.ok("", append(add, "--out", "second.json")...); !strings.Contains(out, "targets: 0 of 2 signatures") || strings.Contains(out, "root:") {
		t.Errorf("add: %s", out)
	}
	s.refused("is there already", "", append(add, "--out", "second.json")...)
	words := round("second.json")
	for _, want := range []string{"+ foreign root acme, good until", "+   acme: CA key", "+   acme: takes tokens of https://login.acme.example", "= trusted_root.json"} {
		if !strings.Contains(words, want) {
			t.Errorf("what is shown to signers lacks %q:\n%s", want, words)
		}
	}
	if out, _, _ := s.at("", "", "expiry", "--config", "sigbox.yaml"); !strings.Contains(out, "sigbox trust refresh acme --file NEWER.json --out acme.json --config sigbox.yaml") {
		t.Errorf("expiry: %s", out)
	}
	again := []string{"trust", "refresh", "acme", "--config", "sigbox.yaml", "--out", "third.json", "--file"}
	s.refused("goes back", "", append(again, s.trusted("other.json"))...)
	if _, err := os.Stat(filepath.Join(s.dir, "third.json")); err == nil {
		t.Error("what was refused left a request")
	}
	s.ok("", append(again, "acme.json", "--good-for", "4800h")...)
	if words := round("third.json"); !strings.Contains(words, "~ foreign root acme, good until") || !strings.Contains(words, "=   acme: CA key") {
		t.Errorf("what is shown to signers:\n%s", words)
	}
	s.ok("", "trust", "remove", "acme", "--config", "sigbox.yaml", "--out", "fourth.json")
	if words := round("fourth.json"); !strings.Contains(words, "- foreign root acme") || !strings.Contains(words, "- foreign_roots.json") {
		t.Errorf("what is shown to signers:\n%s", words)
	}
}

// trusted writes the trust root of a new instance.
func (s *ceremonySite) trusted(name string) string {
	s.t.Helper()
	for _, target := range tuftest.Compose(s.t, tuftest.Material(s.t, "https://acme.example", time.Now())) {
		if target.Name == trustroot.TrustedRootName {
			write(s.t, filepath.Join(s.dir, name), string(target.Content))
		}
	}
	return name
}
