//go:build postgres

package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/pgtest"
)

// tree returns the content and the mode of every file below a directory.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[name] = st.Mode().String()
		if st.Mode().IsRegular() {
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files[name] += fmt.Sprintf(" %x", sha256.Sum256(raw))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestInitDev(t *testing.T) {
	server := pgtest.Shared(t)
	dir, url := filepath.Join(t.TempDir(), "sigbox"), server.URL(server.Database(t))
	stdout, stderr, code := run(t, "init", "--dev", "--dir", dir, "--url", "http://127.0.0.1:8099", "--database", url)
	if code != 0 {
		t.Fatalf("init: %d\n%s%s", code, stdout, stderr)
	}
	if !strings.Contains(stdout, "serve --config "+filepath.Join(dir, "sigbox.yaml")) {
		t.Errorf("it does not say what to type next:\n%s", stdout)
	}
	was := tree(t, dir)
	stdout, stderr, code = run(t, "init", "--dir", dir)
	if code != 0 || strings.Contains(stdout, "made ") {
		t.Errorf("the second run: %d\n%s%s", code, stdout, stderr)
	}
	for name, now := range tree(t, dir) {
		if was[name] != now {
			t.Errorf("%s changed", name)
		}
	}
}
