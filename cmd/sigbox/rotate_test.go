package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// rotate runs "sigbox rotate" and wants this exit code.
func rotate(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, code := run(t, append([]string{"rotate"}, args...)...)
	if code != want {
		t.Fatalf("rotate %v: exit code %d\n%s%s", args, code, stdout, stderr)
	}
	return stdout, stderr
}

// TestRotateKeys rotates keys of an instance that runs; the command is killed, as by kill -9, after each step
// that it has written down, and goes on with --resume. The instance is killed in between, too.
func TestRotateKeys(t *testing.T) {
	data, listen := newData(t), freeAddr(t)
	r := start(t, "--listen", listen, "--data", data)
	seen := map[string]string{"ca-intermediate": "/api/v1/rootCert", "tsa": "/api/v1/timestamp/certchain", "tuf-timestamp": "/tuf/root.json"}
	for line := 1; line <= 5; line++ {
		for component, path := range seen {
			before := get(t, r.url+path)
			cmd := sigbox(t, "rotate", component, "--yes", "--data", data)
			cmd.Env = append(cmd.Env, fmt.Sprint("SIGBOX_TEST_DIE_AT=", line))
			if out, stderr, code := finish(t, cmd); code != -1 || strings.Count(out, "\n") != line {
				t.Fatalf("%s, killed at line %d: %d\n%s%s", component, line, code, out, stderr)
			}
			if line == 3 && component == "tsa" {
				r.stop(t, syscall.SIGKILL)
				r = start(t, "--listen", listen, "--data", data)
			}
			if line < 4 && get(t, r.url+path) != before {
				t.Errorf("%s, killed at line %d: the next key is used already", component, line)
			}
			out, stderr, code := run(t, "rotate", component, "--resume", "--yes", "--data", data)
			if line < 5 && code != 0 || line == 5 && !strings.Contains(stderr, "no rotation of "+component+" is under way") {
				t.Errorf("%s, --resume after line %d: %d\n%s%s", component, line, code, out, stderr)
			}
			if get(t, r.url+path) == before {
				t.Errorf("%s, killed at line %d: the old key is used still", component, line)
			}
		}
	}
	rotate(t, 0, "ct", "--yes", "--data", data)
	if sth := get(t, r.url+"/ct-2/ct/v1/get-sth"); !strings.Contains(sth, `"tree_size":2`) {
		t.Errorf("the new CT log: %s", sth)
	}
	if root := get(t, r.url+"/trust/trusted_root.json"); strings.Count(root, `"end"`) != 11 || !strings.Contains(root, r.url+"/ct-2") {
		t.Errorf("the trust root has %d ends, want one for each key that was retired\n%s", strings.Count(root, `"end"`), root)
	}
	if root, err := os.ReadFile(filepath.Join(data, "trust", "trusted_root.json")); err != nil || !strings.Contains(string(root), r.url+"/ct-2") {
		t.Errorf("the trust files in the data directory are those of before: %v", err)
	}
	if code := r.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, r.stderr)
	}
	r = start(t, "--listen", freeAddr(t), "--data", data) // at another URL
	if root := get(t, r.url+"/trust/trusted_root.json"); !strings.Contains(root, r.url+"/ct-2") {
		t.Errorf("after a start at another URL:\n%s", root)
	}
}

// TestRotateRefuses: what cannot be done is said, and nothing is changed.
func TestRotateRefuses(t *testing.T) {
	data := newData(t)
	start(t, "--listen", freeAddr(t), "--data", data).stop(t, syscall.SIGTERM)
	journal := filepath.Join(data, "rotations.json")
	for _, tc := range []struct{ args, want string }{
		{"nothing --yes", `no component "nothing"`},
		{"tsa", "with --yes"},
		{"tsa --resume --yes", "no rotation of tsa is under way"},
		{"tsa --undo", "nothing to undo"},
		{"tsa --yes --until noon", "want made, published, switched or retired"},
		{"rekor-v1 --undo", "no way back"},
		{"rekor-v1", "with --yes"},
		{"tsa --undo --resume", "none of the others can be"},
	} {
		if out, stderr := rotate(t, 1, append(strings.Fields(tc.args), "--data", data)...); !strings.Contains(stderr, tc.want) {
			t.Errorf("rotate %s: %s%s, want %q", tc.args, out, stderr, tc.want)
		}
	}
	for _, component := range components {
		if out, _ := rotate(t, 0, component, "--dry-run", "--data", data); strings.Count(out, "to do: ") < 2 || strings.Contains(out, "%!") {
			t.Errorf("%s: %s", component, out)
		}
	}
	if _, err := os.Stat(journal); err == nil {
		t.Error("a rotation was begun")
	}
	rotate(t, 0, "ca-root", "--yes", "--until", "published", "--data", data)
	if out, _ := rotate(t, 0, "ca-root", "--dry-run", "--data", data); strings.Count(out, "done: ") != 2 || strings.Count(out, "to do: ") != 3 {
		t.Errorf("half way: %s", out)
	}
	for _, tc := range []struct{ args, want string }{
		{"ca-root --yes", "a rotation of ca-root is under way: it is published"},
		{"ca-intermediate --yes", "which concerns the same keys"},
		{"ca-root --resume --yes --soak 1h", "clients have until"},
	} {
		if out, stderr := rotate(t, 1, append(strings.Fields(tc.args), "--data", data)...); !strings.Contains(stderr, tc.want) {
			t.Errorf("rotate %s: %s%s, want %q", tc.args, out, stderr, tc.want)
		}
	}
}
