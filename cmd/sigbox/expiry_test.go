//go:build postgres

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/keys"
)

// steps are those that sigbox expiry prints for something, and the line that says when it ends.
func steps(t *testing.T, out, what string) (line string, list []string) {
	t.Helper()
	inside := false
	for l := range strings.Lines(out) {
		l = strings.TrimSuffix(l, "\n")
		if !strings.HasPrefix(l, " ") {
			if inside {
				break
			}
			if inside = strings.Contains(l, "Z  "+what+" "); inside {
				line = l
			}
			continue
		}
		step, first := strings.CutPrefix(l, "  prevent  ")
		if rest, next := strings.CutPrefix(l, "           "); next {
			step, first = rest, true
		}
		if inside && first {
			list = append(list, step)
		}
	}
	if line == "" || len(list) == 0 {
		t.Fatalf("nothing about %q, or no steps:\n%s", what, out)
	}
	return line, list
}

// TestExpirySteps does what sigbox expiry prints, as a shell reads it, for an instance that serves: each
// of them moves the end of what it is for, while clients trust what comes next before it is used.
func TestExpirySteps(t *testing.T) {
	server := pgtest.Shared(t)
	dir, address := filepath.Join(t.TempDir(), "sigbox"), freeAddr(t)
	good(t, append(initArgs(dir, address, server.URL(server.Database(t))), "--ca-peer", freeAddr(t), "--tlog-peer", freeAddr(t))...)
	file, work := filepath.Join(dir, "sigbox.yaml"), t.TempDir()
	next := filepath.Join(dir, "next.yaml")
	r := startCommand(t, sigbox(t, "serve", "--config", file))
	words := strings.NewReplacer("NEW.key", filepath.Join(dir, "ca", "new.key"), "ROOT", filepath.Join(dir, "offline"), "NEXT.yaml", next, "STATEMENTS", filepath.Join(work, "statements"))
	id := "" // of the last request, as it was printed: who signs types it
	shell := func(step, key string) {
		t.Helper()
		step, _, _ = strings.Cut(step, "    (")
		step = strings.ReplaceAll(words.Replace(step), "--key KEY", "--key "+key)
		cmd := exec.Command("sh", "-c", `sigbox() { "$SIGBOX" "$@"; }; `+step)
		cmd.Dir, cmd.Env = work, append(sigbox(t).Env, "SIGBOX="+sigbox(t).Path, "PATH="+os.Getenv("PATH"), "HOME="+work)
		cmd.Stdin = strings.NewReader(id + "\n")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", step, err, out)
		}
		if m := regexp.MustCompile("^request ([0-9a-f]{64}) is in").FindSubmatch(out); m != nil {
			id = string(m[1][:8])
		}
	}
	for _, tc := range []struct{ what, signer string }{
		{"tuf root", "tuf-root.key"}, {"tuf targets", "tuf-targets.key"}, {"tlog peers certificate", ""}, {"ca peers authority", ""}, {"ca certificate", "tuf-targets.key"},
		{"tsa certificate", "tuf-targets.key"},
	} {
		_ = os.RemoveAll(filepath.Join(work, "statements"))
		_ = os.Remove(filepath.Join(dir, "ca", "new.key")) // which has another name by now
		time.Sleep(1100 * time.Millisecond)                // ends are in whole seconds
		line, list := steps(t, good(t, "expiry", "--config", file), tc.what)
		for _, step := range list {
			switch {
			case strings.HasPrefix(step, "copy "):
				purpose, _, _ := strings.Cut(tc.what, " ")
				chain := map[string]string{"ca": "ca/chain.pem", "tsa": "ca/tsa-chain.pem"}[purpose]
				mine := "ca/" + purpose + "-2.key"
				if err := os.Link(filepath.Join(dir, "ca", "new.key"), filepath.Join(dir, mine)); err != nil {
					t.Fatal(err)
				}
				writeText(t, next, strings.NewReplacer("ca/"+purpose+".key", mine, chain, "ca/"+purpose+"-chain-2.pem").Replace(read(t, file)))
			case strings.HasPrefix(step, "after a day"):
				if code := r.stop(t, os.Interrupt); code != 0 {
					t.Fatalf("serve: exit code %d\n%s", code, r.stderr)
				}
				if err := os.Rename(next, file); err != nil {
					t.Fatal(err)
				}
				r = startCommand(t, sigbox(t, "serve", "--config", file))
			case strings.HasPrefix(step, "sigbox "), strings.HasPrefix(step, "rm "):
				shell(step, filepath.Join(dir, "offline", tc.signer))
			}
		}
		if after, _ := steps(t, good(t, "expiry", "--config", file), tc.what); after <= line {
			t.Errorf("%s: %q before, %q after", tc.what, line, after)
		}
	}
	if code, body := readyz(t, "http://"+address); code != 200 || body.Status != "ok" || body.Checks["expiry"] != "ok" || body.Notes["trust statements"] != "" {
		t.Errorf("/readyz: %d %+v", code, body)
	}
	m := get(t, "http://"+address+"/metrics")
	for _, what := range []string{"tuf root", "tuf timestamp", "ca certificate", "tsa certificate", "ca peers certificate", "tlog peers authority"} {
		if !regexp.MustCompile(`(?m)^sigbox_expires_timestamp_seconds\{what="` + what + `"\} [1-9]`).MatchString(m) {
			t.Errorf("metrics lack %s", what)
		}
	}
	for _, tc := range []struct {
		within, names string // "" for nothing
	}{
		{"720h", ""},      // timestamp and snapshot, which renew themselves, are within it
		{"8784h", "tuf "}, // root and targets, signed at nearly the same time
	} {
		if _, stderr, code := run(t, "expiry", "--config", file, "--within", tc.within); (code == 1) != (tc.names != "") || !strings.Contains(stderr, tc.names) {
			t.Errorf("--within %s: exit code %d, want %q\n%s", tc.within, code, tc.names, stderr)
		}
	}
	if code := r.stop(t, os.Interrupt); code != 0 {
		t.Errorf("serve: exit code %d\n%s", code, r.stderr)
	}
	refusesAnotherKey(t, dir, file)
}

// refusesAnotherKey: serve does not start with a key of timestamp that root does not name.
func refusesAnotherKey(t *testing.T, dir, file string) {
	t.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tuf", "timestamp.key")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := keys.Save(path, key); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := run(t, "serve", "--config", file); code != 1 || !strings.Contains(stderr, "cannot renew timestamp, since root version 2 names another key for it") {
		t.Errorf("serve with another timestamp key: exit code %d\n%s", code, stderr)
	}
}
