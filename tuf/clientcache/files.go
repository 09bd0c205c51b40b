package clientcache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile replaces the file at path in one step.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".sigbox-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone after the rename
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// isInstance reports whether dir is the data directory of an instance.
func isInstance(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, "instance.json"))
	return err == nil
}

// holdsInstance reports an instance's data directory at dir or right below it: cosign 3 empties
// its cache directory when it is initialised, with all that is in it.
func holdsInstance(dir string) (string, bool) {
	if isInstance(dir) {
		return dir, true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", false
	}
	for _, e := range entries {
		if sub := filepath.Join(dir, e.Name()); e.IsDir() && isInstance(sub) {
			return sub, true
		}
	}
	return "", false
}
