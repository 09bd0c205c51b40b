//go:build postgres

package main

import (
	"strings"
	"testing"
)

// TestTrustAdoptServed: with a configuration it is a request, and who signs it is told that nobody has shown to have the
// keys.
func TestTrustAdoptServed(t *testing.T) {
	s, old := newCeremonySite(t), older(t)
	s.init("first.json")
	s.publish("first.json")
	args := append([]string{"trust", "adopt", "--until", "now", "--out", "adopt.json", "--config", "sigbox.yaml"}, adoption(old)...)
	s.ok("", args...)
	s.refused("is there already", "", args...)
	if words := s.ok("", "tuf", "status", "adopt.json"); strings.Count(words, "nobody has shown to have its key") != 4 || !strings.Contains(words, "targets: 0 of 2 signatures") {
		t.Errorf("what signers see:\n%s", words)
	}
	s.publishBy("adopt.json", "alice", "bob")
	if out := s.ok("", "tuf", "status"); strings.Count(out, "adopted, until") != 4 || strings.Count(out, "in use") != 5 {
		t.Errorf("status: %s", out)
	}
	if out := s.ok("", "trust", "keys", "--config", "sigbox.yaml"); strings.Count(out, "adopted, verifies only") != 3 || strings.Count(out, "adopted, signs elsewhere") != 1 {
		t.Errorf("trust keys: %s", out)
	}
}
