//go:build postgres

package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/sigbox/sigbox/ca/pki"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tsa"
	tsaweb "github.com/sigbox/sigbox/tsa/web"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/statement"
)

// withAuthorities gives the machine of tuf a certificate and a timestamp authority below an offline root, and
// the first set their keys.
func (s *ceremonySite) withAuthorities(addr string) {
	t := s.t
	s.replaceConfig("tuf:\n", "ca:\n  public_url: http://"+addr+"\n  key: ca.key\n  chain: ca-chain.pem\n  issuers: issuers.yaml\n  database: {url: \"user=nobody\"}\n"+
		"  ct: {address: \"127.0.0.1:1\", key: ct.pub}\n  peers: {certificate: peer.pem, key: peer.key, authorities: peer.pem}\n"+
		"  tsa: {key: tsa.key, chain: tsa-chain.pem}\ntuf:\n")
	write(t, filepath.Join(s.dir, "issuers.yaml"), "oidc-issuers:\n  https://idp.example.com:\n    issuer-url: https://idp.example.com\n    client-id: sigstore\n    type: email\n")
	s.ok("", "ca", "root", "--out", "offline", "--organization", "Example")
	for _, a := range []string{"ca", "tsa"} {
		s.ok("", "ca", "key", "--out", a+".key")
	}
	for _, a := range []string{"ca", "tsa"} {
		s.ok("", "ca", "csr", "--key", a+".key", "--for", a, "--organization", "Example", "--out", a+".csr")
		s.ok("", "ca", "sign-csr", a+".csr", "--root", "offline", "--out", a+"-answer.pem")
		s.ok("", "ca", "install-chain", a+"-answer.pem", "--config", "sigbox.yaml")
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "statements", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files { // those of the authorities that it was made with
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if said, err := statement.Open([]byte(strings.TrimSpace(string(raw)))); err != nil || !said.Role.Log() {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	cfg, err := config.Load(s.config)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := stack.Issuers(cfg)
	if err != nil {
		t.Fatal(err)
	}
	list, err := stack.CAStatements(cfg, trusted, clock.System{}.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := stack.WriteStatements(filepath.Join(s.dir, "statements"), list); err != nil {
		t.Fatal(err)
	}
	s.init("first.json")
	s.publish("first.json")
}

// publish has two of three sign a request, and publishes it.
func (s *ceremonySite) publish(file string) {
	s.t.Helper()
	at := ""
	for _, who := range []string{"alice", "bob"} {
		s.pass(at, who, file)
		s.sign(who, file)
		at = who
	}
	s.pass(at, "", file)
	s.ok("", "tuf", "publish", file, "--approve", s.id("", file)[:16])
}

func (s *ceremonySite) replaceConfig(old, now string) {
	s.t.Helper()
	raw, err := os.ReadFile(s.config)
	if err != nil || strings.Count(string(raw), old) != 1 {
		s.t.Fatalf("%v: %q is not there once in\n%s", err, old, raw)
	}
	write(s.t, s.config, strings.Replace(string(raw), old, now, 1))
}

// stops runs sigbox rotate, which must stop for others, and say what they have to do.
func (s *ceremonySite) stops(want string, args ...string) {
	s.t.Helper()
	stdout, stderr, code := s.at("", "", append([]string{"rotate"}, append(args, "--config", "sigbox.yaml")...)...)
	if code != exitWaiting || !strings.Contains(stdout, want) {
		s.t.Fatalf("rotate %v: exit code %d, want %d and %q\n%s%s", args, code, exitWaiting, want, stdout, stderr)
	}
}

// killedIn runs sigbox rotate, which dies, as by kill -9, after a step.
func (s *ceremonySite) killedIn(want string, args ...string) {
	s.t.Helper()
	twice(s.t, s.dir, func() {
		if out := s.killed(1, args...); !strings.Contains(out, want) {
			s.t.Fatalf("%v, killed: %s, want %q", args, out, want)
		}
	})
}

// twice has a rotation of an instance die after a step that it has written down, and again with the journal of
// before: the step done and not written down.
func twice(t *testing.T, dir string, dies func()) {
	t.Helper()
	journal := filepath.Join(dir, "rotations.json")
	before, err := os.ReadFile(journal)
	for range 2 {
		if err == nil {
			write(t, journal, string(before))
		} else if err := os.Remove(journal); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		dies()
	}
}

// TestRotateServed rotates the key of timestamps of a configuration, and those of TUF roles: the command stops
// where a PKI, the holders of offline keys and who restarts replicas have something to do, hands out the file,
// and sees whether it was done. It is killed in every step, and goes back and forth.
func TestRotateServed(t *testing.T) {
	s := newCeremonySite(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s.withAuthorities(ln.Addr().String())

	on := []string{"tsa", "--resume", "--yes", "--soak", "0s"}
	for component, steps := range map[string]int{"ca-intermediate": 5, "ca-root": 5, "tsa": 5, "tuf-timestamp": 3, "tuf-snapshot": 3} {
		if out := s.ok("", "rotate", component, "--dry-run", "--config", "sigbox.yaml"); strings.Count(out, "to do: ") != steps {
			t.Errorf("%s --dry-run: %s", component, out)
		}
	}
	s.killedIn("begun", "tsa", "--yes")
	s.stops("tsa-2.csr answered", "tsa", "--resume", "--yes")
	s.stops("tsa-2.csr answered", "tsa", "--resume", "--yes")
	s.ok("", "ca", "sign-csr", "tsa-2.csr", "--root", "offline", "--out", "answer.pem")
	s.killedIn("made tsa 2", "tsa", "--resume", "--yes", "--chain", "answer.pem")
	s.stops("tsa-2-publish.json", "tsa", "--resume", "--yes")
	s.publish("tsa-2-publish.json")
	s.killedIn("published tsa 2", on...)
	s.refused("clients have until", "", "rotate", "tsa", "--resume", "--yes", "--config", "sigbox.yaml")
	s.stops("ca.tsa.key: ", on...)
	first, second := "{key: tsa.key, chain: tsa-chain.pem}", "{key: tsa-2.key, chain: tsa-chain-2.pem}"
	s.replaceConfig(first, second)
	serve := func(key, chain string, do func()) {
		again, err := net.Listen("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		serveTSA(t, again, filepath.Join(s.dir, key), filepath.Join(s.dir, chain), do)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	serve("tsa.key", "tsa-chain.pem", func() { s.stops("shows the chain of before", on...) })
	serve("tsa-2.key", "tsa-chain-2.pem", func() {
		s.killedIn("switched", on...)
		s.stops("ca.tsa.key: "+filepath.Join(s.dir, "tsa.key"), "tsa", "--undo")
		s.replaceConfig(second, first)
		s.stops("shows the chain of before", "tsa", "--undo")
	})
	serve("tsa.key", "tsa-chain.pem", func() { s.killedIn("went back: tsa 1 signs", "tsa", "--undo") })
	s.replaceConfig(first, second)
	serve("tsa-2.key", "tsa-chain-2.pem", func() { s.stops("tsa-1-retire.json", on...) })
	s.publish("tsa-1-retire.json")
	s.killedIn("retired tsa 1", "tsa", "--resume", "--yes")
	s.refused("no rotation of tsa is under way", "", "rotate", "tsa", "--resume", "--yes", "--config", "sigbox.yaml")
	if out := s.ok("", "tuf", "status"); strings.Count(out, "in use") != 5 || strings.Count(out, "  retired 20") != 1 {
		t.Errorf("status: %s", out)
	}

	s.nameMirror()
	for _, role := range []string{"timestamp", "snapshot"} {
		s.rotateRole(role)
	}
	s.rotateRoot()
	s.refused("has no key of ct", "", "rotate", "ct", "--yes", "--config", "sigbox.yaml") // tlog is elsewhere
}

// nameMirror has the root name the keys of a mirror behind an air gap beside the own ones.
func (s *ceremonySite) nameMirror() {
	write(s.t, filepath.Join(s.dir, "root.json"), s.root())
	s.ok("", "mirror", "init", "--root", "root.json", "--data", "inside")
	s.ok("", "tuf", "request", "--mirror-snapshot-key", "inside/snapshot.key.pub", "--mirror-timestamp-key", "inside/timestamp.key.pub", "--out", "named.json")
	s.publish("named.json")
}

// rotateRole rotates the key of a TUF role, beside which the root names that of a mirror.
func (s *ceremonySite) rotateRole(role string) {
	t, component := s.t, "tuf-"+role
	request, on := component+"-2-root.json", []string{component, "--resume", "--yes"}
	s.killedIn("begun", component, "--yes")
	s.killedIn("made", on...)
	s.killedIn("ready", on...)
	s.stops(request, on...)
	s.stops(request, on...)
	s.replaceConfig(role+"_key: "+role+".key", role+"_key: "+role+"-2.key")
	s.refused("--no-mirrors", "", append([]string{"tuf", "request", "--out", "mirrors.json"}, s.keyFlags("root", "alice", "bob")...)...)
	known := s.root()
	s.publish(request)
	s.midway(known)
	s.killedIn("switched", on...)
	if out := s.ok("", "rotate", component, "--resume", "--yes", "--config", "sigbox.yaml"); !strings.Contains(out, "done") {
		t.Errorf("%s: %s", component, out)
	}
	if named, err := tuf.SignersOf([]byte(s.root())); err != nil || len(named.Timestamp.Keys) != 2 || len(named.Snapshot.Keys) != 2 {
		t.Errorf("the root does not name the mirror beside the own keys: %+v, %v", named, err)
	}
}

// midway is a client that had looked for a root after this one just before one was published: it verifies what came
// with that.
func (s *ceremonySite) midway(root string) {
	s.t.Helper()
	var set tuf.Release
	s.repository(func(repo *stack.TUFRepo) {
		var err error
		if set, _, err = repo.Current(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	})
	if s.root() == root {
		s.t.Error("no root was published")
	}
	tm, err := trustedmetadata.New([]byte(root))
	if err == nil {
		_, err = tm.UpdateTimestamp(set.Timestamp.Bytes)
	}
	if err == nil {
		_, err = tm.UpdateSnapshot(set.Snapshot.Bytes, false)
	}
	if err != nil {
		s.t.Errorf("a client with the root of before: %v", err)
	}
}

// rotateRoot has a new root of the certificate authority made and published, and goes back before it is used.
func (s *ceremonySite) rotateRoot() {
	s.stops("ca-root-2.csr answered: below a new root", "ca-root", "--yes")
	s.ok("", "ca", "sign-csr", "ca-root-2.csr", "--root", "offline", "--out", "same-root.pem")
	s.refused("below the root that is to be replaced", "", "rotate", "ca-root", "--resume", "--yes", "--chain", "same-root.pem", "--config", "sigbox.yaml")
	s.ok("", "ca", "root", "--out", "next", "--organization", "Example")
	s.ok("", "ca", "sign-csr", "tsa-2.csr", "--root", "next", "--out", "other-key.pem")
	s.refused("is not for the key", "", "rotate", "ca-root", "--resume", "--yes", "--chain", "other-key.pem", "--config", "sigbox.yaml")
	s.ok("", "ca", "sign-csr", "ca-root-2.csr", "--root", "next", "--out", "next-root.pem")
	s.stops("ca-root-2-publish.json", "ca-root", "--resume", "--yes", "--chain", "next-root.pem")
	s.publish("ca-root-2-publish.json")
	s.stops("ca.key: ", "ca-root", "--resume", "--yes", "--soak", "0s")
	s.stops("ca-root-2-retire.json", "ca-root", "--undo")
	s.publish("ca-root-2-retire.json")
	if out := s.ok("", "rotate", "ca-root", "--undo", "--config", "sigbox.yaml"); !strings.Contains(out, "ca-root 1 signs, and there is no rotation any more") {
		s.t.Errorf("the way back: %s", out)
	}
}

// serveTSA serves a timestamp authority while do runs.
func serveTSA(t *testing.T, ln net.Listener, keyFile, chainFile string, do func()) {
	t.Helper()
	key, err := keys.Load(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(chainFile)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := pki.ParseChain(raw)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := tsa.New(tsa.Config{Key: key, Chain: chain, Clock: clock.System{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	tsaweb.New(authority, nil, nil).Register(mux)
	server := httptest.NewUnstartedServer(mux)
	_ = server.Listener.Close()
	server.Listener = ln
	server.Start()
	defer server.Close()
	do()
}
