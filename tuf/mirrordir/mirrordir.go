package mirrordir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sigbox/sigbox/tuf"
)

// Dir is a tuf.Mirror in a directory. It is used by one writer at a time.
type Dir struct {
	path    string
	written tuf.Versions
	fault   func(path string) error // for tests: fails before a file is written
}

var _ tuf.Mirror = (*Dir)(nil)

// New returns the mirror in the directory path, which is made when it is first written.
func New(path string) *Dir {
	return &Dir{path: path, fault: func(string) error { return nil }}
}

// Write implements tuf.Mirror. Files that are there with the right bytes are left alone.
func (d *Dir) Write(ctx context.Context, p *tuf.Published) error {
	if p.Versions() == d.written {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(d.path, "targets"), 0o755); err != nil {
		return fmt.Errorf("mirror directory: %w", err)
	}
	for _, f := range p.Files() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.fault(f.Path); err != nil {
			return err
		}
		if err := write(filepath.Join(d.path, filepath.FromSlash(f.Path)), f.Bytes); err != nil {
			return fmt.Errorf("mirror directory: %w", err)
		}
	}
	d.written = p.Versions()
	return nil
}

// write replaces the file at path in one step that survives a power cut. The mode is that of a
// public file.
func write(path string, content []byte) error {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, content) {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone after the rename
	if err := fill(tmp, content); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func fill(f *os.File, content []byte) error {
	_, err := f.Write(content)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
