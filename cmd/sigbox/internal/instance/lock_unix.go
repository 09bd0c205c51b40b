//go:build unix

package instance

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
		err = errors.Join(fmt.Errorf("lock: %w", err), f.Close())
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.New("another sigbox is running on it: stop that one, or name another directory with --data")
		}
		return nil, err
	}
	return f, nil
}
