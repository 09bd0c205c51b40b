package stack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/mirrordir"
	tufweb "github.com/sigbox/sigbox/tuf/web"
)

// firstSet is how often a repository without a set looks for one: a person waits for it.
const firstSet = 2 * time.Second

// addTUF adds the repository. It has the keys of snapshot and timestamp and no others.
func (s *Server) addTUF(ctx context.Context) error {
	c := s.cfg.TUF
	var mirror tuf.Mirror
	if c.Mirror != "" {
		mirror = mirrordir.New(string(c.Mirror))
	}
	t, err := openTUF(ctx, s.cfg, s.clock, s.log, mirror)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func() error { t.Close(); return nil })
	s.keys.add("tuf.snapshot_key", t.Keys.Snapshot)
	s.keys.add("tuf.timestamp_key", t.Keys.Timestamp)
	s.health.add("database tuf", "degraded", newPing(t.DB.Read()).check)
	repo := t.Repo
	if err := repo.Open(ctx); errors.Is(err, tuf.ErrNotCreated) {
		s.log.WarnContext(ctx, "the TUF repository has no set yet, so that clients find nothing to trust: it is made by a ceremony, sigbox tuf init")
	} else if err != nil {
		return err
	} else if err := checkRenewable(repo.Published(), t.Keys, s.cfg); err != nil {
		return err
	}
	s.addRepositoryExpiry(t)
	g, err := s.newGatherer(t)
	if err != nil {
		return err
	}
	s.runs = append(s.runs, func(ctx context.Context) error { return runRepository(ctx, repo) }, g.run)
	d := s.door(c.Listen)
	tufweb.New(tufPrefix, repo.Published, repo.Look).Register(d.mux)
	if err := addClients(d.mux, string(c.PublicURL), repo, s.log); err != nil {
		return err
	}
	d.services = append(d.services,
		endpoint{"TUF mirror", string(c.PublicURL) + tufPrefix + "/root.json"}, endpoint{"Clients", string(c.PublicURL) + clientsPath})
	s.health.add("tuf", "degraded", func(context.Context) error { return repositoryHealth(repo, s.clock.Now()) })
	s.health.notes = append(s.health.notes, func(context.Context) (string, string) { return "trust statements", g.note() })
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

// roleNames are those of TUF.
var roleNames = []string{tuf.Root, tuf.Targets, tuf.Snapshot, tuf.Timestamp}

// repositoryHealth says what is wrong with the published set, without internal errors.
func repositoryHealth(repo *tuf.Repository, now time.Time) error {
	p := repo.Published()
	if p == nil {
		return errors.New("has no set yet: it is made by a ceremony, sigbox tuf init")
	}
	for _, role := range roleNames {
		if at := p.Expires(role); !now.Before(at) {
			return fmt.Errorf("%s has expired at %s: clients refuse the whole set", role, at.UTC().Format(time.RFC3339))
		}
	}
	if h := repo.Health(); h.Err != nil {
		return fmt.Errorf("cannot be renewed since %s; the log lines say why", h.Since.UTC().Format(time.RFC3339))
	}
	return nil
}
