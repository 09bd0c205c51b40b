package stack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/tlog"
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
	tls      *tls.Config // nil serves HTTP without TLS

	doors    []*door
	stores   *LogStores
	logs     []*tlog.Engine
	service  *logrpc.Server // nil without logs
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

// endpoint is a line of the page at / and of what is said at start.
type endpoint struct{ Name, URL string }

// OpenServer listens, and opens the services of a configuration. Close gives everything back.
func OpenServer(ctx context.Context, cfg *config.Config, c clock.Clock, log *slog.Logger) (_ *Server, err error) {
	if err := CheckFiles(cfg); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, clock: c, log: log, registry: newRegistry()}
	s.metrics = httpx.NewMetrics(s.registry)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if cfg.TLS != nil {
		key, err := cfg.TLS.Key.Path()
		if err != nil {
			return nil, fmt.Errorf("tls.key: %w", err)
		}
		if s.tls, err = LoadTLS(string(cfg.TLS.Certificate), key); err != nil {
			return nil, err
		}
	}
	for _, service := range cfg.Services() {
		add := map[string]func(context.Context) error{"tlog": s.addLogs}[service]
		if add == nil {
			return nil, fmt.Errorf("%s: this version of sigbox serves tlog only: remove the section, or run with --only tlog", service)
		}
		if err := add(ctx); err != nil {
			return nil, err
		}
	}
	s.addOperations()
	return s, s.listen()
}

// door returns the listener at an address.
func (s *Server) door(address config.Address) *door {
	for _, d := range s.doors {
		if d.address == address {
			return d
		}
	}
	d := &door{address: address, mux: http.NewServeMux(), grpc: newGRPC(4 << 20)}
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
		if s.tls == nil && !d.address.Loopback() && len(d.services) > 0 {
			s.log.Warn("plain HTTP where other machines can reach it: set tls, or make sure that only a proxy that speaks HTTPS gets here", "listen", d.address)
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
	if s.stores != nil {
		return s.stores.Close()
	}
	return nil
}

// Addresses says where the server listens, one line for each listener.
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
	for _, l := range s.logs {
		services.Go(func() error {
			// A log that has halted said so then, and serves reads until it is told to end.
			if err := l.Run(work); err != nil && work.Err() == nil {
				return err
			}
			return nil
		})
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
			return Serve(accept, d.ln, s.handler(d), s.tls)
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
	return shared(httpx.Handler(d.mux, s.log, s.metrics), d.grpc)
}
