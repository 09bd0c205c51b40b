package stack

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/ca/ctclient"
	"github.com/sigbox/sigbox/ca/fulcio"
	capgstore "github.com/sigbox/sigbox/ca/pgstore"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/expiry"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/tsa"
	tsaweb "github.com/sigbox/sigbox/tsa/web"
	"github.com/sigbox/sigbox/tuf/handover"
)

// ctCheck is how long the CT log may take to say what its key is.
const ctCheck = 5 * time.Second

// addCA adds the certificate authority and the timestamp authority.
func (s *Server) addCA(ctx context.Context) error {
	c := s.cfg.CA
	db, err := s.database(ctx, "ca", c.Database)
	if err != nil {
		return err
	}
	key, err := loadKey(c.Key)
	if err != nil {
		return fmt.Errorf("ca.key: %w", err)
	}
	s.keys.add("ca.key", key)
	chain, err := readChain(string(c.Chain))
	if err != nil {
		return fmt.Errorf("ca.chain: %w", err)
	}
	watched, sctKey, err := s.openCT(ctx)
	if err != nil {
		return fmt.Errorf("ca.ct: %w", err)
	}
	records := capgstore.New(db)
	authority, err := ca.New(ca.Config{
		Key: key, Chain: chain, SCTs: watched, SCTKey: sctKey, Records: records, Clock: s.clock, Logger: s.log,
		Validity: time.Duration(c.Validity),
	})
	if err != nil {
		return err
	}
	trust := &issuers{idp: s.idp, own: s.cfg.Issuer, clock: s.clock, log: s.log}
	if err := trust.load(ctx, s.cfg); err != nil {
		return fmt.Errorf("ca.issuers: %w", err)
	}
	face, err := fulcio.New(fulcio.Config{Authority: authority, Trust: trust.trust, Quotas: s.newQuotas("ca", caRates), Logger: s.log})
	if err != nil {
		return err
	}
	s.live.issuers = trust
	d := s.door(c.Listen)
	face.Register(d.mux)
	face.RegisterGRPC(d.grpc)
	d.services = append(d.services, endpoint{"Fulcio (CA)", string(c.PublicURL) + "/api/v2/configuration"})
	s.health.add("ca certificates", "degraded", func(context.Context) error { return valid(chain, s.clock.Now()) })
	s.addChainExpiry("ca", chain)
	s.expiry.add(func(context.Context) ([]expiry.Item, error) { return trust.now.Load().ends, nil })
	s.health.add("ca ct log", "degraded", func(context.Context) error { return watched.err() })
	if c.TSA != nil {
		if err := s.addTSA(ctx, d, c.TSA, records); err != nil {
			return err
		}
	}
	return s.addCAPeers(ctx, trust.now.Load().config)
}

// addCAPeers serves statements to tuf.
func (s *Server) addCAPeers(ctx context.Context, trusted *oidc.Config) error {
	if s.cfg.Instance != "" {
		list, err := CAStatements(s.cfg, trusted, s.clock.Now())
		if err == nil {
			err = s.tell(ctx, "ca", s.cfg.CA.Statements, list)
		}
		if err != nil {
			return err
		}
	}
	d, err := s.peerDoor("ca")
	if err != nil || d == nil {
		return err
	}
	handover.NewServer(func() [][]byte { return s.statements.of("ca") }).RegisterGRPC(d.grpc)
	return nil
}

func (s *Server) addTSA(ctx context.Context, d *door, c *config.TSA, records *capgstore.Store) error {
	key, err := loadKey(c.Key)
	if err != nil {
		return fmt.Errorf("ca.tsa.key: %w", err)
	}
	s.keys.add("ca.tsa.key", key)
	chain, err := readChain(string(c.Chain))
	if err != nil {
		return fmt.Errorf("ca.tsa.chain: %w", err)
	}
	guard := s.guardClock(ctx, records)
	authority, err := tsa.New(tsa.Config{Key: key, Chain: chain, Clock: s.clock, Logger: s.log, Trust: guard.Check})
	if err != nil {
		return err
	}
	face := tsaweb.New(authority, s.newQuotas("tsa", tsaRates), s.log)
	face.Register(d.mux)
	face.RegisterGRPC(d.grpc)
	d.services = append(d.services, endpoint{"Timestamps", string(s.cfg.CA.PublicURL) + tsaPath + "/certchain"})
	s.health.add("tsa certificates", "degraded", func(context.Context) error { return valid(chain, s.clock.Now()) })
	s.addChainExpiry("tsa", chain)
	return nil
}

// openCT returns the CT log, which is in this process or in others, and the key that its promises are
// verified with.
func (s *Server) openCT(ctx context.Context) (*watchedCT, crypto.PublicKey, error) {
	c := s.cfg.CA.CT
	if here := s.cfg.LocalCT(); here != nil {
		name := here.Name
		if c != nil {
			name = c.Log
		}
		local := s.cts[name] // check has looked whether it is there
		watched := watchCT(local.Vouched(), s.clock, s.registry)
		if c == nil {
			return watched, local.key, nil
		}
		key, err := keys.LoadPublic(string(c.Key)) // CheckFiles has compared them
		return watched, key, err
	}
	key, err := keys.LoadPublic(string(c.Key))
	if err != nil {
		return nil, nil, err
	}
	client, err := s.dialCT(c, key)
	if err != nil {
		return nil, nil, err
	}
	watched := watchCT(client, s.clock, s.registry)
	if err := s.checkCT(ctx, client); errors.Is(err, ctclient.ErrKey) {
		return nil, nil, err
	} else if err != nil {
		watched.note(err)
		s.log.WarnContext(ctx, "the CT log cannot be asked for its key, and no certificate is issued before it answers", "address", c.Addresses, "error", err)
		s.runs = append(s.runs, func(ctx context.Context) error { return s.awaitCT(ctx, client, watched) })
	}
	return watched, key, nil
}

// dialCT returns the client of a CT log in other processes.
func (s *Server) dialCT(c *config.CTClient, key crypto.PublicKey) (*ctclient.Client, error) {
	id, err := s.peer("ca")
	if err != nil {
		return nil, err
	}
	var addresses []string
	for _, a := range c.Addresses {
		addresses = append(addresses, string(a))
	}
	client, err := ctclient.New(ctclient.Config{Addresses: addresses, Log: string(c.Log), Key: key, Credentials: credentials.NewTLS(id.peerClient("tlog"))})
	if err == nil {
		s.closers = append(s.closers, client.Close)
	}
	return client, err
}

func (s *Server) checkCT(ctx context.Context, client *ctclient.Client) error {
	ctx, cancel := context.WithTimeout(ctx, ctCheck)
	defer cancel()
	return client.Check(ctx)
}

// awaitCT asks the log for its key until it says one. A wrong one ends the process: no promise would
// ever hold.
func (s *Server) awaitCT(ctx context.Context, client *ctclient.Client, watched *watchedCT) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(ctCheck):
		}
		switch err := s.checkCT(ctx, client); {
		case errors.Is(err, ctclient.ErrKey):
			return fmt.Errorf("ca.ct: %w", err)
		case err == nil:
			watched.note(nil)
			s.log.InfoContext(ctx, "the CT log answers and has the key that is expected")
			return nil
		}
	}
}

// loadKey loads the key of a role.
func loadKey(file config.KeyFile) (crypto.Signer, error) {
	path, err := file.Path()
	if err != nil {
		return nil, err
	}
	return keys.Load(path)
}
