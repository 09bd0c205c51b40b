//go:build postgres

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/tuf"
)

// publishBy has these people sign a request, one after the other, and publishes it.
func (s *ceremonySite) publishBy(file string, who ...string) {
	s.t.Helper()
	at := ""
	for _, name := range who {
		s.pass(at, name, file)
		s.sign(name, file)
		at = name
	}
	s.pass(at, "", file)
	s.ok("", "tuf", "publish", file)
}

// join gives somebody a machine and a key.
func (s *ceremonySite) join(names ...string) {
	s.t.Helper()
	for _, name := range names {
		s.signers[name] = s.t.TempDir()
		s.ok(name, "tuf", "key", "--out", "my.key")
	}
}

// newKeys are the flags that name who is to sign.
func (s *ceremonySite) newKeys(who ...string) (flags []string) {
	for _, f := range s.keyFlags("x", who...) {
		flags = append(flags, strings.Replace(f, "--x-key", "--key", 1))
	}
	return flags
}

// killed runs sigbox rotate, which dies, as by kill -9, after it has written down and said a number of steps.
func (s *ceremonySite) killed(line int, args ...string) (stdout string) {
	s.t.Helper()
	cmd := sigbox(s.t, append(append([]string{"rotate"}, args...), "--config", "sigbox.yaml")...)
	cmd.Dir = s.dir
	cmd.Env = append(cmd.Env, fmt.Sprint("SIGBOX_TEST_DIE_AT=", line))
	out, stderr, code := finish(s.t, cmd)
	if code != -1 || strings.Count(out, "\n") != line {
		s.t.Fatalf("%v, killed at line %d: %d\n%s%s", args, line, code, out, stderr)
	}
	return out
}

// named says whether a role of the root that is published has these many keys, and this threshold.
func (s *ceremonySite) named(role string, n, threshold int) {
	s.t.Helper()
	all, err := tuf.SignersOf([]byte(s.root()))
	if err != nil {
		s.t.Fatal(err)
	}
	if of := map[string]tuf.Signers{tuf.Root: all.Root, tuf.Targets: all.Targets}[role]; len(of.Keys) != n || of.Threshold != threshold {
		s.t.Errorf("%s: %d of %d keys, want %d of %d", role, of.Threshold, len(of.Keys), threshold, n)
	}
}

// TestRotatePeople replaces keys that people hold, of root and of targets: killed after each step that is written down it
// goes on, it goes back from each, and a root has enough signatures of both the old and the new holders.
func TestRotatePeople(t *testing.T) {
	s := newCeremonySite(t)
	s.init("first.json")
	s.publish("first.json")
	s.join("dave", "erin")
	for _, component := range []string{"tuf-root", "tuf-targets"} {
		role := strings.TrimPrefix(component, "tuf-")
		resume := []string{"rotate", component, "--resume", "--yes", "--config", "sigbox.yaml"}
		undo := []string{"rotate", component, "--undo", "--config", "sigbox.yaml"}
		if out := s.ok("", "rotate", component, "--dry-run", "--config", "sigbox.yaml"); strings.Count(out, "to do: ") != 3 {
			t.Errorf("--dry-run: %s", out)
		}
		s.refused("exactly these keys", "", append([]string{"rotate", component, "--yes", "--config", "sigbox.yaml"}, s.newKeys("carol", "bob", "alice")...)...)
		s.refused("name all keys", "", resume...)
		s.refused("threshold", "", append(resume, append(s.newKeys("alice"), "--threshold", "2")...)...)
		s.ok("", undo...) // number 2 is gone; numbers do not come back
		request := component + "-3-root.json"
		keys := s.newKeys("bob", "dave", "erin")
		s.killed(1, append([]string{component, "--yes"}, keys...)...)
		s.killed(1, append([]string{component, "--resume", "--yes"}, keys...)...)
		s.killed(1, component, "--resume", "--yes")
		s.stops(request, component, "--resume", "--yes")
		before, err := os.ReadFile(filepath.Join(s.dir, request))
		if err != nil {
			t.Fatal(err)
		}
		s.stops(request, component, "--resume", "--yes")
		if again, err := os.ReadFile(filepath.Join(s.dir, request)); err != nil || string(again) != string(before) {
			t.Errorf("%s is another one: what was signed is lost (%v)", request, err)
		}
		s.named(role, 3, 2)
		s.pass("", "alice", request)
		s.sign("alice", request)
		s.pass("alice", "", request)
		s.refused("too few signatures", "", "tuf", "publish", request)
		s.publishBy(request, "bob", "dave")
		s.killed(1, component, "--resume", "--yes")
		if out := s.ok("", append(resume, "--until", "switched")...); out != "" {
			t.Errorf("switched twice: %s", out)
		}
		// Back, and forth again: the holders of before sign too.
		s.stops(component+"-1-root.json", component, "--undo")
		s.publishBy(component+"-1-root.json", "alice", "bob", "dave")
		if out := s.ok("", undo...); !strings.Contains(out, "there is no rotation any more") {
			t.Errorf("the way back: %s", out)
		}
		s.stops(component+"-4-root.json", append([]string{component, "--yes"}, s.newKeys("alice", "bob", "dave")...)...)
		s.publishBy(component+"-4-root.json", "alice", "bob")
		if out := s.ok("", resume...); !strings.Contains(out, "switched") || !strings.Contains(out, "done") {
			t.Errorf("%s: %s", component, out)
		}
		s.named(role, 3, 2)
	}
	s.stops("tuf-root-5-root.json", append([]string{"tuf-root", "--yes"}, s.newKeys("alice", "bob", "carol")...)...)
	s.ok("", append([]string{"tuf", "request", "--root-threshold", "1", "--out", "other.json"}, s.keyFlags("root", "alice", "bob")...)...)
	s.publishBy("other.json", "alice", "bob")
	s.refused("neither the keys in", "", "rotate", "tuf-root", "--resume", "--yes", "--config", "sigbox.yaml")
	s.named(tuf.Root, 2, 1)
}
