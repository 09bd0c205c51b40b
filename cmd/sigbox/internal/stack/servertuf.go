package stack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/mirrordir"
	tufpgstore "github.com/sigbox/sigbox/tuf/pgstore"
	tufweb "github.com/sigbox/sigbox/tuf/web"
)

// firstSet is how often a repository without a set looks for one: a person waits for it.
const firstSet = 2 * time.Second

// addTUF adds the repository. It has the keys of snapshot and timestamp and no others.
func (s *Server) addTUF(ctx context.Context) error {
	c := s.cfg.TUF
	db, err := s.database(ctx, "tuf", c.Database)
	if err != nil {
		return err
	}
	cfg := tuf.Config{Store: tufpgstore.New(db), Lifetimes: tuf.Production(), Clock: s.clock, Log: s.log}
	if cfg.Keys.Snapshot, err = loadKey(c.Snapshot); err != nil {
		return fmt.Errorf("tuf.snapshot_key: %w", err)
	}
	if cfg.Keys.Timestamp, err = loadKey(c.Timestamp); err != nil {
		return fmt.Errorf("tuf.timestamp_key: %w", err)
	}
	if c.Mirror != "" {
		cfg.Mirror = mirrordir.New(string(c.Mirror))
	}
	repo := tuf.New(cfg)
	if err := repo.Open(ctx); errors.Is(err, tuf.ErrNotCreated) {
		s.log.WarnContext(ctx, "the TUF repository has no set yet, so that clients find nothing to trust: it is made by a ceremony, sigbox tuf init")
	} else if err != nil {
		return err
	}
	s.runs = append(s.runs, func(ctx context.Context) error { return runRepository(ctx, repo) })
	d := s.door(c.Listen)
	tufweb.New(tufPrefix, repo.Published).Register(d.mux)
	d.services = append(d.services, endpoint{"TUF mirror", string(c.PublicURL) + tufPrefix + "/root.json"})
	s.health.add("tuf", "degraded", func(context.Context) error {
		if repo.Published() == nil {
			return errors.New("has no set yet: it is made by a ceremony, sigbox tuf init")
		}
		return repositoryHealth(repo, s.clock.Now())
	})
	return nil
}

// runRepository keeps a repository fresh, once there is something in it.
func runRepository(ctx context.Context, repo *tuf.Repository) error {
	for repo.Published() == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(firstSet):
		}
		_ = repo.Open(ctx) // which may be ErrNotCreated for long; Run says it of other errors
	}
	return repo.Run(ctx)
}

// repositoryHealth says what is wrong with the published set, without internal errors.
func repositoryHealth(repo *tuf.Repository, now time.Time) error {
	p := repo.Published()
	for _, role := range []string{tuf.Root, tuf.Targets, tuf.Snapshot, tuf.Timestamp} {
		if at := p.Expires(role); !now.Before(at) {
			return fmt.Errorf("%s has expired at %s: clients refuse the whole set", role, at.UTC().Format(time.RFC3339))
		}
	}
	if h := repo.Health(); h.Err != nil {
		return fmt.Errorf("cannot be renewed since %s; the log lines say why", h.Since.UTC().Format(time.RFC3339))
	}
	return nil
}
