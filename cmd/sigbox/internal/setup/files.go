package setup

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/keys"
)

// path returns the path of a file in the directory.
func (b *builder) path(name string) string { return filepath.Join(b.dir, name) }

// say reports something that was done. What has been said has happened, and is on disk.
func (b *builder) say(format string, args ...any) error {
	b.changed = true
	if _, err := fmt.Fprintf(b.out, format+"\n", args...); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return nil
}

// there tells whether a file is there.
func (b *builder) there(name string) (bool, error) {
	switch _, err := os.Stat(b.path(name)); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, err
	}
}

// make writes a file that is not there, with what content returns.
func (b *builder) make(name string, mode os.FileMode, content func() ([]byte, error)) error {
	if is, err := b.there(name); err != nil || is {
		return err
	}
	data, err := content()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := instance.WriteFile(b.path(name), data, mode); err != nil {
		return err
	}
	return b.say("made %s", name)
}

const (
	secret = 0o600
	open   = 0o644
)

// makeKey makes the key of a role, if it is not there.
func (b *builder) makeKey(name string, generate func() (crypto.Signer, error)) error {
	return b.make(name, secret, func() ([]byte, error) {
		key, err := generate()
		if err != nil {
			return nil, err
		}
		return keys.PrivatePEM(key)
	})
}

func (b *builder) key(name string) (crypto.Signer, error) { return keys.Load(b.path(name)) }

// directories of an instance, and whether their contents are private.
func (b *builder) directories() map[string]os.FileMode {
	dirs := map[string]os.FileMode{"ca": 0o700, "tlog": 0o700, "tuf": 0o700, "peers": 0o700, "public": 0o755, "public/statements": 0o755}
	if b.plan.Production {
		dirs["requests"] = 0o755
	} else {
		dirs["issuer"], dirs["offline"] = 0o700, 0o700
	}
	return dirs
}

func (b *builder) makeDirectories() error {
	dirs := b.directories()
	for _, name := range slices.Sorted(maps.Keys(dirs)) { // a directory before what is in it
		mode := dirs[name]
		if err := os.Mkdir(b.path(name), mode); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := os.Chmod(b.path(name), mode); err != nil { // whatever the umask is
			return err
		}
	}
	return nil
}

// sweep removes what a run that was killed had not finished writing.
func (b *builder) sweep() error {
	return filepath.WalkDir(b.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.Type().IsRegular() && unfinished(e.Name()) {
			return os.Remove(path)
		}
		return nil
	})
}

func unfinished(name string) bool { return strings.HasPrefix(name, instance.Unfinished) }
