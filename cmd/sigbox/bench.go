package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/bench"
	"github.com/sigbox/sigbox/oidc/devidp"
)

type benchFlags struct {
	json string
	o    bench.Options
	yes  bool
}

func benchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Load a Rekor or Fulcio server and measure its throughput and latency",
		Long: `Load any server that speaks Rekor's API v1 or v2 or Fulcio's API v2, sigbox or
not, and print its throughput and latency percentiles.

Requests are prepared before the clock starts, from a seed: the same seed makes
the same requests, so a log takes them once only. While the clock runs answers are
kept and not looked at; afterwards every one is checked as a client would. A
request that fails or an answer that does not hold makes the exit code 1.

Everything stays in the log or in the CA's records for good. A server that is not
on this machine is loaded only with --yes-load-this-server.

On one machine client and server share the processors: compare figures of one
machine, taken side by side, and those of one client with those of many.`,
		Example: `  sigbox bench rekor-v1
  sigbox bench rekor-v2 --url http://127.0.0.1:8080 -n 20000 -c 128
  sigbox bench fulcio --email dev@example.com -n 500 -c 16 --json fulcio.json
  sigbox bench rekor-v1 -n 100000 --duration 30s --json - | jq .latency_ms.p99`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	p := cmd.PersistentFlags()
	p.StringSliceVar(&f.o.URLs, "url", []string{defaultURL}, "URL of the server, without a path; several, with commas between them, are replicas among which the clients spread")
	p.IntVarP(&f.o.Requests, "requests", "n", 2000, "requests to prepare and to send")
	p.IntVarP(&f.o.Clients, "clients", "c", 32, "clients that each wait for one answer at a time")
	p.IntVar(&f.o.Warm, "warm", 50, "requests that are sent before the clock starts")
	p.DurationVar(&f.o.Duration, "duration", 0, "stop sending after this time, even if not all requests are sent (default: send all)")
	p.DurationVar(&f.o.Timeout, "timeout", time.Minute, "how long one request may take")
	p.Uint64Var(&f.o.Seed, "seed", 0, "seed of the requests (default: a random one, which is printed)")
	p.StringVar(&f.json, "json", "", "write the report to this file as JSON, too; - writes it to standard output instead of the table")
	p.BoolVar(&f.yes, "yes-load-this-server", false, "yes, load a server that is not on this machine")
	cmd.AddCommand(benchRekorV1Command(&f), benchRekorV2Command(&f), benchFulcioCommand(&f))
	return cmd
}

func benchRekorV1Command(f *benchFlags) *cobra.Command {
	var t bench.RekorV1
	cmd := &cobra.Command{
		Use:   "rekor-v1",
		Short: "Log hashedrekord entries through Rekor's API v1",
		Long: `Log distinct hashedrekord 0.0.1 entries, each with a signature of its own by one
P-256 key, through POST /api/v1/log/entries.

The log's public key comes from --key, or else from the log itself: then the
answers are checked against the key that the server says it has.`,
		Example: `  sigbox bench rekor-v1 -n 20000 -c 128
  sigbox bench rekor-v1 --url http://127.0.0.1:3000 --key rekor.pub --seed 7`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd, &t) },
	}
	cmd.Flags().StringVar(&t.KeyFile, "key", "", "PEM file with the log's public key (default: /api/v1/log/publicKey of the server)")
	return cmd
}

func benchRekorV2Command(f *benchFlags) *cobra.Command {
	var t bench.RekorV2
	cmd := &cobra.Command{
		Use:   "rekor-v2",
		Short: "Log hashedrekord entries through Rekor's API v2",
		Long: `Log distinct hashedrekord 0.0.2 entries, each with a signature of its own by one
P-256 key, through POST /api/v2/log/entries.

The log's public key comes from --key. Rekor v2 does not publish it; a sigbox
does, and there --key can be left out.`,
		Example: `  sigbox bench rekor-v2 -n 20000 -c 128
  sigbox bench rekor-v2 --url http://127.0.0.1:3003 --key log.pub`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd, &t) },
	}
	cmd.Flags().StringVar(&t.KeyFile, "key", "", "PEM file with the log's public key (default: /trust/rekor_v2.pub of a sigbox)")
	return cmd
}

func benchFulcioCommand(f *benchFlags) *cobra.Command {
	var t bench.Fulcio
	var token tokenSource
	cmd := &cobra.Command{
		Use:   "fulcio",
		Short: "Have certificates issued through Fulcio's API v2",
		Long: `Have certificates issued for one identity, each for a key of its own, through
POST /api/v2/signingCert.

The identity token comes from a file, from a command's standard output, or from
the development issuer of "sigbox up". One token serves the whole run, so it must
be valid for as long as that takes.`,
		Example: `  sigbox bench fulcio --email dev@example.com -n 500 -c 16
  sigbox bench fulcio --url http://127.0.0.1:5555 --token-file token.jwt --no-sct
  sigbox bench fulcio --url http://127.0.0.1:5555 --ct-key ctfe.pub --token-command 'gcloud auth print-identity-token --audiences sigstore'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := f.allowed(); err != nil {
				return err
			}
			if t.Token, err = token.get(cmd.Context(), f.o.URLs[0]); err != nil {
				return err
			}
			return f.run(cmd, &t)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&token.email, "email", "bench@example.com", "e-mail address for which the development issuer makes a token")
	flags.StringVar(&token.issuer, "issuer", "", "URL of the development issuer (default: that of the server)")
	flags.StringVar(&token.file, "token-file", "", "file that holds an identity token")
	flags.StringVar(&token.command, "token-command", "", "shell command that prints an identity token")
	flags.StringVar(&t.ChainFile, "chain", "", "PEM file with the CA's certificates, root last (default: /api/v1/rootCert of the server)")
	flags.StringVar(&t.CTKeyFile, "ct-key", "", "PEM file with the CT log's public key (default: /trust/ctfe.pub of a sigbox)")
	flags.BoolVar(&t.NoSCT, "no-sct", false, "the CA has no CT log: want no signed certificate timestamps")
	cmd.MarkFlagsMutuallyExclusive("token-file", "token-command", "email")
	cmd.MarkFlagsMutuallyExclusive("token-file", "token-command", "issuer")
	cmd.MarkFlagsMutuallyExclusive("no-sct", "ct-key")
	return cmd
}

// tokenSource is where an identity token comes from.
type tokenSource struct{ email, issuer, file, command string }

func (s *tokenSource) get(ctx context.Context, server string) (string, error) {
	switch {
	case s.file != "":
		raw, err := os.ReadFile(s.file)
		if err != nil {
			return "", fmt.Errorf("identity token: %w", err)
		}
		return string(raw), nil
	case s.command != "":
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", s.command)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("identity token: the command %q: %w", s.command, err)
		}
		return string(out), nil
	}
	issuer := s.issuer
	if issuer == "" {
		issuer = server
	}
	token, err := devidp.FetchToken(ctx, issuer, map[string]any{"email": s.email})
	if err != nil {
		return "", fmt.Errorf("identity token (name another source with --token-file or --token-command): %w", err)
	}
	return token, nil
}

// allowed refuses a server of others, unless the user says that it is meant.
func (f *benchFlags) allowed() error {
	for _, url := range f.o.URLs {
		if err := bench.CheckURL(url); err != nil {
			return err
		}
		if !bench.IsLocal(url) && !f.yes {
			return fmt.Errorf("%s is not on this machine: the load slows it down for others, and what is logged stays for good; "+
				"if it is yours to load, run the same command with --yes-load-this-server", url)
		}
	}
	return nil
}

func (f *benchFlags) run(cmd *cobra.Command, t bench.Target) (err error) {
	if err := f.allowed(); err != nil {
		return err
	}
	if !cmd.Flags().Changed("seed") {
		f.o.Seed = rand.Uint64()
	}
	bars := map[string]*progress{}
	f.o.Progress = func(part string, done, total int64) {
		if bars[part] == nil {
			for _, p := range bars {
				p.done()
			}
			clear(bars)
			bars[part] = newProgress(cmd.ErrOrStderr(), part, "requests")
		}
		bars[part].update(done, total)
	}
	out := cmd.OutOrStdout()
	file, closeFile, err := f.report(out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeFile()) }()
	report, err := bench.Run(cmd.Context(), t, f.o)
	for _, p := range bars {
		p.done()
	}
	if err != nil {
		return err
	}
	if file != nil {
		err = report.WriteJSON(file)
	}
	if f.json != "-" {
		err = errors.Join(err, report.WriteTable(out))
	}
	return errors.Join(err, report.Err())
}

// report opens where the JSON goes before the load starts, so that nothing is measured in vain.
func (f *benchFlags) report(stdout io.Writer) (io.Writer, func() error, error) {
	switch strings.TrimSpace(f.json) {
	case "":
		return nil, func() error { return nil }, nil
	case "-":
		return stdout, func() error { return nil }, nil
	}
	file, err := os.Create(f.json)
	if err != nil {
		return nil, nil, fmt.Errorf("--json: %w", err)
	}
	return file, file.Close, nil
}
