package stack

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
