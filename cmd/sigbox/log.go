package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/tlog"
)

func logCommand() *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Make, look at, check, copy, rotate, end and recover logs",
		Long: `Work on transparency logs: those of an instance that "sigbox up" made (rekor-v1,
rekor-v2 and ct), which --data names, or those of a configuration file of "sigbox
serve", which --config names. The commands read databases and keys, not URLs.

list, fsck and export only read, and work while the instance or replicas run.`,
		Example: `  sigbox log list
  sigbox log fsck --config /etc/sigbox/sigbox.yaml
  sigbox log export rekor-v2 --out /srv/www/log`,
		Args: cobra.NoArgs,
	}
	cmd.PersistentFlags().StringVar(&f.data, "data", "./sigbox-data", "data directory of the instance")
	cmd.PersistentFlags().StringVar(&f.database, "database", "", "PostgreSQL database of the logs, if the instance was made with one")
	cmd.PersistentFlags().StringVar(&f.config, "config", "", "configuration file of sigbox serve, instead of --data")
	cmd.MarkFlagsMutuallyExclusive("config", "data")
	cmd.MarkFlagsMutuallyExclusive("config", "database")
	cmd.AddCommand(logListCommand(&f), logCreateCommand(&f), logFsckCommand(&f), logExportCommand(&f), logFreezeCommand(&f), logRotateCommand(&f), logRecoverCommand(&f))
	return cmd
}

type logFlags struct{ config, data, database string }

// open opens the logs. Only who changes something locks the instance.
func (f *logFlags) open(ctx context.Context, lock bool) (_ *stack.Logs, closeAll func() error, err error) {
	if f.config != "" {
		cfg, err := config.Load(f.config)
		if err != nil {
			return nil, nil, err
		}
		logs, err := stack.OpenConfiguredLogs(ctx, cfg)
		if err != nil {
			return nil, nil, err
		}
		return logs, logs.Close, nil
	}
	path, err := filepath.Abs(f.data)
	if err != nil {
		return nil, nil, fmt.Errorf("data directory: %w", err)
	}
	dir, err := stack.ReadInstance(path)
	if err == nil && lock {
		dir, err = instance.Open(path)
	}
	if err != nil {
		return nil, nil, err
	}
	logs, err := stack.OpenLogs(ctx, dir, f.database)
	if err != nil {
		return nil, nil, errors.Join(err, dir.Close())
	}
	return logs, func() error { return errors.Join(logs.Close(), dir.Close()) }, nil
}

// with runs do on the logs.
func (f *logFlags) with(ctx context.Context, lock bool, do func(*stack.Logs) error) error {
	logs, closeAll, err := f.open(ctx, lock)
	if err != nil {
		return err
	}
	return errors.Join(do(logs), closeAll())
}

func logListCommand(f *logFlags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the logs with their sizes",
		Long: `List the logs in the database: the name that the other commands take, the origin
(the first line of its checkpoints), how many entries it has, whether it takes
more (active) or not (frozen), when the last entry came, and the key id, which is
SHA-256 of the public key and what clients call the log id. "frozen, lost N" is a
log that was frozen because N entries were lost: see "sigbox log recover".

Nothing is verified: see "sigbox log fsck".`,
		Example: `  sigbox log list
  sigbox log list --json | jq -r '.[] | select(.state == "frozen").name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), false, func(logs *stack.Logs) error {
				list, err := logs.List(cmd.Context())
				if err != nil {
					return err
				}
				return printLogs(cmd.OutOrStdout(), list, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// listedLog is one log as `log list` prints it.
type listedLog struct {
	Name      string    `json:"name"`
	Origin    string    `json:"origin"`
	Size      int64     `json:"size"`
	State     string    `json:"state"` // active or frozen
	Lost      int64     `json:"lost,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	LastEntry time.Time `json:"last_entry"`
	KeyID     string    `json:"key_id"` // hex
}

// originOf is the first line of a log's checkpoints; shards that share it are told apart behind a #.
func originOf(stored string) string {
	origin, _, _ := strings.Cut(stored, "#")
	return origin
}

func printLogs(out io.Writer, list []stack.LogState, asJSON bool) error {
	rows := make([]listedLog, len(list))
	for i, l := range list {
		rows[i] = listedLog{
			Name: l.Name, Origin: originOf(l.Origin), Size: l.Size, State: "active",
			LastEntry: time.UnixMilli(l.TimeMS).UTC(), KeyID: fmt.Sprintf("%x", l.KeySHA256),
		}
		if l.Frozen {
			rows[i].State, rows[i].Lost, rows[i].Reason = "frozen", l.Lost, l.Reason
		}
	}
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tORIGIN\tSIZE\tSTATE\tLAST ENTRY\tKEY ID")
	for _, r := range rows {
		if r.Lost > 0 {
			r.State = fmt.Sprintf("frozen, lost %d", r.Lost)
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\n", r.Name, r.Origin, r.Size, r.State, r.LastEntry.Format(time.RFC3339), r.KeyID)
	}
	return table.Flush()
}

func logFsckCommand(f *logFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "fsck [NAME]",
		Short: "Recompute logs from their entries and compare with what is stored",
		Long: `Recompute one log, or all, from the entries up: every leaf hash, tile and root,
the signed checkpoint, the order of times, identities and search keys. The chains
in ct are verified again, since no leaf hash covers them; signatures of entries are
not, since one does. The first row that is not as it should be is named.

Each log is answered with one line, "ok" or "BAD". The exit code is 0 if all are
good and 1 otherwise. It only reads: what to do about a bad log (restore a
backup, or keep the file as evidence) is yours to decide.`,
		Example: `  sigbox log fsck
  sigbox log fsck rekor-v1 --data ~/sigbox`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return f.with(cmd.Context(), false, func(logs *stack.Logs) error {
				return fsck(cmd, logs, names)
			})
		},
	}
}

func fsck(cmd *cobra.Command, logs *stack.Logs, names []string) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	if len(names) == 0 {
		list, err := logs.List(ctx)
		if err != nil {
			return err
		}
		for _, l := range list {
			names = append(names, l.Name)
		}
	}
	bad := 0
	for _, name := range names {
		bar := newProgress(cmd.ErrOrStderr(), name, "leaves checked")
		signed, err := logs.Fsck(ctx, name, bar.update)
		bar.done()
		switch {
		case err == nil:
			fmt.Fprintf(out, "%s: ok: %d entries, root %x\n", name, signed.Size, signed.Root)
		case errors.Is(err, tlog.ErrCorrupt):
			bad++
			fmt.Fprintf(out, "%s: BAD: %v\n", name, err)
		default:
			return fmt.Errorf("log %s: %w", name, err)
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d logs checked are bad", bad, len(names))
	}
	return nil
}

func logExportCommand(f *logFlags) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "export NAME",
		Short: "Write a log to a directory as tiles that any web server can serve",
		Long: `Write a log to a directory as a C2SP tlog-tiles tree: checkpoint, tile/<L>/<N> and
tile/entries/<N>. Any static web server can serve it, and monitors and mirrors
can read it, with nothing of sigbox running.

Run it again, for example every minute, and it adds what is new. A checkpoint
that is there is only replaced by one that provably continues it; a log that is
shorter than its export, or another one, is refused. Files appear whole and the
checkpoint comes last, so a copy or a reader in between sees a good tree.
Bundles of the ct log carry RFC 6962 MerkleTreeLeaf structures, without chains.`,
		Example: `  sigbox log export rekor-v2 --out /srv/www/log`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), false, func(logs *stack.Logs) error {
				bar := newProgress(cmd.ErrOrStderr(), args[0], "entries written")
				size, err := logs.Export(cmd.Context(), args[0], out, bar.update)
				bar.done()
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %d entries in %s\n", args[0], size, out)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "directory to write to; made if it is not there")
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

func logFreezeCommand(f *logFlags) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "freeze NAME",
		Short: "End a log for good: it is served on and takes no more entries",
		Long: `Freeze a log. Its entries, proofs and last checkpoint are served on; whoever adds
to it is refused (Rekor v1 and v2 answer 405, the CT log 403). There is no way
back. The last checkpoint of a Rekor v2 log says that it is frozen, and when.
While the CT log is frozen, no certificates are issued (503).

An instance must be stopped: stop "sigbox up", freeze, start it again. Replicas of
"sigbox serve" run on: entries that they are committing are in the log or refused,
and all serve the last checkpoint within tlog.poll. (With tlog.guard.file the one
process must be stopped, since it has the guard.)`,
		Example: `  sigbox log freeze rekor-v1 --yes
  sigbox log freeze rekor-2026 --config /etc/sigbox/sigbox.yaml --yes`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return fmt.Errorf("a frozen log can never take entries again: to freeze %s, run the same command with --yes", args[0])
			}
			return f.with(cmd.Context(), true, func(logs *stack.Logs) error {
				changed, err := logs.Freeze(cmd.Context(), args[0])
				switch {
				case err != nil:
					return err
				case changed:
					fmt.Fprintf(cmd.OutOrStdout(), "%s is frozen\n", args[0])
					return nil
				}
				next, err := logs.GoesOn(cmd.Context(), args[0])
				if err == nil && next != "" {
					return fmt.Errorf("%s was frozen already, and %s takes entries for it: freeze that one", args[0], next)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s was frozen already\n", args[0])
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, for good")
	return cmd
}
