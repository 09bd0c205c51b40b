package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
)

// foreignBench is two running instances; the first is to serve the trust root of the second.
type foreignBench struct {
	t           *testing.T
	data        string
	own, theirs *instanceRun
	pinned      string // file: root.json of the second
}

func newForeignBench(t *testing.T) *foreignBench {
	t.Helper()
	b := &foreignBench{t: t, data: newData(t), pinned: filepath.Join(t.TempDir(), "root.json")}
	b.own = start(t, "--listen", freeAddr(t), "--data", b.data)
	b.theirs = start(t, "--listen", freeAddr(t), "--data", newData(t))
	write(t, b.pinned, get(t, b.theirs.url+"/tuf/root.json"))
	return b
}

// trust runs a command on the first instance and wants its exit code.
func (b *foreignBench) trust(want int, args ...string) (stdout, stderr string) {
	b.t.Helper()
	stdout, stderr, code := run(b.t, append([]string{"trust"}, args...)...)
	if code != want {
		b.t.Fatalf("trust %v: exit code %d, want %d\n%s%s", args, code, want, stdout, stderr)
	}
	return stdout, stderr
}

// record is what the instance has published, as it is stored.
func (b *foreignBench) record() string {
	b.t.Helper()
	dir, err := stack.ReadInstance(b.data)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := stack.OpenRotations(b.t.Context(), dir, "", clock.System{})
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	rec, err := r.Record(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	raw, err := rec.Encode()
	if err != nil {
		b.t.Fatal(err)
	}
	return string(raw)
}

// TestForeignRoots: a trust root of another instance comes, is brought up to date, is merged, and goes, while ours
// stays as it is.
func TestForeignRoots(t *testing.T) {
	b := newForeignBench(t)
	own := get(t, b.own.url+"/trust/trusted_root.json")
	out, _ := b.trust(0, "add", "acme", "--repository", b.theirs.url+"/tuf", "--root", b.pinned, "--issuer", b.own.url, "--data", b.data)
	if !strings.Contains(out, "acme: root version 1, targets version 1, good until") {
		t.Errorf("add: %s", out)
	}
	if out, _ = b.trust(0, "refresh", "--data", b.data); !strings.Contains(out, "nothing has changed") {
		t.Errorf("refresh of what is new: %s", out)
	}
	rotate(t, 0, "tuf-root", "--yes", "--data", b.theirsData())
	rotate(t, 0, "tsa", "--yes", "--data", b.theirsData())
	if out, _ = b.trust(0, "refresh", "acme", "--data", b.data); !strings.Contains(out, "acme: root version 2") || strings.Contains(out, "nothing has changed") {
		t.Errorf("refresh: %s", out)
	}
	if out, _ = b.trust(0, "list", "--url", b.own.url); !strings.Contains(out, "acme") || !strings.Contains(out, b.theirs.url+"/tuf") {
		t.Errorf("list: %s", out)
	}
	theirs := get(t, b.theirs.url+"/trust/trusted_root.json")
	if get(t, b.own.url+"/trust/acme/trusted_root.json") != theirs || get(t, b.own.url+"/trust/trusted_root.json") != own {
		t.Error("what is served is not theirs as it is, beside ours as it was")
	}
	merged := filepath.Join(t.TempDir(), "merged.json")
	_, stderr := b.trust(0, "merge", "acme", "--url", b.own.url, "-o", merged)
	if !strings.Contains(stderr, b.own.url+": this instance, acme") || strings.Contains(stderr, "would break") {
		t.Errorf("merge: %s", stderr)
	}
	raw, err := os.ReadFile(merged)
	if err != nil || strings.Count(string(raw), `"uri"`) != 5 { // two CAs, three TSAs of which one was rotated
		t.Errorf("merged: %v\n%s", err, raw)
	}
	if out, _, code := run(t, "expiry", "--data", b.data); code != 0 || !strings.Contains(out, "foreign root ends") || !strings.Contains(out, "sigbox trust refresh acme --data") {
		t.Errorf("expiry: %d\n%s", code, out)
	}
	if code := b.own.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, b.own.stderr)
	}
	b.own = start(t, "--listen", freeAddr(t), "--data", b.data) // at another URL
	if get(t, b.own.url+"/trust/acme/trusted_root.json") != theirs {
		t.Error("it is not there after a start")
	}
	b.trust(0, "remove", "acme", "--data", b.data)
	if out, _ = b.trust(0, "list", "--url", b.own.url); !strings.Contains(out, "no trust root but this instance's own") {
		t.Errorf("list after remove: %s", out)
	}
}

// theirsData is the data directory of the second instance, which its command line has.
func (b *foreignBench) theirsData() string {
	args := b.theirs.cmd.Args
	return args[len(args)-1]
}

// TestForeignRootsRefused: each row is refused with its reason, and leaves no trace.
func TestForeignRootsRefused(t *testing.T) {
	b := newForeignBench(t)
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		write(t, path, content)
		return path
	}
	theirs := get(t, b.theirs.url+"/trust/trusted_root.json")
	good := file("theirs.json", theirs)
	b.trust(0, "add", "here", "--file", good, "--data", b.data)
	before := b.record()
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"a path", []string{"add", "../x", "--file", good}, "is no name for it"},
		{"no source", []string{"add", "acme"}, "say where its trust root is"},
		{"a repository without a root", []string{"add", "acme", "--repository", b.theirs.url + "/tuf"}, "say where its trust root is"},
		{"a file that clients do not read", []string{"add", "acme", "--file", file("bad.json", strings.Replace(theirs, "ctlogs", "otlogs", 1))}, "not one that clients read"},
		{"a key in two roles", []string{"add", "acme", "--file", file("roles.json", strings.Replace(theirs, `"ctlogs": [`, `"ctlogs": [`+firstLog(theirs)+",", 1))}, "shares its key"},
		{"our own", []string{"add", "acme", "--file", file("own.json", get(t, b.own.url+"/trust/trusted_root.json"))}, "shares a key with this instance"},
		{"over", []string{"add", "acme", "--file", good, "--good-for", "-1s"}, "that is over"},
		{"the root of another", []string{"add", "acme", "--repository", b.theirs.url + "/tuf", "--root", file("ours.json", get(t, b.own.url+"/tuf/root.json"))}, "timestamp"},
		{"no repository there", []string{"add", "acme", "--repository", b.theirs.url, "--root", b.pinned}, "is that the base URL"},
		{"no directory there", []string{"add", "acme", "--repository", filepath.Join(dir, "none"), "--root", b.pinned}, "neither a URL nor a directory"},
		{"a name that is taken", []string{"add", "here", "--file", good}, "already"},
		{"an older file", []string{"refresh", "here", "--file", file("less.json", strings.Replace(theirs, lastLog(theirs), "", 1))}, "lacks the transparency log"},
		{"a refresh without a file", []string{"refresh", "here"}, "bring a newer one with --file"},
		{"a refresh of nothing", []string{"refresh"}, "no foreign root with a repository"},
		{"one that is not there", []string{"remove", "acme"}, "there is no foreign root"},
	} {
		if _, stderr := b.trust(1, append(tc.args, "--data", b.data)...); !strings.Contains(stderr, tc.want) {
			t.Errorf("%s: %s, want %q", tc.name, stderr, tc.want)
		}
		if b.record() != before {
			t.Fatalf("%s: it has left a trace", tc.name)
		}
	}
	if _, stderr := b.trust(1, "merge", "acme", "--url", b.own.url); !strings.Contains(stderr, "serves no trust root") {
		t.Errorf("merge of what is not there: %s", stderr)
	}
}

// logsOf is where the logs of a file begin and end.
func logsOf(file string) (from, to int) {
	from = strings.Index(file, `"tlogs": [`) + len(`"tlogs": [`)
	return from, from + strings.Index(file[from:], "\n  ]")
}

// firstLog is the first log of a file, lastLog what follows it.
func firstLog(file string) string {
	from, to := logsOf(file)
	return file[from : from+strings.Index(file[from:to], "\n    }")+len("\n    }")]
}

func lastLog(file string) string {
	from, to := logsOf(file)
	return file[from+len(firstLog(file)) : to]
}
