package stack

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/ctlog"
	"github.com/sigbox/sigbox/tsa"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/ceremony"
)

// organization is that in the subjects of the certificates of an instance.
func organization(d *instance.Dir) string { return "sigbox " + d.Info.ID[:8] }

// made says whether a chain is there for the key beside it: a step that was killed has made both.
func (r *Rotations) made(kind, role string, n int) bool {
	_, err := loadAuthority(r.dir, kind, role, n)
	return err == nil
}

// saveChain writes a chain as a whole.
func (r *Rotations) saveChain(kind string, n int, chain []*x509.Certificate) error {
	path := numberedChain(r.dir, kind, n)
	if err := instance.MakeDir(filepath.Dir(path)); err != nil {
		return err
	}
	return instance.WriteFile(path, chainPEM(chain), 0o600)
}

// makeCA makes the next intermediate, below the root in use or, where that is what is rotated, below a new one.
func (r *Rotations) makeCA(_ context.Context, t rotation.Rotation) error {
	if r.made(kindCA, roleCAIntermediate, t.To) {
		return nil
	}
	used, err := loadAuthority(r.dir, kindCA, roleCAIntermediate, t.From)
	if err != nil {
		return err
	}
	if err := r.makeKey(roleCAIntermediate, t.To); err != nil {
		return err
	}
	key, err := keys.Load(numberedKey(r.dir, roleCAIntermediate, t.To))
	if err != nil {
		return err
	}
	name := func(of string) pkix.Name {
		return pkix.Name{Organization: []string{organization(r.dir)}, CommonName: fmt.Sprintf("%s %s %d", organization(r.dir), of, t.To)}
	}
	root := used.chain[len(used.chain)-1]
	var rootKey crypto.Signer
	if t.Component == roleCARoot {
		if err := r.makeKey(roleCARoot, t.To); err != nil {
			return err
		}
		if rootKey, err = keys.Load(numberedKey(r.dir, roleCARoot, t.To)); err != nil {
			return err
		}
		root, err = ca.NewRoot(r.clock, name("root"), rootKey)
	} else {
		rootKey, err = r.rootKey(roleCARoot, t.To, root)
	}
	if err != nil {
		return err
	}
	next, err := ca.NewIntermediate(r.clock, name("intermediate"), key.Public(), root, rootKey)
	if err != nil {
		return err
	}
	return r.saveChain(kindCA, t.To, []*x509.Certificate{next, root})
}

// rootKey finds the key of a root among those of a role up to a number.
func (r *Rotations) rootKey(role string, last int, root *x509.Certificate) (crypto.Signer, error) {
	for n := last; n >= 1; n-- {
		key, err := keys.Load(numberedKey(r.dir, role, n))
		if err == nil && keys.Equal(key.Public(), root.PublicKey) {
			return key, nil
		}
	}
	return nil, fmt.Errorf("the key of the root %q is not in %s: without it nothing can be certified below that root", root.Subject, r.dir.File("keys"))
}

// leafLife is how long a certificate for timestamps lives.
const leafLife = 5 * 365 * 24 * time.Hour

// makeTSA makes the next key for timestamps, below the root in use, or below a new one where that one would
// end before it.
func (r *Rotations) makeTSA(_ context.Context, t rotation.Rotation) error {
	if r.made(kindTSA, roleTSA, t.To) {
		return nil
	}
	used, err := loadAuthority(r.dir, kindTSA, roleTSA, t.From)
	if err != nil {
		return err
	}
	if used.chain[1].NotAfter.Before(r.clock.Now().Add(leafLife)) {
		return r.makeTSARoot(t.To)
	}
	if err := r.makeKey(roleTSA, t.To); err != nil {
		return err
	}
	key, err := keys.Load(numberedKey(r.dir, roleTSA, t.To))
	if err != nil {
		return err
	}
	rootKey, err := r.rootKey(roleTSARoot, t.To, used.chain[1])
	if err != nil {
		return err
	}
	subject := pkix.Name{Organization: []string{organization(r.dir)}, CommonName: fmt.Sprintf("%s Timestamp Authority %d", organization(r.dir), t.To)}
	leaf, err := tsa.NewCertificate(r.clock, subject, key.Public(), used.chain[1], rootKey)
	if err != nil {
		return err
	}
	return r.saveChain(kindTSA, t.To, append([]*x509.Certificate{leaf}, used.chain[1:]...))
}

// makeTSARoot makes the whole chain anew. Its keys are those of a step that was killed no more: that one has
// made no chain.
func (r *Rotations) makeTSARoot(n int) error {
	chain, err := tsa.NewChain(r.clock, fmt.Sprintf("%s %d", organization(r.dir), n))
	if err != nil {
		return err
	}
	for role, key := range map[string]crypto.Signer{roleTSARoot: chain.Root.Key, roleTSA: chain.Leaf.Key} {
		path := numberedKey(r.dir, role, n)
		if err := errors.Join(instance.MakeDir(filepath.Dir(path)), saveKey(path, key)); err != nil {
			return err
		}
	}
	return r.saveChain(kindTSA, n, chain.Certificates())
}

// makeCT makes the next CT log, with the chain of the certificate authority as its first entries.
func (r *Rotations) makeCT(ctx context.Context, t rotation.Rotation) error {
	if err := r.makeKey(roleCT, t.To); err != nil {
		return err
	}
	key, err := keys.Load(numberedKey(r.dir, roleCT, t.To))
	if err != nil {
		return err
	}
	next, err := instanceCT(r.dir.Info, ctKey{t.To, key})
	if err != nil {
		return err
	}
	there, err := r.db.list(ctx)
	if err != nil {
		return err
	}
	for _, d := range there {
		if d.Name == next.Config.Name && d.KeySHA256 == next.Config.Signer.Verifier().KeyID() {
			return nil // a step that was killed has made it
		}
		if err := apart(next.Config, d); err != nil {
			return err
		}
	}
	g, err := loadNumbered(r.dir)
	if err != nil {
		return err
	}
	seeds, err := ctlog.Seeds(g.caOfUse.chain)
	if err != nil {
		return fmt.Errorf("first entries: %w", err)
	}
	return r.createLog(ctx, next, seeds)
}

// createLog makes a log beside the process that runs, which has the guard.
func (r *Rotations) createLog(ctx context.Context, l ServedLog, seeds []tlog.Entry) (err error) {
	logs, err := OpenLogs(ctx, r.dir, r.database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	l.Config.Clock = r.clock
	if l.Config.Guard, err = logs.guardBeside(ctx); err != nil {
		return err
	}
	store, err := logs.store(ctx, l.Config.Name)
	if err != nil {
		return err
	}
	return tlog.Create(ctx, store, l.Config, seeds)
}

// switchTUF has the next root name another key of a role in the place of the one before; the keys of mirrors
// stay. Clients follow it by themselves: the keys of before sign it too.
func (r *Rotations) switchTUF(ctx context.Context, kind, role string, from, to int) error {
	next, err := keys.Load(numberedKey(r.dir, kind, to))
	if err != nil {
		return err
	}
	var before crypto.PublicKey // nil: it was dropped before, and no root names it
	old, err := keys.Load(numberedKey(r.dir, kind, from))
	if err == nil {
		before = old.Public()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	repo, cur, used, err := r.repository(ctx)
	if err != nil {
		return err
	}
	signers, err := tuf.SignersOf(cur.Roots[len(cur.Roots)-1].Bytes)
	if err != nil {
		return err
	}
	of := map[string]*tuf.Signers{tuf.Root: &signers.Root, tuf.Targets: &signers.Targets, tuf.Snapshot: &signers.Snapshot, tuf.Timestamp: &signers.Timestamp}[role]
	if of.Names(next.Public()) && !of.Names(before) {
		return nil // a step that was killed has done it
	}
	there := false
	if *of, there = of.Replace(before, next.Public()); !there {
		return fmt.Errorf("the root names neither %s nor %s", numberedKey(r.dir, kind, from), numberedKey(r.dir, kind, to))
	}
	holders := []crypto.Signer{used.Root, used.Targets, next}
	inUse := func(k *tuf.Keys) *crypto.Signer {
		return map[string]*crypto.Signer{tuf.Root: &k.Root, tuf.Targets: &k.Targets, tuf.Snapshot: &k.Snapshot, tuf.Timestamp: &k.Timestamp}[role]
	}
	*inUse(&used) = next
	if before != nil {
		used.Before = &tuf.Keys{}
		*inUse(used.Before) = old
	}
	repo.UseKeys(used)
	return r.publishRoot(ctx, repo, cur, signers, holders, used.Before)
}

// publishRoot publishes a root with other signers, signed by those of its holders that it concerns, and a set that
// clients with the root of before take too: before are the keys that it names no more, nil for none.
func (r *Rotations) publishRoot(ctx context.Context, repo *tuf.Repository, cur tuf.Release, signers tuf.RootSigners, holders []crypto.Signer, before *tuf.Keys) error {
	rec, err := instanceRecord(cur, r.dir.Info)
	if err != nil {
		return err
	}
	now := r.clock.Now()
	request, err := ceremony.New(ceremony.Options{Instance: r.dir.Info.ID, Current: cur, Record: rec, Root: &signers, Lifetimes: tuf.Development(), Now: now})
	if err != nil {
		return err
	}
	for _, key := range holders {
		if _, err := request.Sign(key, now); err != nil && !errors.Is(err, ceremony.ErrUnknownKey) {
			return err
		}
	}
	signed, err := request.Signed()
	if err != nil {
		return err
	}
	if signed.Targets != nil && before != nil && before.Targets != nil {
		if signed.Targets, err = tuf.TargetsSignedToo(signed.Targets, before.Targets); err != nil {
			return err
		}
	}
	_, err = repo.Install(ctx, signed)
	return err
}
