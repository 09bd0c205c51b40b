package instance

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sigbox/sigbox/internal/filelock"
)

// staging begins the name of a directory in which a new instance is made.
const staging = ".sigbox-new-"

// settling is how long a staging directory may be without its lock: its maker takes the lock right
// after it made the directory.
const settling = time.Minute

// removeAbandoned removes the staging directories in dir whose makers are gone. One that is still
// being filled holds its lock, which ends with its process. What cannot be looked at or removed is
// somebody else's, and stays.
func removeAbandoned(dir string, now time.Time) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if tmp := filepath.Join(dir, e.Name()); e.IsDir() && strings.HasPrefix(e.Name(), staging) && isAbandoned(tmp, now) {
			_ = os.RemoveAll(tmp)
		}
	}
}

func isAbandoned(tmp string, now time.Time) bool {
	if _, err := os.Stat(filepath.Join(tmp, "lock")); err != nil {
		made, err := os.Stat(tmp)
		return err == nil && now.Sub(made.ModTime()) > settling
	}
	lock, err := filelock.Acquire(filepath.Join(tmp, "lock"))
	if err != nil {
		return false
	}
	return lock.Close() == nil
}
