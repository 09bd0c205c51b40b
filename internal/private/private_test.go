package private

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheck: every bit of every mode, for a file of our own and for one of another user.
func TestCheck(t *testing.T) {
	for mode := fs.FileMode(0); mode <= 0o777; mode++ {
		group, other := mode>>3&7, mode&7
		own := group == 0 && other == 0
		foreign := group&^4 == 0 && other == 0
		if got := check("key", mode, false) == nil; got != own {
			t.Errorf("mode %04o, ours: taken = %v", mode, got)
		}
		if got := check("key", mode, true) == nil; got != foreign {
			t.Errorf("mode %04o, another user's: taken = %v", mode, got)
		}
	}
}

// TestCheckLooksAtTheOwner needs to be root for the half of it that gives a file away.
func TestCheckLooksAtTheOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o440); err != nil {
		t.Fatal(err)
	}
	look := func() error {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return Check(path, st)
	}
	if err := look(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file of ours that its group can read: %v", err)
	}
	if os.Geteuid() != 0 {
		t.Log("not root: the other half of this test cannot be run")
		return
	}
	if err := os.Chown(path, 1, -1); err != nil {
		t.Fatal(err)
	}
	if err := look(); err != nil {
		t.Errorf("a file of another user that our group can read: %v", err)
	}
	if err := os.Chmod(path, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := look(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%04o", 0o444)) {
		t.Errorf("a file of another user that everybody can read: %v", err)
	}
}
