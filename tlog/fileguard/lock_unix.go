//go:build unix

package fileguard

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// acquire takes an exclusive lock that ends with the process, however it ends.
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock (is another process using it?): %w", err), f.Close())
	}
	return f, nil
}
