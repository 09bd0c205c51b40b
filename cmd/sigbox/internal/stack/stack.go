package stack

import (
	"context"
	"crypto"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/sigbox/sigbox/ca/fulcio"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpx"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/oidc/devidp"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/ctlog"
	"github.com/sigbox/sigbox/tlog/entry/upstream"
	"github.com/sigbox/sigbox/tlog/logrpc"
	"github.com/sigbox/sigbox/tlog/rekorv1"
	"github.com/sigbox/sigbox/tlog/rekorv2"
	tsaweb "github.com/sigbox/sigbox/tsa/web"
	"github.com/sigbox/sigbox/tuf"
	tufweb "github.com/sigbox/sigbox/tuf/web"
)

// Options say how an instance is run.
type Options struct {
	Dir *instance.Dir
	URL string // origin that all published URLs begin with

	Database string       // PostgreSQL database of the logs; "" keeps them in Dir
	TLS      *tls.Config  // nil serves HTTP without TLS
	Issuers  *oidc.Config // trusted beside the development issuer; nil for none
	Clock    clock.Clock
	Log      *slog.Logger
	// Rotated is called when keys were rotated while the instance runs; nil for nothing.
	Rotated func(context.Context) error
}

// Stack is the services of one instance, opened and ready to run.
type Stack struct {
	opts     Options
	used     atomic.Pointer[material]
	db       *databases
	closers  []io.Closer             // before db
	logs     map[string]*tlog.Engine // those that it was made with, and the CT logs that came since
	open     func(context.Context, ServedLog) (*tlog.Engine, error)
	running  group // the sequencers
	shards   *shards
	cts      map[int]*ctlog.Server // by number
	issuer   issuing
	stamper  *tsaweb.Face
	repo     *tuf.Repository
	expiry   *watchedExpiry
	registry *prometheus.Registry
	mux      *http.ServeMux
	grpc     *grpc.Server
	service  *logrpc.Server
	health   health // its logs only
}

// Open builds the services over an existing instance and publishes the trust root if its URLs
// changed. Close gives the database back.
func Open(ctx context.Context, o Options) (_ *Stack, err error) {
	s := &Stack{opts: o, logs: map[string]*tlog.Engine{}, cts: map[int]*ctlog.Server{}, registry: newRegistry(), mux: http.NewServeMux()}
	s.grpc = newGRPC(4 << 20)
	m, err := loadMaterial(o.Dir)
	if err != nil {
		return nil, err
	}
	s.used.Store(m)
	if err := databaseIsThere(o.Dir); err != nil {
		return nil, err
	}
	if s.db, err = openDatabases(ctx, o.Dir, o.Database, o.Log); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	for _, step := range []func(context.Context) error{s.openLogs, s.openTrust, s.addIssuerAndCA, s.addRekor, s.addTSA, s.addLogService} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	s.advanceShards(ctx)
	if err := s.addExpiry(ctx); err != nil {
		return nil, err
	}
	s.addOperations()
	return s, noteTaken(o.Dir, m.read)
}

// advanceShards has the faces begin with the shards that are there.
func (s *Stack) advanceShards(ctx context.Context) {
	s.shards.changed = func(ctx context.Context) {
		if err := s.publishTrust(ctx); err != nil {
			s.opts.Log.ErrorContext(ctx, "the key of the new shard is not published: the next start tries again", "error", err)
		}
	}
	s.shards.advanceAll(ctx)
}

// Close gives the database back. Run must have returned.
func (s *Stack) Close() error {
	var errs []error
	for _, c := range append(s.closers, s.db) {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// FirstRoot is the root.json that clients start from.
func (s *Stack) FirstRoot() []byte {
	f, _ := s.repo.Published().File("1.root.json") // Open has published it
	return f.Bytes
}

// Run serves ln until ctx ends. Requests under way are answered first, then the logs commit what
// they still hold.
func (s *Stack) Run(ctx context.Context, ln net.Listener) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	// Followers' streams never finish by themselves.
	defer context.AfterFunc(ctx, s.service.Drain)()
	services, work := errgroup.WithContext(work)
	s.running.start(work, services)
	services.Go(func() error { return s.shards.run(work, instancePoll) })
	services.Go(func() error { return s.repo.Run(work) })
	services.Go(func() error { return s.followRotations(work) })
	services.Go(func() error { return s.expiry.run(work) })
	services.Go(func() error {
		defer stop()
		return Serve(ctx, ln, s.handler(), s.opts.TLS)
	})
	return services.Wait()
}

func (s *Stack) handler() http.Handler {
	return shared(httpx.Handler(s.mux, s.opts.Log, httpx.NewMetrics(s.registry)), s.grpc)
}

// shared sends gRPC to its server and everything else to web.
func shared(web http.Handler, rpc *grpc.Server) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && httpx.MediaType(r) == "application/grpc" {
			if r.URL.Path == logrpc.FollowPath {
				w = httpx.Streaming(w, streamPatience)
			}
			rpc.ServeHTTP(w, r)
			return
		}
		web.ServeHTTP(w, r)
	})
}

func (s *Stack) openLogs(ctx context.Context) error {
	served, err := instanceServed(s.opts.Dir.Info, s.used.Load())
	if err != nil {
		return err
	}
	guard, err := openGuard(s.opts.Dir)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, guard)
	s.open = func(ctx context.Context, l ServedLog) (*tlog.Engine, error) {
		cfg := l.Config
		cfg.Clock, cfg.Logger, cfg.Metrics, cfg.Guard = s.opts.Clock, s.opts.Log, s.registry, guard
		store, err := s.db.store(ctx, cfg.Name)
		if err != nil {
			return nil, err
		}
		engine, err := tlog.Open(ctx, store, cfg)
		if err == nil {
			s.health.addLog(checkedLog{cfg.Name, engine})
			s.running.add(sequencer(engine))
		}
		return engine, err
	}
	s.shards = newShards(&shards{
		list: s.db.list, open: s.open, log: s.opts.Log,
		key: func(_ ServedLog, name string) (crypto.Signer, error) { return keys.Load(keyFile(s.opts.Dir, name)) },
		added: func(l ServedLog, log *tlog.Engine) error {
			if s.service == nil { // at start; it is made with all that there are
				return nil
			}
			return s.service.Add(rpcLog(l.Config, log, nil, kindsV1(nil)))
		},
	})
	for _, l := range served {
		engine, err := s.open(ctx, l)
		if err != nil {
			return err
		}
		s.logs[string(l.Name)] = engine
		s.shards.begin(l, engine)
	}
	s.shards.openAll(ctx)
	return nil
}

func (s *Stack) openTrust(ctx context.Context) error {
	s.repo = newRepository(s.db.file, s.used.Load(), s.opts.Clock, s.opts.Log)
	if err := s.repo.Open(ctx); err != nil {
		return err
	}
	if err := s.useTUFKeys(ctx); err != nil {
		return err
	}
	if err := s.repo.Refresh(ctx); err != nil {
		return err
	}
	if err := s.publishTrust(ctx); err != nil {
		return err
	}
	tufweb.New(tufPrefix, s.repo.Published, s.repo.Look).Register(s.mux)
	return addClients(s.mux, s.opts.URL, s.repo, s.opts.Log)
}

// publishTrust publishes the trust root, if it is not as it was.
func (s *Stack) publishTrust(ctx context.Context) error {
	cur, err := s.repo.Current(ctx)
	if err != nil {
		return err
	}
	edition, err := trustEdition(cur, s.opts.Dir.Info, s.opts.URL, s.used.Load(), s.shards.all(), s.opts.Clock.Now())
	if err != nil {
		return err
	}
	changed, err := s.repo.PublishEdition(ctx, edition)
	if err != nil {
		return err
	}
	if changed {
		s.opts.Log.InfoContext(ctx, "trust root published", "url", s.opts.URL)
	}
	return nil
}

func (s *Stack) addIssuerAndCA(context.Context) error {
	idp, err := devidp.New(devidp.Config{Issuer: s.opts.URL, Key: s.used.Load().keys[roleIssuer], Clock: s.opts.Clock, Logger: s.opts.Log, AllowedHosts: aliases(s.opts.URL)})
	if err != nil {
		return err
	}
	idp.Register(s.mux)
	issuers := s.opts.Issuers
	if issuers == nil {
		issuers = &oidc.Config{}
	}
	if err := addOnce(issuers, idp.Issuer()); err != nil {
		return err
	}
	verifier, err := trusting(issuers, idp, nil, oidc.HTTPPolicy{}, s.opts.Clock, s.opts.Log)
	if err != nil {
		return err
	}
	m := s.used.Load()
	for _, k := range m.cts {
		if err := s.addCT(k, m.roots()); err != nil {
			return err
		}
	}
	authority, err := s.newCA(m)
	if err != nil {
		return err
	}
	s.issuer.now.Store(authority)
	trust := fulcio.Trust{Verifier: verifier, Issuers: issuers.PublicConfiguration()}
	face, err := fulcio.New(fulcio.Config{Authority: &s.issuer, Trust: func() fulcio.Trust { return trust }, Logger: s.opts.Log})
	if err != nil {
		return err
	}
	face.Register(s.mux)
	face.RegisterGRPC(s.grpc)
	return nil
}

func (s *Stack) addRekor(context.Context) error {
	m := s.used.Load()
	v1, err := rekorv1.New(rekorv1.Config{
		Log: s.logs[logRekorV1], TreeID: s.opts.Dir.Info.TreeID, Signer: m.keys[roleRekorV1],
		Kinds: kindsV1(nil), Fingerprints: upstream.Fingerprints(), Next: s.shards.afterV1,
		Logger: s.opts.Log,
	})
	if err != nil {
		return err
	}
	v1.Register(s.mux)
	s.shards.advance(v1.Advance)
	return s.shards.addRekorV2(s.mux, s.grpc, rekorv2.Config{
		Log: s.logs[logRekorV2], Origin: s.opts.Dir.Info.Host, PublicKey: m.keys[roleRekorV2].Public(),
	})
}

func (s *Stack) addTSA(context.Context) error {
	authority, err := s.newTSA(s.used.Load())
	if err != nil {
		return err
	}
	s.stamper = tsaweb.New(authority, nil, s.opts.Log)
	s.stamper.Register(s.mux)
	s.stamper.RegisterGRPC(s.grpc)
	return nil
}

// newRegistry returns a registry with the series of the process.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// newGRPC returns a server for messages of at most maxMessage bytes.
func newGRPC(maxMessage int, more ...grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(more, grpc.MaxRecvMsgSize(maxMessage), grpc.MaxConcurrentStreams(250))...)
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
