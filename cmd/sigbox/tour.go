package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
)

func tourCommand() *cobra.Command {
	var file, through string
	cmd := &cobra.Command{
		Use:   "tour",
		Short: "Print what to type to sign and verify with the instance of a configuration file",
		Long: `Print the commands with which cosign 3 and cosign 2 sign and verify with the
instance that a configuration file describes. Nothing is asked of the instance.

With --exec the commands run sigbox in the containers of Docker Compose services,
which are called tuf and issuer; then there need be no sigbox where they are typed.`,
		Example: `  sigbox tour --config sigbox.yaml
  sigbox tour --config /etc/sigbox/sigbox.yaml --exec "docker compose exec -T"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(file)
			if err != nil {
				return err
			}
			if cfg.TUF == nil || cfg.CA == nil || cfg.TLog == nil {
				return errors.New(file + " is not of a whole instance: it needs the sections ca, tlog and tuf")
			}
			_, err = io.WriteString(cmd.OutOrStdout(), tourText(cfg, through))
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", "sigbox.yaml", "configuration file")
	cmd.Flags().StringVar(&through, "exec", "", "what to put before a service's name to run a command in its container")
	return cmd
}

// tourText is the tour. Its commands leave nothing behind but the directory sigbox-trust and what they sign.
func tourText(cfg *config.Config, through string) string {
	run := func(service string) string {
		if through == "" {
			return "sigbox"
		}
		return through + " " + service + " sigbox"
	}
	export := fmt.Sprintf("%s trust export --url %s --out ./sigbox-trust", run("tuf"), cfg.TUF.PublicURL)
	if through != "" {
		export = fmt.Sprintf("mkdir -p sigbox-trust\n%s trust export --url %s --out \"$PWD/sigbox-trust\" --tar | tar -x -C sigbox-trust",
			run("tuf"), cfg.TUF.PublicURL)
	}
	var b strings.Builder
	fmt.Fprint(&b, "\nThis sigbox answers at\n\n")
	what := map[string]string{
		"ca": "certificates (Fulcio), timestamps", "tlog": "logs (Rekor v1 and v2, CT)", "tuf": "trust root (TUF)",
		"issuer": "development issuer: signs in ANYBODY",
	}
	for _, service := range cfg.Services() {
		fmt.Fprintf(&b, "  %-7s %-28s %s\n", service, cfg.URL(service), what[service])
	}
	fmt.Fprintf(&b, "\nWhat clients need to trust it, in a directory of its own:\n\n%s", indented(export))
	if cfg.Issuer == nil {
		if cfg.CA.Issuers != "" {
			fmt.Fprintf(&b, "\nPeople sign in at the issuers that %s names.\n", cfg.CA.Issuers)
		}
		for _, url := range cfg.CA.DevelopmentIssuers() {
			fmt.Fprintf(&b, "\nThe development issuer %s signs in ANYBODY.\n", url)
		}
		return b.String()
	}
	cosign := stack.Tour{URL: string(cfg.Issuer.PublicURL), Trust: "./sigbox-trust", Self: run("issuer")}
	fmt.Fprintf(&b, "\nSign and verify with cosign 3:\n\n%s", indented(cosign.Cosign3()))
	fmt.Fprintf(&b, "\nSign and verify with cosign 2:\n\n%s", indented(cosign.Cosign2()))
	fmt.Fprint(&b, "\nThe environment files set nothing beyond the shell they are sourced in.\n")
	return b.String()
}
