package stack

import (
	"context"
	"crypto/x509"
	"errors"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/expiry"
	"github.com/sigbox/sigbox/tuf/statement"
)

// newExpiry returns what watches over the expiry of what a server runs with, with nothing in it.
func newExpiry(s *Server) *watchedExpiry {
	return &watchedExpiry{clock: s.clock, log: s.log, file: s.cfg.File()}
}

func (s *Server) mends() mends { return mendsOf(s.cfg) }

// addExpiry shows what was contributed. It comes after the services.
func (s *Server) addExpiry(ctx context.Context) {
	w := s.expiry
	w.look(ctx)
	s.registry.MustRegister(w)
	s.health.add("expiry", "degraded", w.check)
	s.health.notes = append(s.health.notes, w.note)
	s.runs = append(s.runs, w.run)
}

// addIdentityExpiry contributes the certificates of a server that can be replaced while it runs.
func (s *Server) addIdentityExpiry() {
	if s.live.tls != nil {
		s.expiry.add(func(context.Context) ([]expiry.Item, error) { return s.live.tls.tlsItems(), nil })
	}
}

func (i *identity) tlsItems() []expiry.Item {
	return tlsItems(i.chain(), tlsMend(i.paths.Load().certificate))
}

func tlsMend(certificate config.File) string {
	return "replace " + string(certificate) + " and its key: they are taken over without a restart"
}

// addPeerExpiry contributes the certificate of a service towards the others.
func (s *Server) addPeerExpiry(service string, id *identity) {
	s.expiry.add(func(context.Context) ([]expiry.Item, error) {
		return s.mends().peerItems(service, id), nil
	})
}

// addChainExpiry contributes the chain of an authority ("ca" or "tsa").
func (s *Server) addChainExpiry(purpose string, chain []*x509.Certificate) {
	s.expiry.fixed(s.mends().chainItems(purpose, chain))
}

// addRepositoryExpiry contributes what the repository publishes.
func (s *Server) addRepositoryExpiry(t *TUFRepo) {
	s.expiry.add(func(ctx context.Context) ([]expiry.Item, error) {
		return s.mends().repositoryItems(ctx, t, s.signing(ctx))
	})
}

// signing are the ids of the keys that services of this process sign with: of logs only those that take entries.
func (s *Server) signing(ctx context.Context) (ids [][32]byte) {
	idle := map[[32]byte]bool{}
	if s.shards != nil {
		ends := map[string]bool{}
		for _, l := range s.health.allLogs() {
			ends[l.name] = frozen(ctx, l.engine) != ""
		}
		for _, l := range s.shards.all() {
			id := statement.Statement{Role: logRoles[l.Face], Key: l.Signer.Public()}.KeyID()
			is := ends[string(l.Name)] || l.Face == config.FaceRekorV1 && l.Created.IsZero() && !l.Active
			if was, known := idle[id]; !known || was { // shards may share a key
				idle[id] = is
			}
		}
	}
	for _, service := range s.statements.services() {
		for _, raw := range s.statements.of(service) {
			if said, err := statement.Open(raw); err == nil && !idle[said.KeyID()] { // our own
				ids = append(ids, said.KeyID())
			}
		}
	}
	return ids
}

// chain is the certificate and what is sent with it.
func (i *identity) chain() []*x509.Certificate {
	pair := i.pair.Load()
	list := []*x509.Certificate{pair.Leaf}
	for _, der := range pair.Certificate[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil { // one that does not parse is no use to clients either
			list = append(list, cert)
		}
	}
	return list
}

// Expiring returns what will stop working of the services of a configuration, in order: what their
// files say, and where there is a repository what it says. What could be read is returned with the
// error for what could not.
func Expiring(ctx context.Context, cfg *config.Config, t *TUFRepo) ([]expiry.Item, error) {
	m := mendsOf(cfg)
	var items []expiry.Item
	var inUse [][32]byte // authorities: which log takes entries is in a database
	var errs []error
	if cfg.TLS != nil {
		id := &identity{}
		err := id.load(cfg.TLS.Certificate, cfg.TLS.Key, "")
		if err == nil {
			items = append(items, id.tlsItems()...)
		}
		errs = append(errs, err)
	}
	for _, service := range cfg.Services() {
		if p := cfg.Peers(service); p != nil {
			id := &identity{}
			err := id.load(p.Certificate, p.Key, p.Authorities)
			if err == nil {
				items = append(items, m.peerItems(service, id)...)
			}
			errs = append(errs, err)
		}
	}
	if c := cfg.CA; c != nil {
		files := map[string]config.File{"ca": c.Chain}
		if c.TSA != nil {
			files["tsa"] = c.TSA.Chain
		}
		for purpose, file := range files {
			chain, err := readChain(string(file))
			if err == nil {
				items = append(items, m.chainItems(purpose, chain)...)
				inUse = append(inUse, statement.Statement{Chain: chain}.KeyID())
			}
			errs = append(errs, err)
		}
		keys, err := pinnedKeys(c.IssuerKeys)
		items, errs = append(items, keys.ends...), append(errs, err)
	}
	if t != nil {
		list, err := m.repositoryItems(ctx, t, inUse)
		items, errs = append(items, list...), append(errs, err)
	}
	return expiry.Order(items), errors.Join(errs...)
}
