//go:build postgres && softhsm

package main

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/hsmtest"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tuf"
)

// onToken are the keys of a trio that sign while it serves, by what /readyz calls them.
var onToken = map[string]string{
	"key ca.key": "ca", "key ca.tsa.key": "tsa", "key of log ct": "ct", "key of log rekor-v1": "rekor-v1", "key of log rekor-v2": "rekor-v2",
	"key tuf.snapshot_key": "snapshot", "key tuf.timestamp_key": "timestamp",
}

// moveToToken moves the keys of a trio to a token: their files name them from then on.
func (s *trio) moveToToken(t *testing.T, h *hsmtest.HSM) {
	t.Helper()
	for _, name := range onToken {
		file := filepath.Join(s.dir, name+".pem")
		before, err := keys.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		h.Import(t, file, name)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		stdout, stderr, code := run(t, "key", "token", h.URI(name), "--out", file)
		if code != 0 || !strings.Contains(stdout, `key "`+name+`" is on the token "sigbox", and signs`) {
			t.Fatalf("key token: %d\n%s%s", code, stdout, stderr)
		}
		if pub, err := keys.LoadPublic(file + ".pub"); err != nil || !keys.Equal(pub, before.Public()) {
			t.Fatalf("%s.pub is another key (%v)", file, err)
		}
	}
}

// TestServeOnToken (B-082): all services with every key that signs on a real token. They issue, stamp, log and publish;
// when the token dies they say so, sign nothing and go on reading; when it comes back they go on by themselves.
func TestServeOnToken(t *testing.T) {
	h := hsmtest.New(t)
	s := newTrio(t)
	s.moveToToken(t, h)
	file := s.config(t)
	if stdout, stderr, code := run(t, "config", "check", "--config", file); code != 0 {
		t.Fatalf("config check: %d\n%s%s", code, stdout, stderr)
	}
	r := s.serve(t, file)
	url := "http://" + s.at["tlog"]
	works := func() {
		t.Helper()
		s.certified(t)
		s.stamped(t)
		added(t, url+"/api/v1/log/entries", entrytest.NewHashedRekord(t, []byte(time.Now().String())))
		added(t, url+"/api/v2/log/entries", v2Entry(t, time.Now().String()))
	}
	works()
	s.trustRootAppears(t, file)
	for check := range onToken {
		if code, body := readyz(t, url); code != http.StatusOK || body.Checks[check] != "ok" {
			t.Errorf("/readyz: %d, %s is %q", code, check, body.Checks[check])
		}
	}
	if list := hsmtest.Children(t, r.cmd.Process.Pid); len(list) != 1 {
		t.Errorf("one token has the children %v", list)
	}

	client := s.client(t, 1) // what it needs is signed before
	h.Take(t)
	await(t, "/readyz is 503 and names every key", 20*time.Second, func() bool {
		code, body := readyz(t, url)
		for check := range onToken {
			if !strings.HasPrefix(body.Checks[check], "the token cannot be used") {
				return false
			}
		}
		return code == http.StatusServiceUnavailable && body.Status == "unavailable"
	})
	if m := get(t, url+"/metrics"); !strings.Contains(m, `sigbox_key_usable{key="ca.key"} 0`) || !strings.Contains(m, `sigbox_key_bad_signatures_total{key="ca.key"} 0`) {
		t.Error("metrics do not say that the key cannot be used")
	}
	status, text, took := s.sign(t, client, 0)
	if status != http.StatusInternalServerError || strings.Contains(text, "token") || strings.Contains(text, "PKCS") || took > 10*time.Second {
		t.Errorf("a certificate without a token: %d after %s: %s", status, took, text)
	}
	for path, body := range map[string][]byte{"/api/v1/log/entries": entrytest.NewHashedRekord(t, []byte("away")), "/api/v2/log/entries": v2Entry(t, "away")} {
		if status, text := postTo(t, url+path, body); status < 500 || strings.Contains(text, "PKCS") || strings.Contains(text, "pkcs11") {
			t.Errorf("%s without a token: %d %s", path, status, text)
		}
	}
	if get(t, url+"/api/v2/checkpoint") == "" || get(t, "http://"+s.at["tuf"]+"/trust/trusted_root.json") == "" {
		t.Error("nothing can be read without a token")
	}
	h.Return(t)
	await(t, "/readyz is 200 again", 30*time.Second, func() bool {
		code, body := readyz(t, url)
		return code == http.StatusOK && body.Status == "ok"
	})
	works()

	for _, child := range hsmtest.Children(t, r.cmd.Process.Pid) {
		if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	works()
	children := hsmtest.Children(t, r.cmd.Process.Pid)
	if code := r.stop(t, syscall.SIGTERM); code != 0 || len(children) != 1 {
		t.Errorf("exit code %d after SIGTERM, children %v:\n%s", code, children, r.stderr)
	}
	await(t, "the child ends with its parent", 5*time.Second, func() bool { return syscall.Kill(children[0], 0) != nil })
	if log := r.stderr.String(); strings.Contains(log, hsmtest.PIN) || !strings.Contains(log, "a key on a token cannot be used") || !strings.Contains(log, "can be used again") {
		t.Errorf("the log has the PIN, or does not say what happened:\n%s", log)
	}
}

// TestServeWrongPIN (B-082): a service with a wrong PIN does not start, however often it is started again, and the PIN
// is given to the token once. Its error says what to do, and that works.
func TestServeWrongPIN(t *testing.T) {
	h := hsmtest.New(t)
	s := newTrio(t)
	s.moveToToken(t, h)
	for _, name := range onToken { // from here on through the module that counts
		uri, _ := h.Faulty(t, name)
		replaceFile(t, filepath.Join(s.dir, name+".pem"), uri)
	}
	_, fault := h.Faulty(t, "ca")
	write(t, h.PINFile, "0000-wrong")
	file := s.config(t)
	for i := range 5 {
		_, stderr, code := run(t, "serve", "--config", file)
		want := "PIN_INCORRECT"
		if i > 0 {
			want = "sigbox key check FILE --try-pin"
		}
		if code != 2 || !strings.Contains(stderr, want) || !strings.Contains(stderr, "ca.key") || strings.Contains(stderr, "0000-wrong") {
			t.Errorf("start %d: exit code %d, want %q:\n%s", i, code, want, stderr)
		}
	}
	if n := fault.Logins(t); n != 1 {
		t.Errorf("the PIN was tried %d times", n)
	}
	write(t, h.PINFile, hsmtest.PIN)
	stdout, stderr, code := run(t, "key", "check", filepath.Join(s.dir, "ca.pem"), "--try-pin")
	if code != 0 || !strings.Contains(stdout, `the key is on the token "sigbox", and signs`) {
		t.Fatalf("key check: %d\n%s%s", code, stdout, stderr)
	}
	r := s.serve(t, file)
	s.certified(t)
	if code := r.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestInitOnToken: init makes the keys of the services on a token, goes on with those that a run that was killed has
// made, and the instance serves.
func TestInitOnToken(t *testing.T) {
	h, server := hsmtest.New(t), pgtest.Shared(t)
	database, address := server.Database(t), freeAddr(t)
	dir := filepath.Join(t.TempDir(), "sigbox")
	uri := h.TokenURI()
	args := append(initArgs(dir, address, server.URL(database)), "--ca-peer", freeAddr(t), "--tlog-peer", freeAddr(t), "--token", uri)
	_, stderr, code := run(t, append(slices.Clone(args[:len(args)-1]), uri+"&pin-value=1234")...)
	if code == 0 || !strings.Contains(stderr, "pin-value puts the PIN where") || strings.Contains(stderr, "1234") {
		t.Errorf("a PIN on the command line: %d %s", code, stderr)
	}
	if stdout, stderr, code := run(t, args...); code != 0 {
		t.Fatalf("init: %d\n%s%s", code, stdout, stderr)
	}
	made := map[string]string{}
	for _, name := range []string{"ca/ca.key", "ca/tsa.key", "tlog/rekor-v1.key", "tlog/rekor-v2.key", "tlog/ct.key", "tuf/snapshot.key", "tuf/timestamp.key"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.HasPrefix(string(raw), "pkcs11:token=sigbox;object=sigbox-") {
			t.Errorf("%s is %q (%v)", name, raw, err)
		}
		made[name] = string(raw)
	}
	if n := len(slices.Compact(slices.Sorted(maps.Values(made)))); n != 7 {
		t.Errorf("%d keys", n)
	}
	lost := filepath.Join(dir, "tlog", "rekor-v2.key") // as if killed between the token and the file
	if err := os.Remove(lost); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := run(t, "init", "--dir", dir); code != 0 {
		t.Fatalf("init again: %d\n%s%s", code, stdout, stderr)
	}
	if raw, err := os.ReadFile(lost); err != nil || string(raw) != made["tlog/rekor-v2.key"] {
		t.Errorf("after init again: %q (%v)", raw, err)
	}
	trusted(t, dir, "http://"+address)
}

// TestKeyToken: what the commands say, and what they refuse.
func TestKeyToken(t *testing.T) {
	h := hsmtest.New(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "ca.key")
	stdout, stderr, code := run(t, "key", "token", h.URI("ca"), "--out", file, "--make")
	if code != 0 || !strings.Contains(stdout, `key "ca" was made on the token "sigbox", and signs`) {
		t.Fatalf("%d\n%s%s", code, stdout, stderr)
	}
	if st, err := os.Stat(file); err != nil || st.Mode() != 0o600 {
		t.Errorf("the file: %v %v", st, err)
	}
	write(t, filepath.Join(dir, "b.pub"), "")
	uri := h.URI("ca")
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"a PIN in the URI", []string{"token", uri + "&pin-value=1234", "--out", file + "2"}, "pin-value puts the PIN where"},
		{"file that is there", []string{"token", uri, "--out", file}, "is there already"},
		{"public key that is there", []string{"token", uri, "--out", filepath.Join(dir, "b")}, "is there already"},
		{"label that is taken", []string{"token", uri, "--out", file + "2", "--make"}, "there is a key with that name already"},
		{"key that is not there", []string{"token", h.URI("other"), "--out", file + "2"}, `no private key with label "other"`},
		{"check of nothing", []string{"check", file + "2"}, "no such file"},
		{"check with a PIN of a file key", []string{"check", file + ".pub", "--try-pin"}, "can be read by others"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, stderr, code := run(t, append([]string{"key"}, row.args...)...); code == 0 || !strings.Contains(stderr, row.want) || strings.Contains(stderr, "1234") {
				t.Errorf("exit code %d, want %q: %s", code, row.want, stderr)
			}
			if _, err := os.Stat(file + "2"); err == nil {
				t.Error("it made a file")
			}
		})
	}
	if stdout, stderr, code := run(t, "key", "check", file); code != 0 || !strings.Contains(stdout, "and signs") {
		t.Errorf("%d\n%s%s", code, stdout, stderr)
	}
}

// TestRotateOntoToken: a rotation takes the key on a token that is where it would make one, and that key signs from
// then on. It is killed in every step, as one of files is.
func TestRotateOntoToken(t *testing.T) {
	h, s := hsmtest.New(t), newCeremonySite(t)
	s.withAuthorities("127.0.0.1:1")
	s.nameMirror()
	s.ok("", "key", "token", h.URI("timestamp-2"), "--out", "timestamp-2.key", "--make")
	s.rotateRole("timestamp")
	pub, err := keys.LoadPublic(filepath.Join(s.dir, "timestamp-2.key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if named, err := tuf.SignersOf([]byte(s.root())); err != nil || !named.Timestamp.Names(pub) {
		t.Errorf("the root does not name the key on the token (%v)", err)
	}
	if uri, err := keys.Reference(filepath.Join(s.dir, "timestamp-2.key")); err != nil || uri != h.URI("timestamp-2") {
		t.Errorf("the key file is %q (%v)", uri, err)
	}
}

// TestHSMPage runs docs/hsm.md from top to bottom, and compares what it says with what is printed.
func TestHSMPage(t *testing.T) {
	raw, err := os.ReadFile("../../docs/hsm.md")
	if err != nil {
		t.Fatal(err)
	}
	h := hsmtest.New(t)
	p := newPaper(t)
	if err := os.Symlink(hsmtest.Program(t), filepath.Join(p.dir, "bin", "sigbox-pkcs11")); err != nil {
		t.Fatal(err)
	}
	h.Empty(t) // the page makes the token
	for _, c := range consoles(t, string(raw)) {
		c.command = strings.ReplaceAll(c.command, "/usr/lib/softhsm/libsofthsm2.so", h.Module)
		output, code := p.run(t, c, "SOFTHSM2_CONF="+os.Getenv("SOFTHSM2_CONF"))
		want := 0
		if strings.HasPrefix(c.command, "sigbox init") {
			want = exitWaiting
		}
		if code != want {
			t.Fatalf("%s$ %s\nexit code %d, want %d:\n%s", c.machine, c.command, code, want, output)
		}
		if err := says(c.want, output); err != nil {
			t.Errorf("%s$ %s\n%v\nall of it:\n%s", c.machine, c.command, err, output)
		}
	}
}
