package stack

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/keys"
)

// nextKey returns the key of a new shard, nil for one of Rekor v1, which keeps that of the one before it.
// It makes the file if it is not there.
func (l *Logs) nextKey(r *Rotation) (crypto.Signer, error) {
	if r.from.Face != config.FaceRekorV2 {
		return nil, nil
	}
	path, err := l.freeKeyPath(r.from, r.To.Name)
	if err != nil {
		return nil, err
	}
	if err := MakeKey(path); err != nil {
		return nil, fmt.Errorf("the key of the new shard is to be in %s: %w", path, err)
	}
	r.Key = path
	return keys.Load(path)
}

// freeKeyPath is the file of the key of a new shard. It refuses a file that another role has: a rotation
// that was stopped may have made it, and so may somebody who knows that it is wanted, but no key has two roles.
func (l *Logs) freeKeyPath(after ServedLog, name string) (string, error) {
	path, err := l.keyPath(after, name)
	if err == nil {
		err = notRole(name, path)
	}
	if err != nil {
		return "", err
	}
	k, err := keys.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	if err == nil {
		err = p256(k)
	}
	if err != nil {
		return "", fmt.Errorf("%s is there, and it is no key for the new shard: %w", path, err)
	}
	for _, owner := range slices.Sorted(maps.Keys(l.roleKeys)) {
		file, err := l.roleKeys[owner].Path()
		if err != nil {
			continue // not of this machine
		}
		other, err := keys.Load(file)
		if file == path || err == nil && keys.Equal(other.Public(), k.Public()) {
			return "", fmt.Errorf("%s is the key of %s, and the new shard needs one of its own: give it another name", path, owner)
		}
	}
	return path, nil
}

// MakeKey makes a key file, whole or not at all, unless it is there, as after a step that was killed. After a
// crash it is still there.
func MakeKey(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := keys.NewECDSA()
	if err != nil {
		return err
	}
	return saveKey(path, key)
}

// saveKey writes a key in the place of what is there.
func saveKey(path string, key crypto.Signer) error {
	text, err := keys.PrivatePEM(key)
	if err != nil {
		return err
	}
	return instance.WriteFile(path, text, 0o600)
}

// initNames are what "sigbox init" calls the files of keys that an instance calls otherwise.
var initNames = []string{"ca", "snapshot", "timestamp"}

// notRole refuses a shard that has the name of a role, whose key may be beside that of its log, also where
// another configuration names it.
func notRole(name, path string) error {
	if slices.Contains(append(roles(), initNames...), name) {
		return fmt.Errorf("%s is the key of the role %s, and the new shard needs one of its own: give it another name", path, name)
	}
	return nil
}

// shardKeyFile is the file of the key of a shard of an instance.
func shardKeyFile(d *instance.Dir, name string) (string, error) {
	path := keyFile(d, name)
	return path, notRole(name, path)
}
