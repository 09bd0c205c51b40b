package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, show and explain the configuration file of serve",
		Long: `Work on the configuration file of "sigbox serve". Nothing is changed, and no
database is looked at.`,
		Example: `  sigbox config explain tlog
  sigbox config check --config sigbox.yaml`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	cmd.AddCommand(configCheckCommand(), configShowCommand(), configExplainCommand())
	return cmd
}

func configCheckCommand() *cobra.Command {
	var f configFlags
	var noFiles bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find everything that is wrong with a configuration file",
		Long: `Check a configuration file and the files that it names: keys must be readable by
this user, and by nobody else; no two roles may share one; certificates must fit
their keys and each other; references to secrets must lead somewhere. Run it as the
user that serve runs as.

Every problem is a line of its own, FILE:LINE:COLUMN: KEY: what is wrong. The exit
code is 2 if there is one.`,
		Example: `  sigbox config check --config /etc/sigbox/sigbox.yaml
  sigbox config check --no-files            on a machine that has no keys`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load()
			if err == nil && !noFiles {
				err = stack.CheckFiles(cfg)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: ok: %s\n", f.file, strings.Join(cfg.Services(), ", "))
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&noFiles, "no-files", false, "look at the configuration file alone")
	return cmd
}

func configShowCommand() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print a configuration with all defaults, without secrets",
		Long: `Print a configuration as it counts: with every default, what sections take over
from the top of the file, and absolute paths. Secrets are shown as the references
that they are. The output is a configuration file again.`,
		Example: `  sigbox config show --config /etc/sigbox/sigbox.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load()
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), cfg.Show())
			return err
		},
	}
	f.add(cmd)
	return cmd
}

func configExplainCommand() *cobra.Command {
	var example bool
	cmd := &cobra.Command{
		Use:   "explain [KEY]",
		Short: "Say what a key of the configuration is for, or list the keys",
		Long: `Say what a key means, its unit, default and bounds, and what goes wrong with it.
Without a key, or with that of a section, the keys in it are listed. The names in
errors can be pasted, tlog.rekor_v1.shards[0].key too.`,
		Example: `  sigbox config explain
  sigbox config explain tlog.guard
  sigbox config explain --example > sigbox.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if example {
				_, err := io.WriteString(cmd.OutOrStdout(), config.Example)
				return err
			}
			text, err := config.Explain(strings.Join(args, ""))
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), text)
			return err
		},
	}
	cmd.Flags().BoolVar(&example, "example", false, "print a configuration to begin with")
	return cmd
}
