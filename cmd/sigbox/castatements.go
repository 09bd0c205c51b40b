package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
)

func caKeyCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "key --out FILE",
		Short: "Make a key for an authority, which follows the one in use",
		Long: `Make an ECDSA P-256 key in FILE, which only you can read. It is for an authority
whose certificate ends: a new certificate needs a new key, since the old chain stays
in the trust root for what was signed with it.`,
		Example: `  sigbox ca key --out /etc/sigbox/ca/ca-2.key`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := keys.NewECDSA()
			if err != nil {
				return err
			}
			if err := keys.Save(out, key); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "made %s\n", out)
			return err
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file of the key; it must not exist yet")
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

func caStatementsCommand() *cobra.Command {
	var file, out string
	cmd := &cobra.Command{
		Use:   "statements --config FILE --out DIR",
		Short: "Write what the authorities of a configuration say about their keys",
		Long: `Write the trust statements of the certificate and the timestamp authority of a
configuration file, which serve writes when it starts. Here they are made before
anything is signed with the keys, so that clients can trust these first: bring them
to sigbox tuf request with --statements, and change over once that is published.`,
		Example: `  sigbox ca statements --config next.yaml --out statements
  sigbox tuf request --statements statements --out ca.json --config sigbox.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(file)
			if err != nil {
				return err
			}
			if cfg.CA == nil || cfg.Instance == "" {
				return errors.New(file + " needs the section ca and the key instance, the id that sigbox init made")
			}
			if err := stack.CheckFiles(cfg); err != nil {
				return err
			}
			issuers, err := stack.Issuers(cfg)
			if err != nil {
				return err
			}
			list, err := stack.CAStatements(cfg, issuers, clock.System{}.Now())
			if err != nil {
				return err
			}
			if err := stack.WriteStatements(out, list); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "wrote %d statements to %s\n", len(list), out)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", "sigbox.yaml", "configuration file")
	cmd.Flags().StringVar(&out, "out", "", "directory for the statements; made if it is not there")
	must(cmd.MarkFlagRequired("out"))
	return cmd
}
