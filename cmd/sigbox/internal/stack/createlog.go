package stack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/tlog"
)

// Create makes a log of a configuration file, with its first entries, and returns it.
func (l *Logs) Create(ctx context.Context, name string) (LogState, error) {
	k, err := l.find(ctx, name)
	if err != nil {
		return LogState{}, err
	}
	if !l.configured {
		return LogState{}, errors.New("sigbox up has made the logs of its instance, and they are all that it has")
	}
	there, err := l.list(ctx)
	if err != nil {
		return LogState{}, err
	}
	for _, d := range there {
		if err := apart(k.Config, d); err != nil {
			return LogState{}, err
		}
	}
	cfg, store, err := l.guarded(ctx, name)
	if err != nil {
		return LogState{}, err
	}
	seeds, err := k.Seeds()
	if err != nil {
		return LogState{}, fmt.Errorf("first entries: %w", err)
	}
	if err := tlog.Create(ctx, store, cfg, seeds); err != nil {
		return LogState{}, err
	}
	// As serve will open it.
	if _, err := tlog.Open(ctx, store, cfg); err != nil {
		return LogState{}, err
	}
	d, err := store.Describe(ctx)
	if err != nil {
		return LogState{}, err
	}
	head, err := store.Head(ctx)
	return LogState{Description: d, Head: head}, err
}

// CreateBeside makes a log of a configuration file, beside processes that run and have the guard. One that is
// there with this key is left as it is.
func (l *Logs) CreateBeside(ctx context.Context, name string) error {
	k, err := l.find(ctx, name)
	if err != nil {
		return err
	}
	there, err := l.list(ctx)
	if err != nil {
		return err
	}
	for _, d := range there {
		if d.Name == name && d.KeySHA256 == k.Config.Signer.Verifier().KeyID() {
			return nil
		}
		if err := apart(k.Config, d); err != nil {
			return err
		}
	}
	if k.Config.Guard, err = l.guardBeside(ctx); err != nil {
		return err
	}
	seeds, err := k.Seeds()
	if err != nil {
		return fmt.Errorf("first entries: %w", err)
	}
	store, err := l.store(ctx, name)
	if err != nil {
		return err
	}
	return tlog.Create(ctx, store, k.Config, seeds)
}

// Statement is what a log that is there says about its key.
func (l *Logs) Statement(ctx context.Context, cfg *config.Config, name string, now time.Time) ([]byte, error) {
	k, err := l.find(ctx, name)
	if err != nil {
		return nil, err
	}
	store, err := l.store(ctx, name)
	if err != nil {
		return nil, err
	}
	d, err := store.Describe(ctx)
	if err != nil {
		return nil, fmt.Errorf("log %s: %w", name, err)
	}
	list, err := LogStatements(cfg, []ServedLog{k}, map[config.Name]time.Time{k.Name: time.UnixMilli(d.CreatedMS)}, now)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// TookAfter says whether the last n entries of a log, those that it was made with left out, all came after
// the last one of another log.
func (l *Logs) TookAfter(ctx context.Context, name, other string, n int64) (bool, error) {
	k, err := l.find(ctx, name)
	if err != nil {
		return false, err
	}
	store, err := l.store(ctx, name)
	if err != nil {
		return false, err
	}
	first, err := k.Seeds()
	if err != nil {
		return false, err
	}
	head, err := store.Head(ctx)
	if err != nil || head.Size < int64(len(first))+n {
		return false, err
	}
	leaves, err := store.Leaves(ctx, head.Size-n, head.Size)
	if err != nil {
		return false, err
	}
	before, err := l.store(ctx, other)
	if err != nil {
		return false, err
	}
	last, err := before.Head(ctx) // after the other one was read: it may take entries meanwhile
	return err == nil && leaves[0].TimeMS > last.TimeMS, err
}

// apart says what a new log and one that is there may not share.
func apart(cfg tlog.Config, d tlog.Description) error {
	v := cfg.Signer.Verifier()
	shard := cfg.Face == config.FaceRekorV1 && d.Face == cfg.Face
	switch {
	case d.Name == cfg.Name:
		return fmt.Errorf("log %s: %w: a log is created once", d.Name, tlog.ErrExists)
	case d.Origin == cfg.Registered():
		return fmt.Errorf("origin %q: %w: it is that of log %s, and what the two sign would contradict each other: give the new log another tree_id or host", d.Origin, tlog.ErrExists, d.Name)
	case shard && treeOf(d.Origin) == treeOf(v.Origin()):
		return fmt.Errorf("tree id %s: %w: it is that of log %s: give the new log another tree_id", treeOf(d.Origin), tlog.ErrExists, d.Name)
	case !shard && d.KeySHA256 == v.KeyID():
		return fmt.Errorf("its key is that of log %s: only shards of one Rekor v1 log may share theirs; make a new one", d.Name)
	}
	return nil
}

// treeOf is the tree id at the end of the origin of a Rekor v1 log.
func treeOf(origin string) string { return origin[strings.LastIndexByte(origin, ' ')+1:] }
