package private

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Check returns what is wrong with the mode of a file at path, and how to mend it; nil for nothing.
func Check(path string, st fs.FileInfo) error {
	owner := -1
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		owner = int(sys.Uid)
	}
	return check(path, st.Mode().Perm(), owner != -1 && owner != os.Geteuid())
}

// check is Check; foreign is for a file of another user.
func check(path string, mode fs.FileMode, foreign bool) error {
	switch {
	case mode&0o037 == 0 && foreign:
		return nil
	case mode&0o077 == 0:
		return nil
	case foreign:
		return fmt.Errorf("%s is not private (mode %04o): it belongs to another user, and may be readable by its group and nobody else: run chmod 440 on it, "+
			"or have it mounted so (defaultMode: 0440)", path, mode)
	}
	return fmt.Errorf("%s can be read by others (mode %04o): run chmod 600 on it", path, mode)
}
