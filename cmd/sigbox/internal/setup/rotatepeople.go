package setup

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/record"
)

// people rotates a TUF role whose keys their holders keep offline. A number stands for all public keys of the role and
// for how many must sign, which are kept in a file beside the configuration: the private keys are nowhere here.
type people struct {
	*Rotation
	files     []string // public keys of the next number, PEM; none where they were given before
	threshold int      // 0 is more than half
}

// signerSet is the file of a number.
type signerSet struct {
	Threshold int      `json:"threshold"`
	Keys      []string `json:"keys"` // PEM
}

func (p *people) work() rotation.Work {
	return rotation.Work{Make: p.make, Drop: p.drop, Switch: p.change}
}

func (p *people) path(n int) string { return p.file(n, "-keys.json") }

// role is the signers of the role among those of a root.
func (p *people) role(all *tuf.RootSigners) *tuf.Signers {
	if p.tufRole == tuf.Root {
		return &all.Root
	}
	return &all.Targets
}

// make keeps who signs now, and who is to sign.
func (p *people) make(ctx context.Context, t rotation.Rotation) error {
	return p.repository(ctx, func(_ *stack.TUFRepo, cur tuf.Release, _ record.Record) error {
		all, err := tuf.SignersOf(cur.Roots[len(cur.Roots)-1].Bytes)
		if err != nil {
			return err
		}
		used := *p.role(&all)
		next, err := p.next(t.To)
		if err != nil {
			return err
		}
		if equalSigners(used, next) {
			return fmt.Errorf("the root names exactly these keys for %s already, and as many of them must sign: name all keys that are to sign, with the one that is new", p.tufRole)
		}
		*p.role(&all) = next
		if _, err := tuf.UnsignedRoot(all, 1, p.clock.Now().Add(time.Hour)); err != nil { // what no root could say
			return err
		}
		return errors.Join(p.write(t.From, used), p.write(t.To, next))
	})
}

// next are the signers that the flags name, or those of a command before.
func (p *people) next(n int) (s tuf.Signers, err error) {
	if len(p.files) == 0 {
		s, err := p.read(n)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("name all keys that are to sign %s with --key, once for each: their holders make new ones with sigbox tuf key, and give you the .pub files", p.tufRole)
		}
		return s, err
	}
	s.Threshold = p.threshold
	if s.Threshold == 0 {
		s.Threshold = len(p.files)/2 + 1
	}
	for _, file := range p.files {
		pub, err := keys.LoadPublic(file)
		if err != nil {
			return s, err
		}
		s.Keys = append(s.Keys, pub)
	}
	return s, nil
}

func (p *people) write(n int, s tuf.Signers) error {
	set := signerSet{Threshold: s.Threshold}
	for _, k := range s.Keys {
		text, err := keys.PublicPEM(k)
		if err != nil {
			return err
		}
		set.Keys = append(set.Keys, string(text))
	}
	raw, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return err
	}
	return instance.WriteFile(p.path(n), append(raw, '\n'), open)
}

func (p *people) read(n int) (s tuf.Signers, err error) {
	raw, err := os.ReadFile(p.path(n))
	if err != nil {
		return s, err
	}
	var set signerSet
	if err := json.Unmarshal(raw, &set); err != nil {
		return s, fmt.Errorf("%s: %w", p.path(n), err)
	}
	s.Threshold = set.Threshold
	for _, text := range set.Keys {
		pub, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(text))
		if err != nil {
			return s, fmt.Errorf("%s: %w", p.path(n), err)
		}
		s.Keys = append(s.Keys, pub)
	}
	return s, nil
}

// equalSigners says whether two name the same keys, in whichever order, and want as many.
func equalSigners(a, b tuf.Signers) bool {
	if a.Threshold != b.Threshold || len(a.Keys) != len(b.Keys) {
		return false
	}
	return !slices.ContainsFunc(a.Keys, func(k crypto.PublicKey) bool { return !b.Names(k) })
}

// drop removes the file of a number.
func (p *people) drop(_ context.Context, n int) error {
	for _, path := range []string{p.path(n), p.file(n, "-root.json")} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// change asks for a root that names the signers of a number, where it names those of the other one.
func (p *people) change(ctx context.Context, from, n int) error {
	want, err := p.read(n)
	if err != nil {
		return err
	}
	before, err := p.read(from)
	if err != nil {
		return err
	}
	return p.repository(ctx, func(t *stack.TUFRepo, cur tuf.Release, _ record.Record) error {
		all, err := tuf.SignersOf(cur.Roots[len(cur.Roots)-1].Bytes)
		if err != nil {
			return err
		}
		role := p.role(&all)
		switch {
		case equalSigners(*role, want):
			return nil
		case !equalSigners(*role, before):
			return fmt.Errorf("the root names neither the keys in %s nor those in %s: another request was published since. Go back (--undo) and begin anew, or name all keys by sigbox tuf request", p.path(from), p.path(n))
		}
		*role = want
		who := "enough holders of the root keys of before, and enough of those that come"
		if p.tufRole == tuf.Targets {
			who = "enough holders of the root keys, and enough of the targets keys that come, since they sign targets again"
		}
		return p.request(ctx, t, p.file(n, "-root.json"), stack.Wish{Root: &all}, who)
	})
}
