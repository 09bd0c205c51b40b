package stack

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/peerconn"
	"github.com/sigbox/sigbox/tuf/handover"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
)

// How often sources are asked for statements, and how long one may take.
const (
	gatherEvery   = 15 * time.Second
	gatherAgain   = 3 * time.Second // after a failure, and before the first set
	gatherTimeout = 5 * time.Second
)

// gatherer brings trust statements into the inbox of the repository.
type gatherer struct {
	server  *Server
	tuf     *TUFRepo
	sources []*source
	inbox   source
	refused map[[32]byte]bool // envelopes, under the targets version below
	targets int64
	said    atomic.Pointer[string] // for /readyz

	waiting, refusals prometheus.Gauge
	up                *prometheus.GaugeVec
}

// source is where statements come from. fetch returns who brings them.
type source struct {
	name  string
	fetch func(context.Context) (sender string, list [][]byte, err error)
	last  string // error of the last time, "" for none
}

// newGatherer returns what gathers from the services of this process and the configured sources.
func (s *Server) newGatherer(t *TUFRepo) (*gatherer, error) {
	g := &gatherer{
		server: s, tuf: t, refused: map[[32]byte]bool{}, inbox: source{name: "inbox"},
		waiting:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "sigbox_tuf_statements_waiting", Help: "Trust statements that wait for the holders of the targets keys."}),
		refusals: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sigbox_tuf_statements_refused", Help: "Trust statements that sources bring and that are refused."}),
		up:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sigbox_tuf_source_up", Help: "1 where a source of trust statements answered last time."}, []string{"source"}),
	}
	none := ""
	g.said.Store(&none)
	s.registry.MustRegister(g.waiting, g.refusals, g.up)
	for _, service := range s.statements.services() {
		g.sources = append(g.sources, &source{name: service + " in this process", fetch: func(context.Context) (string, [][]byte, error) { return service, s.statements.of(service), nil }})
	}
	for _, from := range s.cfg.TUF.Sources {
		if from.Dir() {
			g.sources = append(g.sources, &source{name: string(from), fetch: func(context.Context) (string, [][]byte, error) {
				list, err := ReadStatements(string(from))
				return record.File, list, err
			}})
			continue
		}
		src, err := s.peerSource(from)
		if err != nil {
			return nil, err
		}
		g.sources = append(g.sources, src)
	}
	return g, nil
}

// peerSource is another service. Its certificate says which.
func (s *Server) peerSource(from config.Source) (*source, error) {
	id, err := s.peer("tuf")
	if err != nil {
		return nil, err
	}
	conn, err := dialSource(id, string(from))
	if err != nil {
		return nil, fmt.Errorf("tuf.sources: %s: %w", from, err)
	}
	s.closers = append(s.closers, conn.Close)
	return &source{name: string(from), fetch: func(ctx context.Context) (string, [][]byte, error) { return fetchFrom(ctx, conn) }}, nil
}

// dialSource connects to nobody but those that may bring statements.
func dialSource(id *identity, address string, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	return peerconn.New(address, credentials.NewTLS(id.peerClientOf(func(cert *x509.Certificate) error {
		_, err := senderOf(cert)
		return err
	})), more...)
}

// fetchFrom fetches statements and says who has brought them, by the certificate of the one connection
// that they came over: an address may stand for several services.
func fetchFrom(ctx context.Context, conn *grpc.ClientConn) (sender string, list [][]byte, err error) {
	from, list, err := handover.Fetch(ctx, conn)
	if err != nil {
		return "", nil, err
	}
	info, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return "", nil, errors.New("the other end has shown no certificate")
	}
	sender, err = senderOf(info.State.PeerCertificates[0]) // VerifyConnection has verified it
	return sender, list, err
}

// senderOf is the one service that may bring statements and that a certificate names.
func senderOf(cert *x509.Certificate) (string, error) {
	var names []string
	for _, service := range []string{"ca", "tlog"} {
		if isPeer(cert, service) {
			names = append(names, service)
		}
	}
	if len(names) != 1 {
		return "", fmt.Errorf("the certificate of the other end names %d of %s and %s: want one of them", len(names), peerName("ca"), peerName("tlog"))
	}
	return names[0], nil
}

// run gathers until ctx ends.
func (g *gatherer) run(ctx context.Context) error {
	for {
		wait := gatherEvery
		if !g.round(ctx) || g.tuf.Repo.Published() == nil {
			wait = gatherAgain
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// round asks every source once.
func (g *gatherer) round(ctx context.Context) (well bool) {
	well = true
	g.forget()
	refused := map[[32]byte]bool{}
	for _, src := range g.sources {
		err := g.ask(ctx, src, refused)
		if ctx.Err() != nil {
			return well
		}
		g.up.WithLabelValues(src.name).Set(map[bool]float64{true: 1}[err == nil])
		well = src.noted(ctx, g.server.log, err) && well
	}
	g.refused = refused
	err := g.look(ctx)
	return ctx.Err() != nil || g.inbox.noted(ctx, g.server.log, err) && well
}

// noted writes down how it went, once as long as it goes the same way.
func (s *source) noted(ctx context.Context, log *slog.Logger, err error) (well bool) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != s.last {
		log.WarnContext(ctx, "no trust statements from here; it is asked again", "source", s.name, "error", err)
	}
	s.last = text
	return err == nil
}

// forget forgets what was refused when there are new targets, after which the answer may be another.
func (g *gatherer) forget() {
	if p := g.tuf.Repo.Published(); p != nil && p.Versions().Targets != g.targets {
		g.targets = p.Versions().Targets
		clear(g.refused)
	}
}

// ask asks a source, and puts into the inbox what is news.
func (g *gatherer) ask(ctx context.Context, src *source, refused map[[32]byte]bool) error {
	ctx, cancel := context.WithTimeout(ctx, gatherTimeout)
	defer cancel()
	sender, list, err := src.fetch(ctx)
	if err != nil {
		return err
	}
	known, err := g.known(ctx)
	if err != nil {
		return err
	}
	news := slices.DeleteFunc(slices.Clone(list), func(raw []byte) bool {
		sum := envelopeOf(sender, raw)
		if g.refused[sum] {
			refused[sum] = true
			return true
		}
		s, err := statement.Open(raw)
		return err == nil && says(known, s)
	})
	if len(news) == 0 {
		return nil
	}
	out, err := g.tuf.Receive(ctx, sender, news)
	for i, o := range out {
		if o.Err != nil {
			refused[envelopeOf(sender, news[i])] = true
		}
	}
	return err
}

func envelopeOf(sender string, raw []byte) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%q %s", sender, raw))
}

// known is the record of the published set with everything that waits.
func (g *gatherer) known(ctx context.Context) (record.Record, error) {
	_, rec, err := g.tuf.Current(ctx)
	if err != nil {
		return rec, err
	}
	rec, _, err = g.tuf.Inbox.Pending(ctx, rec, g.server.clock.Now())
	return rec, err
}

// says tells whether a record says the same as a statement, whenever that was made: each replica of a
// service makes its own, and the later one is no news, nor the earlier one an attempt to undo it.
func says(rec record.Record, s statement.Statement) bool {
	return s.Instance == rec.Instance && slices.ContainsFunc(rec.Keys, func(k record.Key) bool {
		return k.End.IsZero() && s.Same(statement.Statement{
			Instance: rec.Instance, Role: k.Role, URL: k.URL, Origin: k.Origin, Key: k.Public, Chain: k.Chain, Issuers: k.Issuers, ValidFrom: k.Start,
		})
	})
}

// look counts what waits.
func (g *gatherer) look(ctx context.Context) error {
	pending, _, err := g.tuf.Waiting(ctx)
	if err != nil {
		return err
	}
	g.waiting.Set(float64(len(pending)))
	g.refusals.Set(float64(len(g.refused)))
	var parts []string
	if len(pending) > 0 {
		var roles []string
		for _, p := range pending {
			roles = append(roles, string(p.Statement.Role))
		}
		slices.Sort(roles)
		parts = append(parts, fmt.Sprintf("%d wait for the holders of the targets keys (%s), and clients do not trust what they say before: sigbox tuf request", len(pending), strings.Join(slices.Compact(roles), ", ")))
	}
	if n := len(g.refused); n > 0 {
		parts = append(parts, fmt.Sprintf("%d refused; the log lines say why", n))
	}
	text := strings.Join(parts, "; ")
	g.said.Store(&text)
	return nil
}

func (g *gatherer) note() string { return *g.said.Load() }
