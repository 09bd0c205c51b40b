//go:build postgres

package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf/ceremony"
	"github.com/sigbox/sigbox/tuf/statement"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// ceremonySite is the machine of tuf, and those of signers, which share nothing with it or with each
// other but the request file that is copied between them.
type ceremonySite struct {
	t        *testing.T
	dir      string // of tuf
	config   string
	signers  map[string]string // directories by name
	instance *tuftest.Instance
}

const ceremonyInstance = "00112233445566778899aabbccddeeff"

func newCeremonySite(t *testing.T) *ceremonySite {
	t.Helper()
	server := pgtest.Shared(t)
	database := server.Database(t)
	user := fmt.Sprintf("tuf%d", time.Now().UnixNano())
	server.Exec(t, "postgres", "CREATE ROLE "+user+" LOGIN")
	t.Cleanup(func() { server.Exec(t, "postgres", "DROP ROLE "+user) })
	s := &ceremonySite{t: t, dir: t.TempDir(), signers: map[string]string{}}
	s.config = filepath.Join(s.dir, "sigbox.yaml")
	write(t, s.config, fmt.Sprintf("public_url: https://sigstore.example.com\ninstance: %s\ntuf:\n  snapshot_key: snapshot.key\n  timestamp_key: timestamp.key\n  mirror: mirror\n"+
		"  database: {url: %q, migrate_url: %q}\n", ceremonyInstance, strings.Replace(server.URL(database), "user=postgres", "user="+user, 1), server.URL(database)))
	for _, role := range []string{"snapshot", "timestamp"} {
		if err := keys.Save(filepath.Join(s.dir, role+".key"), tuftest.Key(t)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"alice", "bob", "carol"} {
		s.signers[name] = t.TempDir()
		s.ok(name, "tuf", "key", "--out", "my.key")
	}
	s.ok("", "migrate", "--config", "sigbox.yaml")
	s.instance = tuftest.NewInstance(t, ceremonyInstance, "https://sigstore.example.com", time.Now())
	for i, raw := range s.instance.Statements(t, time.Now()) {
		s.statement(fmt.Sprintf("statements/%d.json", i), raw)
	}
	return s
}

func (s *ceremonySite) statement(name string, raw []byte) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	write(s.t, path, string(raw)+"\n")
}

// at runs sigbox on the machine of a signer, "" for that of tuf.
func (s *ceremonySite) at(who, input string, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	cmd := sigbox(s.t, args...)
	cmd.Dir, cmd.Stdin = s.dir, strings.NewReader(input)
	if who != "" {
		cmd.Dir = s.signers[who]
	}
	return finish(s.t, cmd)
}

func (s *ceremonySite) ok(who string, args ...string) string {
	s.t.Helper()
	stdout, stderr, code := s.at(who, "", args...)
	if code != 0 {
		s.t.Fatalf("%s: sigbox %s: exit code %d\n%s%s", who, strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

func (s *ceremonySite) refused(want, who string, args ...string) {
	s.t.Helper()
	stdout, stderr, code := s.at(who, "", args...)
	if code == 0 || !strings.Contains(stderr, want) {
		s.t.Errorf("%s: sigbox %s: exit code %d, want a refusal that says %q\n%s%s", who, strings.Join(args, " "), code, want, stdout, stderr)
	}
}

// pass copies a file from one machine to another, as a stick does.
func (s *ceremonySite) pass(from, to, name string) {
	s.t.Helper()
	dir := func(who string) string {
		if who == "" {
			return s.dir
		}
		return s.signers[who]
	}
	raw, err := os.ReadFile(filepath.Join(dir(from), name))
	if err != nil {
		s.t.Fatal(err)
	}
	write(s.t, filepath.Join(dir(to), filepath.Base(name)), string(raw))
}

var requestID = regexp.MustCompile(`request +([0-9a-f]{64})`)

// sign has a signer look and type the id.
func (s *ceremonySite) sign(who, file string, copies ...string) string {
	s.t.Helper()
	status := s.ok(who, append([]string{"tuf", "status", file}, copies...)...)
	id := requestID.FindStringSubmatch(status)
	if id == nil {
		s.t.Fatalf("no id in %s", status)
	}
	stdout, stderr, code := s.at(who, id[1][:8]+"\n", append(append([]string{"tuf", "sign", file}, copies...), "--key", "my.key")...)
	if code != 0 {
		s.t.Fatalf("%s: sign: exit code %d\n%s%s", who, code, stdout, stderr)
	}
	return stdout
}

// signers are the flags that name the keys of three people for a role.
func (s *ceremonySite) keyFlags(role string, who ...string) (flags []string) {
	for _, name := range who {
		s.pass(name, "", "my.key.pub")
		if err := os.Rename(filepath.Join(s.dir, "my.key.pub"), filepath.Join(s.dir, name+".pub")); err != nil {
			s.t.Fatal(err)
		}
		flags = append(flags, "--"+role+"-key", name+".pub")
	}
	return flags
}

func (s *ceremonySite) init(file string) string {
	s.t.Helper()
	args := append([]string{"tuf", "init", "--statements", "statements", "--out", file}, s.keyFlags("root", "alice", "bob", "carol")...)
	return s.ok("", append(args, s.keyFlags("targets", "alice", "bob", "carol")...)...)
}

// TestCeremony holds a first ceremony of 2 of 3, one that takes in a new authority, and one that
// replaces a signer, each on machines that share the request file only. Between any two commands
// nothing runs and nothing is kept but that file: each step is also where it was interrupted.
func TestCeremony(t *testing.T) {
	s := newCeremonySite(t)
	if out := s.init("first.json"); !strings.Contains(out, "root: 0 of 2 signatures") {
		t.Errorf("init: %s", out)
	}
	s.refused("is there already", "", "tuf", "init", "--out", "first.json", "--root-key", "alice.pub", "--targets-key", "alice.pub")
	s.refused("root has 0 of 2", "", "tuf", "publish", "first.json")
	s.pass("", "alice", "first.json")
	if out := s.sign("alice", "first.json"); !strings.Contains(out, "signed root and targets") || !strings.Contains(out, "+ CA key") {
		t.Errorf("sign: %s", out)
	}
	s.refused("has signed this request already", "alice", "tuf", "sign", "first.json", "--key", "my.key", "--approve", s.id("alice", "first.json"))
	s.pass("alice", "", "first.json")
	s.refused("root has 1 of 2", "", "tuf", "publish", "first.json")
	s.pass("alice", "bob", "first.json")
	if out := s.sign("bob", "first.json"); !strings.Contains(out, "next: sigbox tuf publish") {
		t.Errorf("sign: %s", out)
	}
	s.pass("bob", "", "first.json")
	s.refused("not published", "", "tuf", "publish", "first.json")
	s.refused("not published", "", "tuf", "publish", s.swapped(), "--approve", s.id("", "first.json"))
	if out := s.ok("", "tuf", "publish", "first.json", "--approve", s.id("", "first.json")[:16]); !strings.Contains(out, "root version 1, targets version 1") ||
		!strings.Contains(out, "root: 2 of 3 keys must sign") {
		t.Errorf("publish: %s", out)
	}
	if out := s.ok("", "tuf", "publish", "first.json"); !strings.Contains(out, "published already") {
		t.Errorf("publish again: %s", out)
	}
	if out := s.ok("", "tuf", "status"); strings.Count(out, "in use") != 5 || !strings.Contains(out, "targets   version 1") {
		t.Errorf("status: %s", out)
	}
	s.transcript("first.json")
	s.refused("there is a set already", "", "tuf", "init", "--out", "again.json", "--root-key", "alice.pub", "--targets-key", "alice.pub")
	s.newAuthority()
	s.stray()
	s.replaceSigner()
	s.refused("another set was published", "", "tuf", "publish", "first.json")
	if _, err := os.Stat(filepath.Join(s.dir, "mirror")); err == nil {
		t.Error("a command has written the mirror, which is serve's")
	}
}

// transcript wants the request that was published to be kept, with the approvals of those who signed.
func (s *ceremonySite) transcript(published string) {
	s.t.Helper()
	s.refused("is there already", "", "tuf", "status", "--transcript", published)
	s.refused("name no request", "", "tuf", "status", "--transcript", "kept.json", published)
	s.ok("", "tuf", "status", "--transcript", "kept.json")
	kept, err := os.ReadFile(filepath.Join(s.dir, "kept.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	was, err := os.ReadFile(filepath.Join(s.dir, published))
	if err != nil || !bytes.Equal(kept, was) {
		s.t.Errorf("what is kept is not what was published (%v)", err)
	}
	if out := s.ok("", "tuf", "status", "kept.json"); !strings.Contains(out, "root: 2 of 2 signatures") || strings.Count(out, "  signed  ") != 4 {
		s.t.Errorf("the transcript: %s", out)
	}
}

// swapped is a first request that whoever carried the file made, and signed with keys of their own.
func (s *ceremonySite) swapped() (file string) {
	s.t.Helper()
	s.signers["mallory"] = s.t.TempDir()
	s.ok("mallory", "tuf", "key", "--out", "my.key")
	args := append([]string{"tuf", "init", "--statements", "statements", "--out", "swapped.json"}, s.keyFlags("root", "mallory")...)
	s.ok("", append(args, s.keyFlags("targets", "mallory")...)...)
	s.pass("", "mallory", "swapped.json")
	s.sign("mallory", "swapped.json")
	s.pass("mallory", "", "swapped.json")
	return "swapped.json"
}

func (s *ceremonySite) id(who, file string) string {
	s.t.Helper()
	return requestID.FindStringSubmatch(s.ok(who, "tuf", "status", file))[1]
}

// newAuthority: a new CA's statement comes over a connection, two people sign copies at the same time,
// and publish puts them together.
func (s *ceremonySite) newAuthority() {
	t := s.t
	s.refused("nothing to sign", "", "tuf", "request", "--out", "none.json")
	s.instance.NewCA(t, time.Now())
	s.receive("ca", s.instance.State(t, s.instance.Says(statement.CA, time.Now())))
	if out := s.ok("", "tuf", "status"); !strings.Contains(out, "waits, brought by ca") {
		t.Errorf("status: %s", out)
	}
	s.ok("", "tuf", "request", "--out", "second.json")
	for _, who := range []string{"bob", "carol"} {
		s.pass("", who, "second.json")
		write(t, filepath.Join(s.signers[who], "root.json"), s.root())
		id := s.id(who, "second.json")
		s.refused("made this one up", who, "tuf", "sign", "second.json", "--key", "my.key", "--root", "my.key.pub", "--approve", id)
		if out := s.ok(who, "tuf", "sign", "second.json", "--key", "my.key", "--root", "root.json", "--approve", id); strings.Count(out, "\n  + CA key") != 1 || strings.Count(out, "\n  = CA key") != 1 || !strings.Contains(out, "root stays at version 1") {
			t.Errorf("sign: %s", out)
		}
		if err := os.Rename(filepath.Join(s.signers[who], "second.json"), filepath.Join(s.signers[who], who+".json")); err != nil {
			t.Fatal(err)
		}
		s.pass(who, "", who+".json")
	}
	s.refused("targets has 1 of 2", "", "tuf", "publish", "bob.json")
	if out := s.ok("", "tuf", "publish", "bob.json", "carol.json"); !strings.Contains(out, "root version 1, targets version 2") {
		t.Errorf("publish: %s", out)
	}
}

// stray: a tlog with a wrong configuration has said that a second CT log is at the address of the first.
// A ceremony goes on without it.
func (s *ceremonySite) stray() {
	t := s.t
	said := s.instance.Says(statement.CT, time.Now())
	ct := s.instance.Keys[statement.CT]
	s.instance.Keys[statement.CT] = tuftest.Key(t)
	said.Key, said.Origin = s.instance.Keys[statement.CT].Public(), "wrong.example/ct"
	s.receive("tlog", s.instance.State(t, said))
	s.instance.Keys[statement.CT] = ct
	id := fmt.Sprintf("%x", said.KeyID())
	s.refused("--without "+id, "", "tuf", "request", "--out", "stray.json")
	s.refused("nothing to sign", "", "tuf", "request", "--without", id, "--out", "stray.json")
	s.refused("nothing of key", "", "tuf", "request", "--without", strings.Repeat("0", 64), "--out", "stray.json")
	s.refused("want the 64 hex digits", "", "tuf", "request", "--without", id[:8], "--out", "stray.json")
	s.ok("", "tuf", "request", "--without", id, "--renew-targets", "--out", "stray.json")
	if out := s.ok("", "tuf", "status", "stray.json"); strings.Contains(out, id) || !strings.Contains(out, "targets version 3") {
		t.Errorf("status: %s", out)
	}
	if out := s.ok("", "tuf", "status"); strings.Count(out, "waits, brought by tlog") != 1 {
		t.Errorf("status: %s", out)
	}
}

// root is the root that everybody knows.
func (s *ceremonySite) root() (root string) {
	s.t.Helper()
	s.repository(func(repo *stack.TUFRepo) {
		cur, _, err := repo.Current(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		root = string(cur.Roots[len(cur.Roots)-1].Bytes)
	})
	return root
}

// receive is what tuf does with a statement that a peer has sent.
func (s *ceremonySite) receive(sender string, raw []byte) {
	s.t.Helper()
	s.repository(func(repo *stack.TUFRepo) {
		out, err := repo.Receive(s.t.Context(), sender, [][]byte{raw})
		if err != nil || len(out) != 1 || !out[0].New {
			s.t.Fatalf("%+v, %v", out, err)
		}
	})
}

func (s *ceremonySite) repository(do func(*stack.TUFRepo)) {
	s.t.Helper()
	cfg, err := config.Load(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	repo, err := stack.OpenTUF(s.t.Context(), cfg, clock.System{}, slog.New(slog.DiscardHandler))
	if err != nil {
		s.t.Fatal(err)
	}
	defer repo.Close()
	do(repo)
}

// waits is the id of the one key of which something waits.
func (s *ceremonySite) waits() string {
	s.t.Helper()
	for line := range strings.Lines(s.ok("", "tuf", "status")) {
		if strings.Contains(line, "waits, brought by") {
			return strings.Fields(line)[1]
		}
	}
	s.t.Fatal("nothing waits")
	return ""
}

// replaceSigner: carol has lost her key; dave's takes its place. Root 2 needs two of the old keys and
// two of the new.
func (s *ceremonySite) replaceSigner() {
	t := s.t
	s.signers["dave"] = t.TempDir()
	s.ok("dave", "tuf", "key", "--out", "my.key")
	args := append([]string{"tuf", "request", "--without", s.waits(), "--out", "third.json"}, s.keyFlags("root", "alice", "bob", "dave")...)
	s.ok("", append(args, s.keyFlags("targets", "alice", "bob", "dave")...)...)
	s.pass("", "dave", "third.json")
	s.sign("dave", "third.json")
	s.pass("dave", "alice", "third.json")
	s.sign("alice", "third.json")
	s.pass("alice", "", "third.json")
	s.refused("root, by the keys of version 1 has 1 of 2", "", "tuf", "publish", "third.json")
	s.pass("alice", "bob", "third.json")
	s.sign("bob", "third.json")
	s.pass("bob", "", "third.json")
	if out := s.ok("", "tuf", "publish", "third.json"); !strings.Contains(out, "root version 2") {
		t.Errorf("publish: %s", out)
	}
}

// TestCeremonyRefusals: what the commands refuse, with the reason.
func TestCeremonyRefusals(t *testing.T) {
	s := newCeremonySite(t)
	s.init("first.json")
	s.pass("", "alice", "first.json")
	s.refused("not signed", "alice", "tuf", "sign", "first.json", "--key", "my.key", "--approve", "0000000000")
	s.refused("not signed", "alice", "tuf", "sign", "first.json", "--key", "my.key")
	s.refused("follows no set", "alice", "tuf", "sign", "first.json", "--key", "my.key", "--root", "my.key.pub")
	s.refused("has no part in this request", "", "tuf", "sign", "first.json", "--key", "snapshot.key", "--approve", s.id("", "first.json"))
	s.refused("private key", "", "tuf", "init", "--out", "x.json", "--root-key", "snapshot.key", "--targets-key", "alice.pub")
	s.refused("needs signers", "", "tuf", "init", "--out", "x.json", "--root-key", "alice.pub")
	s.refused("there is no set yet", "", "tuf", "request", "--out", "x.json")
	s.refused("there is no transcript", "", "tuf", "status", "--transcript", "x.json")
	s.refused("is there already", "alice", "tuf", "key", "--out", "my.key")
	s.refused("no such file", "alice", "tuf", "sign", "none.json", "--key", "my.key")
	s.refused("is not a file", "alice", "tuf", "status", ".")
	if err := os.Chmod(filepath.Join(s.signers["bob"], "my.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.pass("", "bob", "first.json")
	s.refused("chmod 600", "bob", "tuf", "sign", "first.json", "--key", "my.key", "--approve", s.id("bob", "first.json"))
	write(t, filepath.Join(s.dir, "broken.json"), "{")
	s.refused("not a request file", "", "tuf", "publish", "broken.json")
	raw, err := os.ReadFile(filepath.Join(s.dir, "first.json"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.dir, "other.json"), string(bytes.Replace(raw, []byte(ceremonyInstance), []byte("ffeeddccbbaa99887766554433221100"), 1)))
	s.refused("another instance", "", "tuf", "status", "other.json")
	r, err := ceremony.Parse(raw)
	if err != nil || r.Complete() {
		t.Errorf("a request that was refused has changed: %v", err)
	}
}
