package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/oidc"
)

// authorityFlags say which authority's view of tokens is wanted: that of a configuration, or of the
// files that one would name.
type authorityFlags struct {
	config, issuers string
	rules           string
	keys            []string // ISSUER=FILE
}

func (f *authorityFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "sigbox.yaml", "configuration file")
	cmd.Flags().StringVar(&f.issuers, "issuers", "", "in place of --config: Fulcio's config.yaml")
	cmd.Flags().StringArrayVar(&f.keys, "keys", nil, "with --issuers: ISSUER=FILE, a JWK set with the keys of an issuer; repeat it")
	cmd.Flags().StringVar(&f.rules, "rules", "", "the rules on who may sign, in place of ca.rules")
	cmd.MarkFlagsMutuallyExclusive("config", "issuers")
	cmd.MarkFlagsMutuallyExclusive("config", "keys")
}

func (f *authorityFlags) load() (*config.Config, error) {
	if f.issuers == "" {
		if len(f.keys) > 0 {
			return nil, errors.New("--keys goes with --issuers; with --config, ca.issuer_keys names the keys")
		}
		cfg, err := config.Load(f.config)
		if err == nil && cfg.CA == nil {
			err = fmt.Errorf("%s has no section ca: want the configuration of the authority", f.config)
		}
		if err == nil && f.rules != "" {
			cfg.CA.Rules = config.File(f.rules)
		}
		return cfg, err
	}
	c := &config.CA{Issuers: config.File(f.issuers), Rules: config.File(f.rules)}
	for _, k := range f.keys {
		n := strings.LastIndexByte(k, '=')
		if n <= 0 || n == len(k)-1 {
			return nil, fmt.Errorf("--keys %q: want ISSUER=FILE", k)
		}
		c.IssuerKeys = append(c.IssuerKeys, config.IssuerKeys{Issuer: config.IssuerURL(k[:n]), Keys: config.File(k[n+1:])})
	}
	return &config.Config{CA: c}, nil
}

func caExplainTokenCommand() *cobra.Command {
	var from authorityFlags
	var at string
	cmd := &cobra.Command{
		Use:   "explain-token FILE|-",
		Short: "Say what the authority would do with a token, without asking anybody",
		Long: `Hold an identity token to all that the certificate authority holds it to, and say
which checks pass, which fail and by how much, which name and extensions a
certificate would get, and which rule on who may sign decides. Nothing is fetched: the signature is checked where the
configuration pins the issuer's keys (ca.issuer_keys), and else it says so.

The token is read from a file, or with - from standard input; never from the command
line, which others on the machine can read. Neither it nor its signature is printed,
but some of its claims are. The exit code is 1 where the token would be refused.`,
		Example: `  sigbox ca explain-token token.jwt --config /etc/sigbox/sigbox.yaml
  sigbox ca explain-token - --issuers fulcio.yaml --keys https://ci.example.com=jwks.json < token.jwt`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := readToken(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			var when clock.Clock = clock.System{}
			if at != "" {
				t, err := time.Parse(time.RFC3339, at)
				if err != nil {
					return fmt.Errorf("--at %q: want a time such as 2026-01-31T12:00:00Z", at)
				}
				when = clock.NewManual(t)
			}
			cfg, err := from.load()
			if err != nil {
				return err
			}
			report, err := stack.ExplainToken(cmd.Context(), cfg, raw, when)
			if err != nil {
				return err
			}
			return sayToken(cmd.OutOrStdout(), report)
		},
	}
	from.add(cmd)
	cmd.Flags().StringVar(&at, "at", "", "as of another time, RFC 3339 (default: now)")
	return cmd
}

// readToken reads a token from a file, or from standard input. A line break at the end is the file's.
func readToken(file string, stdin io.Reader) (string, error) {
	if strings.Count(file, ".") >= 2 && strings.HasPrefix(file, "eyJ") { // never quoted
		return "", errors.New("this looks like the token itself, which is a secret for as long as it is valid: write it to a file, or pipe it to -")
	}
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("token: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, oidc.MaxTokenBytes+3)) // one byte too many, and a line break
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}

func sayToken(out io.Writer, r *stack.TokenReport) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range r.Checks {
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.Name, c.Outcome, c.Detail)
	}
	if r.Type != "" {
		fmt.Fprintf(w, "type\t\t%s\n", r.Type)
	}
	switch id := r.Identity; {
	case r.Unfit != nil:
		fmt.Fprintf(w, "name\t%s\t%v\n", oidc.Failed, reason(r.Unfit))
	case id != nil:
		fmt.Fprintf(w, "name\t%s\t%s\n", oidc.Passed, id.SANText)
		for _, x := range id.Texts() {
			fmt.Fprintf(w, "extension\t\t%s (%s) %s\n", x.OID, x.Name, x.Value)
		}
	}
	switch {
	case r.Denied != nil:
		fmt.Fprintf(w, "rules\t%s\t%v\n\t\tthe caller reads: %s\n", oidc.Failed, r.Denied, r.Denied.Reason)
	case r.Identity != nil && r.Rules == 0:
		fmt.Fprintf(w, "rules\t%s\tthe issuer has none\n", oidc.Passed)
	case r.Identity != nil:
		fmt.Fprintf(w, "rules\t%s\tall %d of the issuer allow it\n", oidc.Passed, r.Rules)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if why := r.Refused(); len(why) > 0 {
		return fmt.Errorf("the token would be refused: %s", strings.Join(why, ", "))
	}
	_, err := fmt.Fprintln(out, verdict(r))
	return err
}

// verdict is the last line where nothing fails.
func verdict(r *stack.TokenReport) string {
	for _, c := range r.Checks {
		if c.Name == "signature" && c.Outcome == oidc.NotChecked {
			return "a certificate would be issued, if the signature is the issuer's"
		}
	}
	return "a certificate would be issued"
}

// reason is the cause of a refusal without its class.
func reason(err error) error {
	var refused *oidc.TokenError
	if errors.As(err, &refused) {
		return refused.Err
	}
	return err
}
