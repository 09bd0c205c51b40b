package stack

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/filelock"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
)

// Rotation is where a log stands on the way from one shard to the next. All of it is read from the
// database, so that one that was killed anywhere is taken up by the next.
type Rotation struct {
	From LogState         // the shard that takes entries; the last one where none does
	To   tlog.Description // what goes on for it; only Name, Face, Origin (of a host of its own) and Follows are there before it is made
	Made bool             // To is in the database

	Key string // file of a key that To has of its own; "" for none

	from, to ServedLog
}

// OwnKey says that the next shard has another key than the one before it.
func (r *Rotation) OwnKey() bool { return r.From.Face == config.FaceRekorV2 }

// OwnHost is the host name that the next shard has of its own, "" where it shares that of the one before it.
func (r *Rotation) OwnHost() string {
	if origin := originOf(r.To); r.OwnKey() && origin != "" && origin != originOf(r.From.Description) {
		return origin
	}
	return ""
}

// Unfinished says that the next shard is made, and that the log has not switched to it yet.
func (r *Rotation) Unfinished() bool { return r.Made && !r.From.Frozen }

// NewShard is what an operator says of the next shard.
type NewShard struct {
	Name string // "" is that of the next one in the configuration, else that of the first one and a number
	Host string // of its own, for Rekor v2; "" is that of the configuration, else that of the shard before it
}

// PlanRotation looks where the log stands that a shard belongs to, and what is to be made. Nothing is changed.
func (l *Logs) PlanRotation(ctx context.Context, name string, want NewShard) (*Rotation, error) {
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
	if want, err = l.choose(want, r.From, states); err != nil {
		return nil, err
	}
	r.To = tlog.Description{Name: want.Name, Face: r.From.Face, Origin: want.Host, Follows: r.From.Name}
	if r.OwnKey() {
		if _, err := l.freeKeyPath(r.from, r.To.Name); err != nil {
			return nil, err
		}
	}
	return r, l.lastConfigured(r.from)
}

// choose completes what an operator says of the shard that goes on for one by what the configuration says.
func (l *Logs) choose(want NewShard, from LogState, there map[string]LogState) (NewShard, error) {
	if from.Face != config.FaceRekorV2 {
		if want.Host != "" {
			return want, errors.New("a shard of Rekor v1 has the host of the log: clients tell shards by their tree ids")
		}
	} else if err := l.chooseHost(&want, there); err != nil {
		return want, err
	}
	if want.Name == "" {
		want.Name = nextName(from.Name, there)
	}
	return want, nil
}

func (l *Logs) chooseHost(want *NewShard, there map[string]LogState) error {
	for _, sh := range l.planned {
		if _, made := there[string(sh.Name)]; want.Name == "" && !made {
			want.Name = string(sh.Name)
		}
		if want.Name != string(sh.Name) {
			continue
		}
		if want.Host != "" && want.Host != string(sh.Host) {
			return fmt.Errorf("%s gives %s the host %s, and not %s", l.where, sh.Name, sh.Host, want.Host)
		}
		want.Host = string(sh.Host)
	}
	if want.Host == "" {
		return nil
	}
	if err := config.CheckHost(want.Host); err != nil {
		return fmt.Errorf("--host: %w", err)
	}
	for _, s := range there {
		if originOf(s.Description) == want.Host {
			return fmt.Errorf("%s is the host of %s: a shard has a host of its own, or without one that of the shard before it", want.Host, s.Name)
		}
	}
	return nil
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
	next, err := r.from.shard(r.To.Name, r.OwnHost(), key)
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
// of Rekor v2 with another key, and a host of its own or that of this one.
func (l ServedLog) shard(name, host string, key crypto.Signer) (n ServedLog, err error) {
	n = l
	n.Config.Register = "" // its origin
	n.Name, n.Config.Name, n.Config.Follows = config.Name(name), name, string(l.Name)
	if l.Face == config.FaceRekorV2 {
		n.Signer = key
		if host != "" {
			n.Host, n.Origin = config.Host(host), host
		}
		if n.Config.Signer, err = checkpoint.NewSigner(string(n.Host), n.Origin, key); err == nil && host == "" {
			id := n.Config.Signer.Verifier().KeyID()
			n.Config.Register = fmt.Sprintf("%s#%x", l.Origin, id[:8])
		}
		return n, err
	}
	if n.TreeID, err = newTreeID(); err != nil {
		return n, err
	}
	n.Origin = fmt.Sprintf("%s - %d", l.Host, n.TreeID)
	n.Config.Signer, err = checkpoint.NewSigner(string(l.Host), n.Origin, n.Signer)
	return n, err
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
