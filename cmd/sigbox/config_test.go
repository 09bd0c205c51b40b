package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfig: what the commands print and how they end; package config has the messages.
func TestConfig(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const good = "public_url: https://sigstore.example.com\ntlog: {database: 'host=/run', guard: none, rekor_v2: {key: none.pem}}\n"
	file := put("good.yaml", good)
	wrong := put("wrong.yaml", strings.Replace(good, "guard", "gaurd", 1)+"listen: 80\n")
	secret := put("secret.yaml", strings.Replace(good, "host=/run", "${env:DATABASE_URL}", 1))
	for _, tc := range []struct {
		name string
		args []string
		code int
		want []string // on standard output, on standard error where code is not 0
	}{
		{"check", []string{"check", "--config", file, "--no-files"}, 0, []string{file + ": ok: tlog\n"}},
		{"check, with files", []string{"check", "--config", file}, 2, []string{file + ":2:55: tlog.rekor_v2.key: ", "none.pem: no such file"}},
		{"check, two problems and one that follows", []string{"check", "--config", wrong}, 2, []string{"3 problems", wrong + ":3:9: listen: ", "tlog.gaurd: there is no such key; did you mean guard?"}},
		{"check, no file", []string{"check", "--config", filepath.Join(dir, "none.yaml")}, 2, []string{"none.yaml: cannot be read: no such file"}},
		{"check, a service that is not there", []string{"check", "--config", file, "--only", "ca"}, 1, []string{"has no section ca"}},
		{"show", []string{"show", "--config", secret}, 0, []string{"url: ${env:DATABASE_URL}", "poll: 200ms", "key: " + dir + "/none.pem"}},
		{"show, wrong", []string{"show", "--config", wrong}, 2, []string{"3 problems"}},
		{"explain", []string{"explain"}, 0, []string{"public_url", "tlog"}},
		{"explain a key", []string{"explain", "tlog.poll"}, 0, []string{"default 200ms", "heads that other processes wrote"}},
		{"explain no key", []string{"explain", "tlog.poll.x"}, 1, []string{"there is no key"}},
		{"explain by example", []string{"explain", "--example"}, 0, []string{"public_url: https://sigstore.example.com"}},
		{"serve", []string{"../serve", "--config", wrong}, 2, []string{"3 problems"}},
		{"migrate", []string{"../migrate", "--config", wrong}, 2, []string{"3 problems"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"config"}, tc.args...)
			if command, ok := strings.CutPrefix(tc.args[0], "../"); ok {
				args = append([]string{command}, tc.args[1:]...)
			}
			stdout, stderr, code := run(t, args...)
			out := stdout
			if code != 0 {
				out = stderr
			}
			for _, want := range tc.want {
				if code != tc.code || !strings.Contains(out, want) {
					t.Errorf("exit code %d, want %d and %q:\n%s%s", code, tc.code, want, stdout, stderr)
				}
			}
		})
	}
}
