//go:build postgres

package main

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

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

// TestRotateServed rotates the key of timestamps of a configuration, and that of a TUF role: the command stops
// where a PKI, the holders of offline keys and who restarts replicas have something to do, hands out the file,
// and sees whether it was done.
func TestRotateServed(t *testing.T) {
	s := newCeremonySite(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s.withAuthorities(ln.Addr().String())

	s.stops("tsa-2.csr answered", "tsa", "--yes")
	s.stops("tsa-2.csr answered", "tsa", "--resume", "--yes")
	s.ok("", "ca", "sign-csr", "tsa-2.csr", "--root", "offline", "--out", "answer.pem")
	s.stops("tsa-2-publish.json", "tsa", "--resume", "--yes", "--chain", "answer.pem")
	s.publish("tsa-2-publish.json")
	s.refused("clients have until", "", "rotate", "tsa", "--resume", "--yes", "--config", "sigbox.yaml")
	s.stops("ca.tsa.key: ", "tsa", "--resume", "--yes", "--soak", "0s")
	s.replaceConfig("{key: tsa.key, chain: tsa-chain.pem}", "{key: tsa-2.key, chain: tsa-chain-2.pem}")
	serveTSA(t, ln, filepath.Join(s.dir, "tsa.key"), filepath.Join(s.dir, "tsa-chain.pem"), func() {
		s.stops("shows the chain of before", "tsa", "--resume", "--yes", "--soak", "0s")
	})
	again, err := net.Listen("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	serveTSA(t, again, filepath.Join(s.dir, "tsa-2.key"), filepath.Join(s.dir, "tsa-chain-2.pem"), func() {
		s.stops("tsa-1-retire.json", "tsa", "--resume", "--yes", "--soak", "0s")
	})
	s.publish("tsa-1-retire.json")
	if out := s.ok("", "rotate", "tsa", "--resume", "--yes", "--config", "sigbox.yaml"); !strings.Contains(out, "retired tsa 1") {
		t.Errorf("the end: %s", out)
	}
	if out := s.ok("", "tuf", "status"); strings.Count(out, "in use") != 5 || strings.Count(out, "  retired 20") != 1 {
		t.Errorf("status: %s", out)
	}

	s.rotateRole()
	s.rotateRoot()
	s.refused("has no key of ct", "", "rotate", "ct", "--yes", "--config", "sigbox.yaml") // tlog is elsewhere
}

// rotateRole rotates the key of a TUF role, beside which the root names that of a mirror.
func (s *ceremonySite) rotateRole() {
	t := s.t
	write(t, filepath.Join(s.dir, "root.json"), s.root())
	s.ok("", "mirror", "init", "--root", "root.json", "--data", "inside")
	s.ok("", "tuf", "request", "--mirror-snapshot-key", "inside/snapshot.key.pub", "--mirror-timestamp-key", "inside/timestamp.key.pub", "--out", "named.json")
	s.publish("named.json")
	s.stops("tuf-timestamp-2-root.json", "tuf-timestamp", "--yes")
	s.stops("tuf-timestamp-2-root.json", "tuf-timestamp", "--resume", "--yes")
	s.replaceConfig("timestamp_key: timestamp.key", "timestamp_key: timestamp-2.key")
	s.refused("--no-mirrors", "", append([]string{"tuf", "request", "--out", "mirrors.json"}, s.keyFlags("root", "alice", "bob")...)...)
	s.publish("tuf-timestamp-2-root.json")
	if out := s.ok("", "rotate", "tuf-timestamp", "--resume", "--yes", "--config", "sigbox.yaml"); !strings.Contains(out, "switched") || !strings.Contains(out, "done") {
		t.Errorf("tuf-timestamp: %s", out)
	}
	if named, err := tuf.SignersOf([]byte(s.root())); err != nil || len(named.Timestamp.Keys) != 2 || len(named.Snapshot.Keys) != 2 {
		t.Errorf("the root does not name the mirror beside the own keys: %+v, %v", named, err)
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
