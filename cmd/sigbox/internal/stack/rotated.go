package stack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/profile"
	casqlstore "github.com/sigbox/sigbox/ca/sqlstore"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/tlog/ctlog"
	"github.com/sigbox/sigbox/tlog/tiles"
	"github.com/sigbox/sigbox/tsa"
)

// issuing is the certificate authority of which the key can be rotated while it issues.
type issuing struct{ now atomic.Pointer[ca.Authority] }

// Issue is [ca.Authority.Issue] of the authority in use.
func (i *issuing) Issue(ctx context.Context, id profile.Identity, key ca.Key, grant ca.Grant) ([]*x509.Certificate, error) {
	return i.now.Load().Issue(ctx, id, key, grant)
}

// Chain is that of the authority in use.
func (i *issuing) Chain() []*x509.Certificate { return i.now.Load().Chain() }

func (s *Stack) newCA(m *material) (*ca.Authority, error) {
	log := m.ctOfUse()
	return ca.New(ca.Config{
		Key: m.caOfUse.key, Chain: m.caOfUse.chain, SCTs: s.cts[log.n].Vouched(), SCTKey: log.key.Public(),
		Records: casqlstore.NewSQLite(s.db.file), Clock: s.opts.Clock, Logger: s.opts.Log,
	})
}

func (s *Stack) newTSA(m *material) (*tsa.Authority, error) {
	return tsa.New(tsa.Config{Key: m.tsaOfUse.key, Chain: m.tsaOfUse.chain, Clock: s.opts.Clock, Logger: s.opts.Log})
}

// addCT serves a CT log that is open: the first one at /ct/v1, the others below their own names.
func (s *Stack) addCT(k ctKey, roots []*x509.Certificate) error {
	face, err := ctlog.New(ctlog.Config{Log: s.logs[k.name()], Signer: k.key, Roots: roots, Clock: s.opts.Clock, Logger: s.opts.Log})
	if err != nil {
		return fmt.Errorf("log %s: %w", k.name(), err)
	}
	s.cts[k.n] = face
	return registerCT(s.mux, k.path(), face, s.opts.Log)
}

// registerCT adds the API of a CT log below a path, and beside it the same tree as tiles.
func registerCT(mux *http.ServeMux, path string, face *ctlog.Server, log *slog.Logger) error {
	own := mux
	if path != "" {
		own = http.NewServeMux()
	}
	face.Register(own)
	t, err := tiles.New(face.Tree(), "/ct", log)
	if err != nil {
		return err
	}
	t.Register(own)
	if path != "" {
		mux.Handle(path+"/", http.StripPrefix(path, own))
	}
	return nil
}

// ctNamed is the face of a CT log, nil of another log.
func (s *Stack) ctNamed(name config.Name) *ctlog.Server {
	for n, face := range s.cts {
		if (ctKey{n: n}).name() == string(name) {
			return face
		}
	}
	return nil
}

// openCTs opens and serves the CT logs that are not served yet.
func (s *Stack) openCTs(ctx context.Context, m *material) error {
	for _, k := range m.cts {
		if s.cts[k.n] != nil {
			continue
		}
		l, err := instanceCT(s.opts.Dir.Info, k)
		if err != nil {
			return err
		}
		engine, err := s.open(ctx, l)
		if err != nil {
			return err
		}
		s.logs[k.name()] = engine
		if err := s.addCT(k, m.roots()); err != nil {
			return err
		}
		s.shards.begin(l, engine)
		if err := s.service.Add(rpcLog(l.Config, engine, s.cts[k.n], nil)); err != nil {
			return err
		}
	}
	return nil
}

// useTUFKeys has the repository sign with the keys that its root names.
func (s *Stack) useTUFKeys(ctx context.Context) error {
	cur, err := s.repo.Current(ctx)
	if err != nil {
		return err
	}
	keys, err := tufKeys(s.opts.Dir, s.used.Load().journal, cur)
	if err == nil {
		s.repo.UseKeys(keys)
	}
	return err
}

// adopt takes over what the journal of rotations says, all of it or nothing that signs.
func (s *Stack) adopt(ctx context.Context, m *material) error {
	if err := s.openCTs(ctx, m); err != nil {
		return err
	}
	for _, face := range s.cts {
		if err := face.Accept(m.roots()); err != nil {
			return err
		}
	}
	issuer, err := s.newCA(m)
	if err != nil {
		return err
	}
	stamper, err := s.newTSA(m)
	if err != nil {
		return err
	}
	s.used.Store(m)
	if err := errors.Join(s.repo.Open(ctx), s.useTUFKeys(ctx)); err != nil {
		return err
	}
	s.issuer.now.Store(issuer)
	s.stamper.Use(stamper)
	if s.opts.Rotated != nil {
		if err := s.opts.Rotated(ctx); err != nil {
			return err
		}
	}
	return noteTaken(s.opts.Dir, m.read)
}

// lookForRotations is how often a process looks at the journal.
const lookForRotations = 100 * time.Millisecond

// followRotations takes over what "sigbox rotate" writes down, until ctx ends.
func (s *Stack) followRotations(ctx context.Context) error {
	tick := time.NewTicker(lookForRotations)
	defer tick.Stop()
	done, said := s.used.Load().read, ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		raw, err := os.ReadFile(journalFile(s.opts.Dir).Path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && bytes.Equal(raw, done) {
			continue
		}
		m, err := loadMaterial(s.opts.Dir)
		if err == nil {
			err = s.adopt(ctx, m)
		}
		if err == nil {
			done, said = m.read, ""
			s.opts.Log.InfoContext(ctx, "keys taken over", "ca", m.caOfUse.n, "tsa", m.tsaOfUse.n, "ct", m.ctInUse)
		} else if text := err.Error(); text != said && ctx.Err() == nil {
			said = text
			s.opts.Log.ErrorContext(ctx, "a rotation of keys cannot be taken over: what was used before goes on", "error", err)
		}
	}
}

// takenFile says which journal the process that runs has taken over.
func takenFile(d *instance.Dir) string { return d.File("rotations.taken") }

// noteTaken notes that a journal, as it was read, is taken over; nil is that of an instance without rotations.
func noteTaken(d *instance.Dir, journal []byte) error {
	if journal == nil {
		return nil
	}
	return instance.WriteFile(takenFile(d), fmt.Appendf(nil, "%x\n", sha256.Sum256(journal)), 0o600)
}

// hasTaken says whether the process that runs has taken the journal over as it is now.
func hasTaken(d *instance.Dir) (bool, error) {
	_, raw, err := journalFile(d).Read()
	if err != nil {
		return false, err
	}
	said, err := os.ReadFile(takenFile(d))
	if errors.Is(err, fs.ErrNotExist) {
		return raw == nil, nil
	}
	return err == nil && string(said) == fmt.Sprintf("%x\n", sha256.Sum256(raw)), err
}
