package stack

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/filelock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
)

// Rotation is where a log stands on the way from one shard to the next. All of it is read from the
// database, so that one that was killed anywhere is taken up by the next.
type Rotation struct {
	From LogState         // the shard that takes entries; the last one where none does
	To   tlog.Description // what goes on for it; only Name, Face and Follows are there before it is made
	Made bool             // To is in the database

	Key string // file of a key that To has of its own; "" for none

	from, to ServedLog
}

// OwnKey says that the next shard has another key than the one before it.
func (r *Rotation) OwnKey() bool { return r.From.Face == config.FaceRekorV2 }

// Unfinished says that the next shard is made, and that the log has not switched to it yet.
func (r *Rotation) Unfinished() bool { return r.Made && !r.From.Frozen }

// PlanRotation looks where the log stands that a shard belongs to. as names the next shard; "" gives it
// the name of the first one and a number. Nothing is changed.
func (l *Logs) PlanRotation(ctx context.Context, name, as string) (*Rotation, error) {
	first, err := l.find(ctx, name)
	if err != nil {
		return nil, err
	}
	if first.Face == config.FaceCT {
		return nil, errors.New("a CT log has no shards: its certificates name the log in their SCTs, and clients look for no other")
	}
	all, err := l.List(ctx)
	if err != nil {
		return nil, err
	}
	states := map[string]LogState{}
	descriptions := make([]tlog.Description, len(all))
	for i, s := range all {
		states[s.Name], descriptions[i] = s, s.Description
	}
	if _, ok := states[name]; !ok {
		return nil, fmt.Errorf("log %s: %w: it is not in the database", name, tlog.ErrNotFound)
	}
	r := &Rotation{From: states[name], from: first}
	for next := successorOf(r.From.Name, descriptions); next != nil && r.From.Frozen; next = successorOf(r.From.Name, descriptions) {
		if r.from, err = l.find(ctx, next.Name); err != nil {
			return nil, err
		}
		r.From = states[next.Name]
	}
	if next := successorOf(r.From.Name, descriptions); next != nil {
		r.To, r.Made = *next, true
		if r.To.KeySHA256 != r.From.KeySHA256 {
			if r.Key, err = l.keyPath(r.from, r.To.Name); err != nil {
				return nil, err
			}
		}
		r.to, err = l.find(ctx, next.Name)
		return r, err
	}
	if as == "" {
		as = nextName(r.From.Name, states)
	}
	r.To = tlog.Description{Name: as, Face: r.From.Face, Follows: r.From.Name}
	return r, l.lastConfigured(r.from)
}

// lastConfigured refuses a shard before the last one of a configuration: that one goes on for it.
func (l *Logs) lastConfigured(s ServedLog) error {
	if s.Active {
		return nil
	}
	return fmt.Errorf("%s lists a shard after %s, which goes on for it", l.where, s.Name)
}

// nextName is the name of a log with the next number that is free.
func nextName(last string, taken map[string]LogState) string {
	base := last
	if i := strings.LastIndexByte(last, '-'); i > 0 && len(last)-i <= 4 && strings.Trim(last[i+1:], "0123456789") == "" {
		base = last[:i]
	}
	for n := 2; ; n++ {
		name := fmt.Sprintf("%s-%d", base, n)
		if _, ok := taken[name]; !ok {
			return name
		}
	}
}

// MakeNext makes the next shard of a log, with its first entries. Nobody sees it before Switch.
func (l *Logs) MakeNext(ctx context.Context, r *Rotation) error {
	if err := config.CheckName(r.To.Name); err != nil {
		return err
	}
	key, err := l.nextKey(r)
	if err != nil {
		return err
	}
	next, err := r.from.shard(r.To.Name, key)
	if err != nil {
		return err
	}
	there, err := l.list(ctx)
	if err != nil {
		return err
	}
	for _, d := range there {
		if err := apart(next.Config, d); err != nil {
			return err
		}
	}
	if next.Config.Guard, err = l.guardBeside(ctx); err != nil {
		return err
	}
	seeds, err := next.Seeds()
	if err != nil {
		return fmt.Errorf("first entries: %w", err)
	}
	store, err := l.store(ctx, r.To.Name)
	if err != nil {
		return err
	}
	if err := tlog.Create(ctx, store, next.Config, seeds); err != nil {
		return err
	}
	if r.To, err = store.Describe(ctx); err != nil {
		return err
	}
	r.Made = true
	r.to, err = l.find(ctx, r.To.Name)
	return err
}

// shard is a new log that goes on for this one: of Rekor v1 with the same key and a tree id of its own,
// of Rekor v2 with another key and the same origin.
func (l ServedLog) shard(name string, key crypto.Signer) (n ServedLog, err error) {
	n = l
	n.Name, n.Config.Name, n.Config.Follows = config.Name(name), name, string(l.Name)
	if l.Face == config.FaceRekorV2 {
		n.Signer = key
		if n.Config.Signer, err = checkpoint.NewSigner(string(l.Host), l.Origin, key); err != nil {
			return n, err
		}
		id := n.Config.Signer.Verifier().KeyID()
		n.Config.Register = fmt.Sprintf("%s#%x", l.Origin, id[:8])
		return n, nil
	}
	n.Config.Register = "" // its origin
	if n.TreeID, err = newTreeID(); err != nil {
		return n, err
	}
	n.Origin = fmt.Sprintf("%s - %d", l.Host, n.TreeID)
	n.Config.Signer, err = checkpoint.NewSigner(string(l.Host), n.Origin, n.Signer)
	return n, err
}

// nextKey returns the key of a new shard, nil for one of Rekor v1, which keeps that of the one before it.
// It makes the file if it is not there.
func (l *Logs) nextKey(r *Rotation) (crypto.Signer, error) {
	if r.from.Face != config.FaceRekorV2 {
		return nil, nil
	}
	path, err := l.keyPath(r.from, r.To.Name)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(path); err != nil {
			return nil, fmt.Errorf("the key of the new shard is to be in %s: %w", path, err)
		}
	}
	r.Key = path
	return keys.Load(path)
}

// makeKey makes a key file, whole or not at all.
func makeKey(path string) error {
	key, err := keys.NewECDSA()
	if err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was killed
		return err
	}
	if err := keys.Save(tmp, key); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// newTreeID draws a tree id as package instance does: positive, and never one that was there.
func newTreeID() (int64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("random tree id: %w", err)
	}
	return int64(binary.BigEndian.Uint64(b[:])>>2) | 1<<61, nil
}

// Switch freezes the shard that takes entries. From that moment on entries go to the next one: a
// process that meets the frozen shard finds it by itself. It returns how the frozen one ends. Where it
// is frozen already nothing changes.
func (l *Logs) Switch(ctx context.Context, r *Rotation) error {
	to, err := l.opened(ctx, r.to)
	if err != nil { // before there is no way back
		return err
	}
	if state, err := to.State(ctx); err != nil || state.Frozen {
		return errors.Join(err, fmt.Errorf("log %s is frozen itself: nothing was done", r.To.Name))
	}
	from, err := l.opened(ctx, r.from)
	if err != nil {
		return err
	}
	if err := from.Freeze(ctx); err != nil {
		return err
	}
	store, err := l.store(ctx, r.From.Name)
	if err == nil {
		r.From.Head, err = store.Head(ctx)
	}
	return err
}

// opened opens a log and refuses one that has halted.
func (l *Logs) opened(ctx context.Context, s ServedLog) (*tlog.Engine, error) {
	guard, err := l.guardBeside(ctx)
	if err != nil {
		return nil, err
	}
	store, err := l.store(ctx, string(s.Name))
	if err != nil {
		return nil, err
	}
	cfg := s.Config
	cfg.Guard = guard
	e, err := tlog.Open(ctx, store, cfg)
	if err == nil && e.Health() != nil {
		err = fmt.Errorf("log %s: %w", s.Name, e.Health())
	}
	return e, err
}

// guardBeside opens the guard, or reads it where a process that runs has it.
func (l *Logs) guardBeside(ctx context.Context) (g tlog.Guard, err error) {
	if l.guard != nil {
		return *l.guard, nil
	}
	g, err = l.openGuard(ctx)
	if errors.Is(err, filelock.ErrHeld) && l.peekGuard != nil {
		g, err = l.peekGuard(), nil
	}
	if err == nil {
		l.guard = &g
	}
	return g, err
}
