package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/expiry"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tuf"
)

func expiryCommand() *cobra.Command {
	var file, data string
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "expiry --config FILE | --data DIR",
		Short: "List everything that will stop working, in order, and what prevents it",
		Long: `List everything that will stop working, the first to break first: when, what stops
then, and the steps that prevent it. It looks at the roles of the TUF repository,
the chains of the certificate and the timestamp authority, TLS certificates, those
that services show each other and their authorities, and keys that the trust root
gives an end. Nothing is changed.

A configuration file without a section tuf says what its own services end with;
ask where tuf runs too.

The exit code is 1 where something has stopped already, or stops within --within
(what renews itself: where that is overdue).
A running server says the same in its log, 90, 30, 14, 7 and 2 days before, in
/readyz, and in the metric sigbox_expires_timestamp_seconds.`,
		Example: `  sigbox expiry --config /etc/sigbox/sigbox.yaml
  sigbox expiry --config /etc/sigbox/sigbox.yaml --within 720h     for a job that tells somebody
  sigbox expiry --data ./sigbox-data                              an instance of sigbox up`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			items, err := expiring(cmd.Context(), file, data)
			now := clock.System{}.Now()
			printExpiring(cmd.OutOrStdout(), items, now)
			if err != nil {
				return fmt.Errorf("not everything could be looked at: %w", err)
			}
			if n := slices.IndexFunc(items, func(i expiry.Item) bool { return i.Within(now, within) }); n >= 0 {
				return fmt.Errorf("%s: %s", items[n].Title(), expiry.Words(items[n].Left(now)))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file of serve")
	cmd.Flags().StringVar(&data, "data", "", "data directory of up")
	cmd.Flags().DurationVar(&within, "within", 0, "exit code 1 where something stops working within this time")
	cmd.MarkFlagsOneRequired("config", "data")
	cmd.MarkFlagsMutuallyExclusive("config", "data")
	return cmd
}

// expiring returns what could be read also where there is an error.
func expiring(ctx context.Context, file, data string) (items []expiry.Item, err error) {
	if data != "" {
		d, err := stack.ReadInstance(data)
		if err != nil {
			return nil, err
		}
		return stack.UpExpiring(ctx, d, clock.System{})
	}
	cfg, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	if cfg.TUF == nil {
		return stack.Expiring(ctx, cfg, nil)
	}
	opened := false
	err = withTUF(ctx, file, func(t *stack.TUFRepo) (err error) {
		opened = true
		if err := t.Repo.Open(ctx); err != nil && !errors.Is(err, tuf.ErrNotCreated) {
			return err
		}
		items, err = stack.Expiring(ctx, cfg, t)
		return err
	})
	if opened {
		return items, err
	}
	items, more := stack.Expiring(ctx, cfg, nil)
	return items, errors.Join(err, more)
}

func printExpiring(out io.Writer, items []expiry.Item, now time.Time) {
	for _, i := range items {
		verb := "ends"
		if i.Left(now) <= 0 {
			verb = "ENDED"
		}
		fmt.Fprintf(out, "%s  %s %s %s\n", i.At.Format(time.DateTime+"Z"), i.What, verb, expiry.Words(i.Left(now)))
		if i.Detail != "" {
			fmt.Fprintf(out, "  which    %s\n", i.Detail)
		}
		fmt.Fprintf(out, "  then     %s\n", i.Breaks)
		if i.Renews > 0 {
			fmt.Fprintf(out, "  renewed  by itself, %s before\n", days(i.Renews))
		}
		for n, step := range i.Mend {
			label := "prevent"
			if n > 0 {
				label = "       "
			}
			fmt.Fprintf(out, "  %s  %s\n", label, step)
		}
	}
	if len(items) == 0 {
		fmt.Fprintln(out, "nothing here ends")
	}
}

func days(d time.Duration) string { return fmt.Sprintf("%d days", d/(24*time.Hour)) }
