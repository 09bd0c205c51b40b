package stack

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/expiry"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/foreign"
)

// upMend is what prevents the end of a role or chain of an instance of sigbox up in a directory.
func upMend(dir string) func(what string) []string {
	return func(what string) []string {
		up := "sigbox up --data " + dir
		switch what {
		case tuf.Targets:
			return []string{up, "which signs it again when it starts, in the last year"}
		case tuf.Snapshot, tuf.Timestamp:
			return []string{up, "which renews it while it runs: where it does run, its log lines say why it cannot"}
		case tuf.Root:
			what = roleTUFRoot
		}
		return []string{"sigbox rotate " + what + " --yes --data " + dir}
	}
}

// upItems are what ends of an instance of sigbox up.
func upItems(dir string, p *tuf.Published, ca, tsa []*x509.Certificate) []expiry.Item {
	mend := upMend(dir)
	below := roleCAIntermediate
	if last := ca[len(ca)-1]; !ca[0].NotAfter.Before(last.NotAfter) { // none lives longer than its issuer
		below = roleCARoot
	}
	items := roleItems(p, tuf.Development(), mend)
	items = append(items, foreignItems(p, func(e foreign.Entry) []string { return []string{refresh(e, "--data "+dir)} })...)
	items = append(items, chainItems("ca", ca, mend(below), mend(roleCARoot))...)
	return append(items, chainItems("tsa", tsa, mend(roleTSA), mend(roleTSA))...)
}

// addExpiry watches over what ends of the instance.
func (s *Stack) addExpiry(ctx context.Context) error {
	w := &watchedExpiry{clock: s.opts.Clock, log: s.opts.Log, file: s.opts.Dir.Path}
	w.add(func(ctx context.Context) ([]expiry.Item, error) {
		m := s.used.Load()
		items := upItems(s.opts.Dir.Path, s.repo.Published(), m.caChain, m.tsaChain)
		adopted, err := upAdopted(ctx, s.repo, s.opts.Dir.Info, s.opts.Clock)
		return append(items, adopted...), err
	})
	if s.opts.TLS != nil {
		var chain []*x509.Certificate
		for _, der := range s.opts.TLS.Certificates[0].Certificate {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return fmt.Errorf("TLS certificate: %w", err)
			}
			chain = append(chain, cert)
		}
		w.fixed(tlsItems(chain, "replace the files of --tls-cert and --tls-key, and start sigbox up again"))
	}
	w.look(ctx)
	s.registry.MustRegister(w)
	s.expiry = w
	return nil
}

// UpExpiring returns what will stop working of an instance of sigbox up, in order. d need not be locked.
func UpExpiring(ctx context.Context, d *instance.Dir, c clock.Clock) (_ []expiry.Item, err error) {
	used, err := loadNumbered(d)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(d.File("sigbox.db")); err != nil { // opening would make it
		return nil, fmt.Errorf("database: %w", err)
	}
	db, err := sqlite.Open(ctx, d.File("sigbox.db"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	repo := newRepository(db, &material{}, c, slog.New(slog.DiscardHandler))
	if err := repo.Open(ctx); err != nil {
		return nil, err
	}
	items := upItems(d.Path, repo.Published(), used.caOfUse.chain, used.tsaOfUse.chain)
	adopted, err := upAdopted(ctx, repo, d.Info, c)
	return expiry.Order(append(items, adopted...)), err
}

// upAdopted are the keys of other instances that an instance of sigbox up has adopted.
func upAdopted(ctx context.Context, repo *tuf.Repository, info instance.Info, c clock.Clock) ([]expiry.Item, error) {
	cur, err := repo.Current(ctx)
	if err != nil {
		return nil, err
	}
	rec, err := instanceRecord(cur, info)
	return adoptedItems(rec, c.Now()), err
}
