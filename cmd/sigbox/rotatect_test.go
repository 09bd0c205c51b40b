//go:build postgres

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ctSite is a trio of which the CT log is rotated.
type ctSite struct {
	*trio
	t    *testing.T
	file string
	runs map[string]*instanceRun
}

func newCTSite(t *testing.T) *ctSite {
	t.Helper()
	s := &ctSite{newTrio(t), t, "", map[string]*instanceRun{}}
	s.file = filepath.Join(s.dir, "sigbox.yaml")
	write(t, s.file, s.text)
	for _, service := range []string{"issuer", "tlog", "ca", "tuf"} {
		s.runs[service] = s.serve(t, s.file, service)
	}
	await(t, "all statements wait", 20*time.Second, func() bool {
		_, body := readyz(t, "http://"+s.at["tuf"])
		return strings.HasPrefix(body.Notes["trust statements"], "5 wait")
	})
	s.publish(t, s.file)
	return s
}

// change changes the configuration.
func (s *ctSite) change(old, now string) {
	s.t.Helper()
	if strings.Count(s.text, old) != 1 {
		s.t.Fatalf("%q is not there once in\n%s", old, s.text)
	}
	s.text = strings.Replace(s.text, old, now, 1)
	replaceFile(s.t, s.file, s.text)
}

// restart stops a service and starts it with a configuration.
func (s *ctSite) restart(service, file string) {
	s.t.Helper()
	if code := s.runs[service].stop(s.t, syscall.SIGTERM); code != 0 {
		s.t.Fatalf("%s: exit code %d\n%s", service, code, s.runs[service].stderr)
	}
	s.runs[service] = s.serve(s.t, file, service)
}

// rotate runs sigbox rotate ct, which has to end with a code and say something.
func (s *ctSite) rotate(code int, want string, args ...string) {
	s.t.Helper()
	stdout, stderr, got := run(s.t, append([]string{"rotate", "ct", "--config", s.file}, args...)...)
	if got != code || !strings.Contains(stdout+stderr, want) {
		s.t.Fatalf("rotate ct %v: exit code %d, want %d and %q\n%s%s", args, got, code, want, stdout, stderr)
	}
}

// killed runs sigbox rotate ct, which dies, as by kill -9, after a step.
func (s *ctSite) killed(want string, args ...string) {
	s.t.Helper()
	twice(s.t, s.dir, func() {
		cmd := sigbox(s.t, append([]string{"rotate", "ct", "--config", s.file}, args...)...)
		cmd.Env = append(cmd.Env, "SIGBOX_TEST_DIE_AT=1")
		if stdout, stderr, code := finish(s.t, cmd); code != -1 || !strings.Contains(stdout, want) {
			s.t.Fatalf("rotate ct %v: %d, want it killed after %q\n%s%s", args, code, want, stdout, stderr)
		}
	})
}

// signs asks for certificates that are in the CT log with a key.
func (s *ctSite) signs(n int, ctKey string) {
	s.t.Helper()
	f := s.clientOf(s.t, n, ctKey)
	for i := range n {
		if status, text, _ := s.sign(s.t, f, i); status != http.StatusOK {
			s.t.Fatalf("certificate %d with a promise of %s: %d %s", i, ctKey, status, text)
		}
	}
}

// approve has the one signer sign a request, and publishes it.
func (s *ctSite) approve(name string) {
	s.t.Helper()
	request := filepath.Join(s.dir, name)
	words, _, _ := run(s.t, "tuf", "status", request)
	_, id, _ := strings.Cut(words, "request ")
	id, _, _ = strings.Cut(strings.TrimSpace(id), "\n")
	for _, args := range [][]string{{"tuf", "sign", request, "--key", filepath.Join(s.dir, "signer.key"), "--approve", id}, {"tuf", "publish", request, "--config", s.file}} {
		if stdout, stderr, code := run(s.t, args...); code != 0 {
			s.t.Fatalf("%v: %d\n%s%s", args, code, stdout, stderr)
		}
	}
}

// trusted wants these CT logs in the trust root: the path of each, and whether it has an end.
func (s *ctSite) trusted(want string) {
	s.t.Helper()
	s.restart("tuf", s.file) // which else looks once a minute
	var root struct {
		Ctlogs []struct {
			BaseURL   string `json:"baseUrl"`
			PublicKey struct{ ValidFor struct{ End string } }
		}
	}
	if err := json.Unmarshal([]byte(get(s.t, "http://"+s.at["tuf"]+"/trust/trusted_root.json")), &root); err != nil {
		s.t.Fatal(err)
	}
	list := ""
	for _, l := range root.Ctlogs {
		list += fmt.Sprintf("%s ended=%t\n", strings.TrimPrefix(l.BaseURL, "http://"+s.at["tlog"]), l.PublicKey.ValidFor.End != "")
	}
	if list != want {
		s.t.Errorf("the trust root has\n%swant\n%s", list, want)
	}
}

// TestRotateCT rotates the CT log of a configuration whose services run apart: the command makes a log beside them, is
// killed after every step, stops where people have to change the configuration or to sign, and believes nothing but the
// service that answers, the set that is published and the certificates that are in the logs.
func TestRotateCT(t *testing.T) {
	s := newCTSite(t)
	old := filepath.Join(s.dir, "before.yaml") // of a replica of ca that is forgotten
	on := []string{"--resume", "--yes", "--soak", "0s"}
	s.rotate(0, "to do: make the log ct 2", "--dry-run")
	s.killed("begun", "--yes")
	s.killed("made ct 2", on...)
	s.rotate(exitWaiting, "tlog.ct: {name: ct-2, key: "+filepath.Join(s.dir, "ct-2.pem"), on...)
	s.change("ct: {key: ct.pem, roots: chain.pem}", "ct: {key: ct.pem, roots: chain.pem, next: [{name: ct-2, key: ct-2.pem}]}")
	s.rotate(exitWaiting, "/ct-2/ct/v1/get-sth has no tree head of ct-2", on...)
	s.restart("tlog", s.file)
	s.rotate(exitWaiting, "ct-2-publish.json", on...)
	s.approve("ct-2-publish.json")
	s.trusted(" ended=false\n/ct-2 ended=false\n")
	s.killed("published ct 2", on...)
	s.rotate(1, "clients have until", "--resume", "--yes")
	s.rotate(exitWaiting, "ca.ct.log: ct-2 and ca.ct.key: "+filepath.Join(s.dir, "ct-2.pub"), on...)
	write(t, old, s.text)
	s.toSecond()
	s.rotate(exitWaiting, "the last 8 certificates have to be in ct-2", on...)
	s.restart("ca", s.file)
	s.signs(7, "ct-2.pub") // and before them what the log was made with, which is no certificate of ca
	s.rotate(exitWaiting, "the last 8 certificates have to be in ct-2", on...)
	s.signs(1, "ct-2.pub")
	s.killed("switched", on...)

	// Back, and forth again.
	s.rotate(exitWaiting, "ca.ct.log: ct, and ca.ct.key as it was", "--undo")
	s.change("log: ct-2, key: ct-2.pub", "key: ct.pub")
	s.restart("ca", s.file)
	s.rotate(exitWaiting, "the last 8 certificates have to be in ct, ", "--undo")
	s.signs(8, "ct.pub")
	s.rotate(0, "went back: ct 1 signs", "--undo")
	s.toSecond()
	s.restart("ca", s.file)
	s.signs(8, "ct-2.pub")
	s.rotate(0, "switched", append(on, "--until", "switched")...)

	s.restart("ca", old)
	s.signs(1, "ct.pub")
	s.rotate(exitWaiting, "a replica of ca still logs in ct, which is to end", on...)
	s.restart("ca", s.file)
	s.signs(8, "ct-2.pub")
	s.rotate(exitWaiting, "sigbox log freeze ct ", on...)
	s.approve("ct-1-retire.json")
	s.killed("retired ct 1", on...)
	s.trusted(" ended=true\n/ct-2 ended=false\n")
	s.after()
}

// toSecond has ca use the second log.
func (s *ctSite) toSecond() {
	s.t.Helper()
	s.change("key: ct.pub", "log: ct-2, key: ct-2.pub")
}

// after is a third log that is given up, at every step, and what is left of the first one.
func (s *ctSite) after() {
	t := s.t
	s.killed("begun", "--yes")
	s.rotate(0, "ct 2 signs, and there is no rotation any more", "--undo")
	s.rotate(0, "made ct 4", "--yes", "--until", "made")
	s.change("{name: ct-2, key: ct-2.pem}", "{name: ct-2, key: ct-2.pem}, {name: ct-4, key: ct-4.pem}")
	s.rotate(exitWaiting, "take ct-4 out of the list", "--undo")
	s.change(", {name: ct-4, key: ct-4.pem}", "")
	s.rotate(0, "ct 2 signs, and there is no rotation any more", "--undo")
	for name, there := range map[string]bool{"ct-3.pem": false, "ct-4.pem": true} {
		if _, err := os.Stat(filepath.Join(s.dir, name)); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.change("next: [{name: ct-2, key: ct-2.pem}]", "next: [{name: ct-2, key: other-ct.pem}]")
	s.rotate(1, "name the key file so", "--yes")
	s.change("key: other-ct.pem", "key: ct-2.pem")

	for _, r := range s.runs {
		if code := r.stop(t, syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d:\n%s", code, r.stderr)
		}
	}
	if stdout, stderr, code := run(t, "log", "freeze", "ct", "--yes", "--config", s.file); code != 0 {
		t.Errorf("log freeze: %d\n%s%s", code, stdout, stderr)
	}
	for _, name := range []string{"ct", "ct-2"} {
		if stdout, stderr, code := run(t, "log", "fsck", name, "--config", s.file); code != 0 {
			t.Errorf("log fsck %s: %d\n%s%s", name, code, stdout, stderr)
		}
	}
	s.serve(t, s.file) // all in one process
	s.signs(1, "ct-2.pub")
	for path, entries := range map[string]int{"/ct/v1": 11, "/ct-2/ct/v1": 27} {
		var page struct{ Entries []any }
		if err := json.Unmarshal([]byte(get(t, "http://"+s.at["tlog"]+path+"/get-entries?start=0&end=99")), &page); err != nil || len(page.Entries) != entries {
			t.Errorf("%s: %d entries, want %d (%v)", path, len(page.Entries), entries, err)
		}
	}
}
