//go:build postgres

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

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

// TestExpiryServed: a server that is new warns of nothing, and says when each thing ends. The steps are run by
// TestExpiryLines.
func TestExpiryServed(t *testing.T) {
	server := pgtest.Shared(t)
	dir, address := filepath.Join(t.TempDir(), "sigbox"), freeAddr(t)
	good(t, append(initArgs(dir, address, server.URL(server.Database(t))), "--ca-peer", freeAddr(t), "--tlog-peer", freeAddr(t))...)
	file := filepath.Join(dir, "sigbox.yaml")
	r := startCommand(t, sigbox(t, "serve", "--config", file))
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
	if _, stderr, code := run(t, "serve", "--config", file); code != 1 || !strings.Contains(stderr, "cannot renew timestamp, since root version 1 names another key for it") {
		t.Errorf("serve with another timestamp key: exit code %d\n%s", code, stderr)
	}
}
