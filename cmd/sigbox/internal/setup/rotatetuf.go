package setup

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/ceremony"
	"github.com/sigbox/sigbox/tuf/record"
)

// repository runs do on the repository.
func (r *Rotation) repository(ctx context.Context, do func(*stack.TUFRepo, tuf.Release, record.Record) error) error {
	t, err := stack.OpenTUF(ctx, r.cfg, r.clock, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer t.Close()
	cur, rec, err := t.Current(ctx)
	if err == nil && !cur.Created() {
		err = errors.New("there is no set yet: sigbox tuf init makes the first")
	}
	if err != nil {
		return err
	}
	return do(t, cur, rec)
}

// request hands out a request file for the holders of offline keys, unless one that can still be published is there.
func (r *Rotation) request(ctx context.Context, t *stack.TUFRepo, file string, w stack.Wish, what string, more ...string) error {
	made, err := t.Request(ctx, w)
	if err != nil {
		return err
	}
	raw, err := made.Encode()
	if err != nil {
		return err
	}
	if !r.good(file, made.Base.Root, made.Base.Targets) {
		if err := os.WriteFile(file, raw, open); err != nil {
			return err
		}
	}
	todo := []string{"request " + file + ": have it signed (sigbox tuf sign) by " + what}
	if len(more) > 0 {
		todo = append(todo, more...)
	}
	return r.waits("the signatures of "+file, append(todo, "then: sigbox tuf publish "+file+" --config "+r.cfg.File(),
		fmt.Sprintf("then: sigbox rotate %s --resume --yes --config %s", r.component, r.cfg.File()))...)
}

// good says whether a request file is there that follows the current set and has time left.
func (r *Rotation) good(file string, root, targets []byte) bool {
	raw, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	have, err := ceremony.Parse(raw)
	return err == nil && have.Base != nil && bytes.Equal(have.Base.Root, root) && bytes.Equal(have.Base.Targets, targets) && have.CheckTime(r.clock.Now()) == nil
}

// changeTUF asks for a root that names the key of a number in the place of another, and wants the configuration to
// do so too. Keys of mirrors stay.
func (r *Rotation) changeTUF(ctx context.Context, from, n int) error {
	path, err := r.path(n)
	if err != nil {
		return err
	}
	signer, err := keys.Load(path)
	if err != nil {
		return err
	}
	key := signer.Public()
	before, err := r.public(from)
	if err != nil {
		return err
	}
	return r.repository(ctx, func(t *stack.TUFRepo, cur tuf.Release, _ record.Record) error {
		signers, err := tuf.SignersOf(cur.Roots[len(cur.Roots)-1].Bytes)
		if err != nil {
			return err
		}
		role := map[string]*tuf.Signers{tuf.Snapshot: &signers.Snapshot, tuf.Timestamp: &signers.Timestamp}[r.tufRole]
		named := role.Names(key) && !role.Names(before)
		have, err := r.key.Path()
		switch {
		case err != nil:
			return err
		case named && have == path:
			return nil
		case named:
			return r.waits("the configuration", fmt.Sprintf("the root names the key: in %s, on every machine that runs tuf: %s: %s", r.cfg.File(), r.keyName, path))
		}
		there := false
		if *role, there = role.Replace(before, key); !there {
			return fmt.Errorf("the root names neither key of %s that the journal knows: name all keys of the role by sigbox tuf request (docs/airgap.md)", r.component)
		}
		return r.request(ctx, t, r.file(n, "-root.json"), stack.Wish{Root: &signers}, "the holders of the root keys",
			fmt.Sprintf("in %s, on every machine that runs tuf, with this file beside that of before: %s: %s", r.cfg.File(), r.keyName, path),
			"publish with that configuration, and then restart the replicas of tuf within a day: those that have the old key cannot renew what expires")
	})
}

// public is the key of a number; nil where it was dropped.
func (r *Rotation) public(n int) (crypto.PublicKey, error) {
	path, err := r.path(n)
	if err != nil {
		return nil, err
	}
	key, err := keys.Load(path)
	if err == nil {
		return key.Public(), nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return nil, err
}
