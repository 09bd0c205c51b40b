package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
)

func caAuditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Look at what the certificate authority has issued",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(caAuditExportCommand())
	return cmd
}

// auditFlags say whose records are wanted, and which.
type auditFlags struct {
	config, data, since, until, state string
	filter                            ca.Filter
}

func caAuditExportCommand() *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write every issuance, finished or not, as JSON lines",
		Long: `Write the issuance records as JSON lines to standard output, in the order of the
intents: when and for whom, the key and the certificate that were intended, the
precertificate, the SCT and the certificate, and why it failed where it did. Each was
on record before the key was used, so that no signature of the authority is missing.

Every record is held to itself: the certificates are those that were intended, and
correspond to each other. What does not fit is in "problems" of its line, and the exit
code is 1.

It only reads, and works while the authority runs. Records that are written meanwhile
may be in it or not: for exports that follow each other, let the times overlap.
docs/audit.md has the fields.`,
		Example: `  sigbox ca audit export --config /etc/sigbox/sigbox.yaml > issuances.jsonl
  sigbox ca audit export --since 2026-03-01T00:00:00Z --san dev@example.com | jq .serial`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.times(); err != nil {
				return err
			}
			trail, closeTrail, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			n, err := ca.Export(cmd.Context(), out, trail, f.filter)
			err = errors.Join(err, out.Flush(), closeTrail())
			if err == nil && n.Problems > 0 {
				err = fmt.Errorf("%d of %d records have problems: look at the lines with \"problems\"", n.Problems, n.Records)
			}
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.data, "data", "./sigbox-data", "data directory of the instance")
	fl.StringVar(&f.config, "config", "", "configuration file of sigbox serve, instead of --data")
	fl.StringVar(&f.since, "since", "", "only from this time on, RFC 3339")
	fl.StringVar(&f.until, "until", "", "only before this time, RFC 3339")
	fl.StringVar(&f.filter.Issuer, "issuer", "", "only this issuer of identities")
	fl.StringVar(&f.filter.Subject, "subject", "", "only this subject of tokens")
	fl.StringVar(&f.filter.SAN, "san", "", "only this name in certificates")
	fl.StringVar(&f.state, "state", "", "only intended, precertified or issued")
	fl.Int64Var(&f.filter.After, "after", 0, "only records with an id above this one")
	cmd.MarkFlagsMutuallyExclusive("config", "data")
	return cmd
}

// times reads what is text on the command line.
func (f *auditFlags) times() error {
	for _, t := range []struct {
		flag, text string
		to         *time.Time
	}{{"since", f.since, &f.filter.Since}, {"until", f.until, &f.filter.Until}} {
		if t.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, t.text)
		if err != nil {
			return fmt.Errorf("--%s %q: want a time such as 2026-01-31T12:00:00Z", t.flag, t.text)
		}
		*t.to = at
	}
	switch f.filter.State = ca.State(f.state); f.filter.State {
	case "", ca.Intended, ca.Precertified, ca.Issued:
		return nil
	}
	return fmt.Errorf("--state %q: want intended, precertified or issued", f.state)
}

func (f *auditFlags) open(ctx context.Context) (ca.Trail, func() error, error) {
	if f.config != "" {
		cfg, err := config.Load(f.config)
		if err != nil {
			return nil, nil, err
		}
		return stack.OpenConfiguredTrail(ctx, cfg)
	}
	path, err := filepath.Abs(f.data)
	if err != nil {
		return nil, nil, fmt.Errorf("data directory: %w", err)
	}
	d, err := stack.ReadInstance(path)
	if err != nil {
		return nil, nil, err
	}
	trail, closeTrail, err := stack.OpenTrail(ctx, d)
	if err != nil {
		return nil, nil, errors.Join(err, d.Close())
	}
	return trail, func() error { return errors.Join(closeTrail(), d.Close()) }, nil
}
