package stack

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/oidc/devidp"
	"github.com/sigbox/sigbox/tlog/ctlog"
	"github.com/sigbox/sigbox/tlog/logrpc"
)

// Server is the services of a configuration file, opened and ready to run. Any number of them, in
// as many processes, can run on one database.
type Server struct {
	cfg      *config.Config
	clock    clock.Clock
	log      *slog.Logger
	registry *prometheus.Registry
	metrics  *httpx.Metrics
	live     *live

	doors []*door
	peers []*peerDoor
	runs  []func(context.Context) error // until the context ends

	statements said // of the services of this process
	closers    []func() error

	stores  *LogStores
	logs    group                   // the sequencers
	shards  *shards                 // nil without logs
	service *logrpc.Server          // nil without logs
	cts     map[config.Name]localCT // those in this process
	idp     *devidp.Server          // nil: not in this process

	expiry   *watchedExpiry
	keys     watchedKeys
	health   health
	draining atomic.Bool
}

// door is one listener with what is served there.
type door struct {
	address  config.Address
	services []endpoint
	mux      *http.ServeMux
	grpc     *grpc.Server
	ln       net.Listener
}

// localCT is a CT log that is in this process.
type localCT struct {
	*ctlog.Server
	key crypto.PublicKey
}

// endpoint is a line of the page at / and of what is said at start.
type endpoint struct{ Name, URL string }

// ServerOptions say what is served and how.
type ServerOptions struct {
	Config *config.Config
	// Load reads the configuration again. nil: what it says and the files that it names count until
	// the process ends.
	Load   func() (*config.Config, error)
	Reload <-chan os.Signal // Load at once, and not when a file is seen to have changed
	Clock  clock.Clock
	Log    *slog.Logger
	Level  *slog.LevelVar // of Log
}

// OpenServer listens, and opens the services of a configuration. Close gives everything back.
func OpenServer(ctx context.Context, o ServerOptions) (_ *Server, err error) {
	cfg := o.Config
	if err := CheckFiles(cfg); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, clock: o.Clock, log: o.Log, registry: newRegistry(),
		cts: map[config.Name]localCT{}, live: &live{log: o.Log, level: o.Level, peers: map[string]*identity{}},
	}
	s.metrics, s.expiry, s.keys.log = httpx.NewMetrics(s.registry), newExpiry(s), o.Log
	s.registry.MustRegister(&s.keys)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	s.live.take(cfg)
	if cfg.TLS != nil {
		s.live.tls = &identity{}
		if err := s.live.tls.load(cfg.TLS.Certificate, cfg.TLS.Key, ""); err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		s.health.add("tls certificate", "degraded", func(context.Context) error { return s.live.tls.valid(s.clock.Now()) })
		s.addIdentityExpiry()
	}
	add := map[string]func(context.Context) error{"issuer": s.addIssuer, "tlog": s.addLogs, "ca": s.addCA, "tuf": s.addTUF}
	for _, service := range cfg.Services() {
		if err := add[service](ctx); err != nil {
			return nil, err
		}
	}
	if o.Load != nil {
		s.runs = append(s.runs, newReloader(s, o).run)
	}
	s.addExpiry(ctx)
	s.runs = append(s.runs, s.keys.run)
	s.addOperations()
	return s, s.listen()
}

// database opens and probes the database of a service, and closes it in the end.
func (s *Server) database(ctx context.Context, service string, d *config.Database) (*pg.DB, error) {
	db, err := openDatabase(ctx, d, service, s.log)
	if err == nil {
		s.closers = append(s.closers, func() error { db.Close(); return nil })
		err = db.CheckWriter(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%s.database: %w", service, err)
	}
	s.health.add("database "+service, "degraded", newPing(db.Read()).check)
	return db, nil
}

// door returns the listener at an address.
func (s *Server) door(address config.Address) *door {
	for _, d := range s.doors {
		if d.address == address {
			return d
		}
	}
	d := &door{
		address: address, mux: http.NewServeMux(),
		grpc: newGRPC(4<<20, grpc.ChainUnaryInterceptor(s.live.logUnary), grpc.ChainStreamInterceptor(s.live.logStream)),
	}
	s.doors = append(s.doors, d)
	return d
}

// listen opens all listeners, so that an address that is taken is a failure to start.
func (s *Server) listen() error {
	for _, d := range s.doors {
		var err error
		if d.ln, err = net.Listen("tcp", string(d.address)); err != nil {
			return fmt.Errorf("cannot listen on %s: %w", d.address, err)
		}
		if s.live.tls == nil && !d.address.Loopback() && len(d.services) > 0 {
			s.log.Warn("plain HTTP where other machines can reach it: set tls, or make sure that only a proxy that speaks HTTPS gets here", "listen", d.address)
		}
	}
	for _, d := range s.peers {
		var err error
		if d.ln, err = net.Listen("tcp", string(d.address)); err != nil {
			return fmt.Errorf("%s.peers.listen: cannot listen on %s: %w", d.service, d.address, err)
		}
	}
	return nil
}

// Close gives everything back. Run must have returned.
func (s *Server) Close() error {
	for _, d := range s.doors {
		if d.ln != nil {
			_ = d.ln.Close() // closed already where Run ran
		}
	}
	for _, d := range s.peers {
		if d.ln != nil {
			_ = d.ln.Close()
		}
	}
	var errs []error
	for _, c := range slices.Backward(s.closers) {
		errs = append(errs, c())
	}
	if s.stores != nil {
		errs = append(errs, s.stores.Close())
	}
	return errors.Join(errs...)
}

// Addresses says where the server listens, one line for each listener that is not for peers.
func (s *Server) Addresses() (list []string) {
	for _, d := range s.doors {
		text := d.ln.Addr().String()
		for _, e := range d.services {
			text += " " + e.URL
		}
		list = append(list, text)
	}
	return list
}

// Run serves until ctx ends. Then /readyz says so for as long as is configured, requests under way
// are answered, and the logs commit what they still hold.
func (s *Server) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if s.service != nil {
		// Followers' streams never finish by themselves.
		defer context.AfterFunc(ctx, s.service.Drain)()
	}
	services, work := errgroup.WithContext(work)
	s.logs.start(work, services)
	for _, run := range s.runs {
		services.Go(func() error { return run(work) })
	}
	accept, refuse := context.WithCancel(work)
	services.Go(func() error {
		defer refuse()
		return s.linger(ctx, work)
	})
	var open errgroup.Group
	for _, d := range s.doors {
		if len(d.services) == 0 { // operations: as long as there is something to ask
			services.Go(func() error { return Serve(work, d.ln, s.handler(d), nil) })
			continue
		}
		open.Go(func() error {
			defer refuse() // one that fails ends all
			return Serve(accept, d.ln, s.handler(d), s.live.tls.server())
		})
	}
	for _, d := range s.peers {
		open.Go(func() error {
			defer refuse()
			return d.serve(accept)
		})
	}
	services.Go(func() error {
		defer stop()
		return open.Wait()
	})
	return services.Wait()
}

// linger returns some time after ctx ended, or when work is over.
func (s *Server) linger(ctx, work context.Context) error {
	select {
	case <-work.Done():
		return nil
	case <-ctx.Done():
	}
	s.draining.Store(true)
	s.log.Info("stopping", "shutdown_delay", s.cfg.ShutdownDelay.String())
	select {
	case <-work.Done():
	case <-time.After(time.Duration(s.cfg.ShutdownDelay)):
	}
	return nil
}

func (s *Server) handler(d *door) http.Handler {
	return shared(httpx.Logged(d.mux, s.log, s.metrics, &s.live.requests), d.grpc)
}
