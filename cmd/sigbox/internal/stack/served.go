package stack

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/ctlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
	"github.com/sigbox/sigbox/tlog/fileguard"
	"github.com/sigbox/sigbox/tlog/pgguard"
	"github.com/sigbox/sigbox/tlog/pgstore"
)

// ServedLog is one log of a configuration file, as `serve` opens it and `log create` makes it.
type ServedLog struct {
	config.LogSpec
	// Config is complete but for what is the caller's: Guard, Clock, Logger, Metrics.
	Config tlog.Config
	Signer crypto.Signer // the log's key
	// Created is when a shard was made that goes on for a configured one; zero for those.
	Created time.Time
	// Displaced says that another shard goes on for this one at the same host, now or soon.
	Displaced bool
	Chains    [][]*x509.Certificate // of a CT log: the authorities it is for, each with its root last
}

// ServedLogs reads the keys of the configured logs, in the order of [config.TLog.Logs]. Nothing but
// files is looked at.
func ServedLogs(t *config.TLog) ([]ServedLog, error) {
	var list []ServedLog
	for _, spec := range t.Logs() {
		l, err := servedLog(t, spec)
		if err != nil {
			return nil, fmt.Errorf("log %s: %w", spec.Name, err)
		}
		list = append(list, l)
	}
	return list, nil
}

func servedLog(t *config.TLog, spec config.LogSpec) (l ServedLog, err error) {
	l.LogSpec = spec
	path, err := spec.Key.Path()
	if err != nil {
		return l, err
	}
	if l.Signer, err = keys.Load(path); err != nil {
		return l, err
	}
	signed := string(spec.Host) // the name in the signature lines of checkpoints
	l.Config = tlog.Config{
		Name: string(spec.Name), Face: spec.Face, Poll: time.Duration(t.Poll), MaxEntry: int(t.Limits.Entry),
		MaxBatch: int(t.Limits.Batch), MaxBatchBytes: int(t.Limits.BatchBytes), MaxPending: int(t.Limits.Pending), CacheTiles: int(t.Limits.CacheTiles),
	}
	switch spec.Face {
	case config.FaceRekorV1:
		l.Config.LeafInput = entry.LeafInput
	case config.FaceRekorV2:
		l.Config.MaxEntry, l.Config.SayFrozen = min(l.Config.MaxEntry, maxV2Entry), true
	case config.FaceCT:
		signed, l.Config.LeafInput = spec.Origin, certificate.LeafInput
		if l.Chains, err = readChains(string(spec.Roots)); err != nil {
			return l, err
		}
	}
	l.Config.Signer, err = checkpoint.NewSigner(signed, spec.Origin, l.Signer)
	return l, err
}

// Roots are the accepted roots of a CT log.
func (l ServedLog) Roots() (roots []*x509.Certificate) {
	for _, c := range l.Chains {
		roots = append(roots, c[len(c)-1])
	}
	return roots
}

// Narrow are the chains below roots that some chain of three certificates or more ends in: such a root is a
// company's, under which others issue too, so that a CT log takes no other chains that end there.
func (l ServedLog) Narrow() (chains [][]*x509.Certificate) {
	root := func(c []*x509.Certificate) *x509.Certificate { return c[len(c)-1] }
	for _, c := range l.Chains {
		if slices.ContainsFunc(l.Chains, func(o []*x509.Certificate) bool { return len(o) >= 3 && root(o).Equal(root(c)) }) {
			chains = append(chains, c)
		}
	}
	return chains
}

// Seeds returns the first entries that the log is created with. They are signed anew by each call.
func (l ServedLog) Seeds() (seeds []tlog.Entry, err error) {
	switch l.Face {
	case config.FaceRekorV1:
		return seedEntries(l.Signer, seedV1)
	case config.FaceRekorV2:
		return seedEntries(l.Signer, seedV2)
	}
	seen := map[[32]byte]bool{}
	for _, chain := range l.Chains {
		entries, err := ctlog.Seeds(chain)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !seen[e.Identity()] { // a root of two chains
				seen[e.Identity()] = true
				seeds = append(seeds, e)
			}
		}
	}
	return seeds, nil
}

// readChains reads certificate chains that stand one after the other in a file, each up to its
// self-signed root.
func readChains(path string) (chains [][]*x509.Certificate, err error) {
	certs, err := readChain(path)
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for _, c := range certs {
		if n := len(chain); n > 0 {
			if err := chain[n-1].CheckSignatureFrom(c); err != nil {
				return nil, fmt.Errorf("certificate chain %s: %q is not issued by %q, which follows it: want each certificate followed by its issuer, up to the root", path, chain[n-1].Subject, c.Subject)
			}
		}
		chain = append(chain, c)
		if bytes.Equal(c.RawSubject, c.RawIssuer) {
			chains, chain = append(chains, chain), nil
		}
	}
	if chain != nil {
		return nil, fmt.Errorf("certificate chain %s: it ends with %q, whose issuer is missing: want chains up to their self-signed roots", path, chain[len(chain)-1].Subject)
	}
	return chains, nil
}

// LogStores are the database and the guard of the logs of a configuration file.
type LogStores struct {
	DB    *pg.DB
	Guard tlog.Guard // nil where the configuration says none

	close []func() error
}

// OpenLogStores opens and probes the database and the guard. A file guard is locked: it fails while
// another process has it.
func OpenLogStores(ctx context.Context, t *config.TLog, log *slog.Logger) (_ *LogStores, err error) {
	s, err := openLogDatabase(ctx, t, log)
	if err != nil {
		return nil, err
	}
	if err := s.openGuard(ctx, t.Guard, log); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openLogDatabase opens and probes the database and leaves the guard to whoever has it.
func openLogDatabase(ctx context.Context, t *config.TLog, log *slog.Logger) (_ *LogStores, err error) {
	s := &LogStores{}
	if s.DB, err = s.open(ctx, t.Database, "tlog", log); err != nil {
		return nil, errors.Join(fmt.Errorf("tlog.database: %w", err), s.Close())
	}
	return s, nil
}

func (s *LogStores) openGuard(ctx context.Context, g *config.Guard, log *slog.Logger) error {
	switch {
	case g.Database != nil:
		db, err := s.open(ctx, g.Database, "guard", log)
		if err != nil {
			return fmt.Errorf("tlog.guard.database: %w", err)
		}
		s.Guard = pgguard.New(db)
	case g.File != "":
		guard, err := fileguard.Open(string(g.File))
		if err != nil {
			return fmt.Errorf("tlog.guard.file: %w", err)
		}
		s.Guard, s.close = guard, append(s.close, guard.Close)
	}
	return nil
}

func (s *LogStores) open(ctx context.Context, d *config.Database, schema string, log *slog.Logger) (*pg.DB, error) {
	db, err := openDatabase(ctx, d, schema, log)
	if err != nil {
		return nil, err
	}
	s.close = append(s.close, func() error { db.Close(); return nil })
	return db, nil
}

// openDatabase opens and probes a database of the configuration.
func openDatabase(ctx context.Context, d *config.Database, schema string, log *slog.Logger) (*pg.DB, error) {
	url, err := d.ConnString()
	if err != nil {
		return nil, err
	}
	if host := inTheClear(url); host != "" {
		log.WarnContext(ctx, "the connection to the database may be unencrypted, and so may be the password: add sslmode=verify-full", "schema", schema, "host", host)
	}
	return pg.Open(ctx, pg.Config{
		URL: url, Schema: schema, Writers: int32(d.Writers), Readers: int32(d.Readers),
		LockTimeout: time.Duration(d.LockTimeout), StatementTimeout: time.Duration(d.StatementTimeout),
		IdleTimeout: time.Duration(d.IdleTimeout), CommitTimeout: time.Duration(d.CommitTimeout), Logger: log,
	})
}

// inTheClear returns the host of another machine that a connection string would talk to without
// TLS, if TLS is not wanted or cannot be had; "" where there is none.
func inTheClear(url string) string {
	c, err := pgconn.ParseConfig(url)
	if err != nil {
		return "" // pg.Open says so
	}
	ways := []*pgconn.FallbackConfig{{Host: c.Host, TLSConfig: c.TLSConfig}}
	for _, w := range append(ways, c.Fallbacks...) {
		if w.TLSConfig == nil && !strings.HasPrefix(w.Host, "/") && !isLoopback(w.Host) {
			return w.Host
		}
	}
	return ""
}

// Store returns the store of a log, which may not have been created yet.
func (s *LogStores) Store(ctx context.Context, name string) (tlog.Store, error) {
	return pgstore.Open(ctx, s.DB, name)
}

// describe returns what is stored about a log, which must exist.
func (s *LogStores) describe(ctx context.Context, name string) (tlog.Description, error) {
	store, err := s.Store(ctx, name)
	if err != nil {
		return tlog.Description{}, err
	}
	return store.Describe(ctx)
}

// Close closes all of it.
func (s *LogStores) Close() error {
	var errs []error
	for _, c := range s.close {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}
