package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
)

func logCreateCommand(f *logFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "create NAME --config FILE",
		Short: "Make a log that a configuration file describes, once",
		Long: `Make a log in the database of a configuration file, with its key, its origin and
its first entries: two of the log's own for Rekor, the certificates of the
authority for CT. "sigbox serve" opens logs and never makes one.

It is refused where the log is there already, where the guard remembers its origin
(then a database was lost: see "sigbox log recover"), where another log has its
origin or tree id, and where another log has its key; only shards of one Rekor v1
log may share theirs.

A log goes on in a new shard with "sigbox log rotate".`,
		Example: `  sigbox log create rekor-v1 --config /etc/sigbox/sigbox.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.config == "" {
				return errors.New("name the configuration file that describes the log with --config; the logs of sigbox up are made by sigbox up")
			}
			return f.with(cmd.Context(), true, func(logs *stack.Logs) error {
				l, err := logs.Create(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: created with %d entries, origin %q, key id %x\n", l.Name, l.Size, l.Origin, l.KeySHA256)
				return nil
			})
		},
	}
}
