package tiledir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sigbox/sigbox/tlog/tile"
)

// unfinished begins the names of files that are being written.
const unfinished = ".sigbox-new-"

// touch remembers that names in the directory of a file, and in those above it, are not durable.
func (e *export) touch(path string) {
	for path != e.dir {
		path = filepath.Dir(path)
		if e.touched[path] {
			return
		}
		e.touched[path] = true
	}
}

// write replaces the file at path in one step; its directory is not synced. The mode is that of a
// public file.
func (e *export) write(path string, data []byte) error {
	return e.step("write "+path, func() (err error) {
		f, err := os.CreateTemp(filepath.Dir(path), unfinished)
		if err != nil {
			return err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, os.Remove(f.Name()))
			}
		}()
		if err := fill(f, data); err != nil {
			return err
		}
		return e.step("rename "+path, func() error { return os.Rename(f.Name(), path) })
	})
}

func fill(f *os.File, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// sweep removes partial tiles that are not of the tree of that size, and what exports that were
// cut short have left. Whatever else is in the directory is left alone.
func (e *export) sweep(size int64) error {
	top := filepath.Join(e.dir, "tile")
	var empty []string
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if strings.HasSuffix(path, ".p") {
				empty = append(empty, path)
			}
			return nil
		}
		rel, err := filepath.Rel(e.dir, path)
		if err != nil {
			return err
		}
		if strings.HasPrefix(d.Name(), unfinished) || stale(filepath.ToSlash(rel), size) {
			return e.step("remove "+path, func() error { return os.Remove(path) })
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // an empty log has no tiles
	}
	left, globErr := filepath.Glob(filepath.Join(e.dir, unfinished+"*")) // of the checkpoint
	err = errors.Join(err, globErr)
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	for _, dir := range empty {
		_ = os.Remove(dir) // fails where something is in it, and that is meant to stay
	}
	return err
}

// stale tells whether a path is that of a partial tile which the tree of that size does not have.
func stale(path string, size int64) bool {
	p, err := tile.ParsePath(path)
	if err != nil || p.Width == tile.Width {
		return false
	}
	hashes := size >> (tile.Height * max(0, p.Level))
	return p.N != hashes/tile.Width || int64(p.Width) != hashes%tile.Width
}

func (e *export) step(name string, do func() error) error {
	if e.fault != nil {
		if err := e.fault(name); err != nil {
			return err
		}
	}
	return do()
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
