package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
)

// configFlags are the flags of every command that reads a configuration file.
type configFlags struct {
	file string
	only []string
}

func (f *configFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "config", "sigbox.yaml", "configuration file")
	cmd.Flags().StringSliceVar(&f.only, "only", nil, "of the services in the file only these: ca, tlog, tuf, issuer")
}

func (f *configFlags) load() (*config.Config, error) {
	cfg, err := config.Load(f.file)
	if err == nil && f.only != nil {
		err = cfg.Only(f.only)
	}
	return cfg, err
}

func serveCommand() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the services of a configuration file, over PostgreSQL",
		Long: `Run the services that a configuration file describes. Any number of replicas can
run on one database with equal configuration and keys: all of them answer, and
none leads. "sigbox config explain" says what belongs into the file.

Before the first start:

  sigbox migrate --config FILE                 make the database's schemas
  sigbox log create NAME --config FILE         make each log, once

serve reads keys and never writes them. It refuses to start on a database that
would lose what it has acknowledged, on one of another version, and on a log that
is not there or has another origin or key than the configuration says.

SIGHUP, or a change of the file or of certificates and issuers that it names, is
taken over while serve runs ("sigbox config explain" marks the keys that are live);
where something is wrong, what was loaded before goes on to count.

SIGTERM drains: /readyz answers 503, requests under way are answered, the logs
commit what they hold. The lines "ready ADDRESS URL..." on standard output say
that all listeners are open. The exit code is 2 where the configuration is wrong.`,
		Example: `  sigbox serve --config /etc/sigbox/sigbox.yaml
  sigbox serve --config /etc/sigbox/sigbox.yaml --only tlog`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load()
			if err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, f.load, cmd.OutOrStdout())
		},
	}
	f.add(cmd)
	return cmd
}

func serve(ctx context.Context, cfg *config.Config, load func() (*config.Config, error), out io.Writer) (err error) {
	var level slog.LevelVar
	log := newLogger(cfg.Logging, &level, os.Stderr)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	s, err := stack.OpenServer(ctx, stack.ServerOptions{Config: cfg, Load: load, Reload: hangup, Clock: clock.System{}, Log: log, Level: &level})
	if err != nil {
		return unlessStopped(ctx, log, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, line := range s.Addresses() {
		if _, err := fmt.Fprintln(out, "ready", line); err != nil {
			return fmt.Errorf("standard output: %w", err)
		}
	}
	return s.Run(ctx)
}

// newLogger returns a logger in the configured format; level may change while it is used.
func newLogger(l config.Logging, level *slog.LevelVar, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if l.Format == "text" {
		return slog.New(slog.NewTextHandler(out, options))
	}
	return slog.New(slog.NewJSONHandler(out, options))
}

func migrateCommand() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Make or update the database schemas that a configuration file needs",
		Long: `Bring the schemas of every database in a configuration file to the version of
this sigbox, and make the users that serve connects as members of the writer
roles (sigbox_tlog_writer, sigbox_guard_writer), which can add and not change or
delete.

It connects with migrate_url where the file has one, and with url otherwise: as a
user that may make roles and schemas. Running it again changes nothing. It only
goes forward, and is safe while replicas of the version before still run.`,
		Example: `  sigbox migrate --config /etc/sigbox/sigbox.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load()
			if err != nil {
				return err
			}
			return migrate(cmd.Context(), cfg, cmd.OutOrStdout())
		},
	}
	f.add(cmd)
	return cmd
}

func migrate(ctx context.Context, cfg *config.Config, out io.Writer) error {
	done, err := stack.Migrate(ctx, cfg)
	todo := 0
	for _, m := range done {
		if m.Todo == "" {
			fmt.Fprintf(out, "schema %s: up to date; %s may write\n", m.Schema, m.User)
			continue
		}
		todo++
		fmt.Fprintf(out, "schema %s: up to date; %s may not write yet. Have an administrator run: %s\n", m.Schema, m.User, m.Todo)
	}
	if err == nil && todo > 0 {
		return errors.New("an administrator has something left to do, see above")
	}
	return err
}
