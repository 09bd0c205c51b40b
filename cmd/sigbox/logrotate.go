package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tlog/shardpath"
)

type rotateFlags struct {
	next           stack.NewShard
	yes            bool
	dryRun, resume bool

	trustedRoot string
	soak        time.Duration
}

func logRotateCommand(f *logFlags) *cobra.Command {
	var r rotateFlags
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Go on with a log in a new shard, while it is written to",
		Long: `Go on with a log in a new shard: make one, then freeze the shard that takes entries.
The services run on, all replicas of them. No write fails: one that meets the
frozen shard is appended to its successor. No client and no configuration changes.

A new shard of Rekor v1 has the key of the one before it and a tree id of its own.
Indexes go on where the frozen shard ends; its entries, proofs and last
checkpoint are served on, and searches find them. One command does all of it.

A new shard of Rekor v2 has a new key, since clients tell v2 logs apart by their
keys. So the command makes the shard and stops; the key is published, clients learn
it, and --resume switches when it has been published for as long as --soak says.

With --host, or where tlog.rekor_v2.shards lists one, the new shard has a host name
of its own. Clients, monitors and witnesses read it there; the frozen one is read for
ever where it was, so that a witness knows one tree of each name and can follow.
The name leads to the same listeners, with the scheme and the port of the log's URL;
what stands in between passes it on in the Host header.

Without one both shards have one origin. The frozen one is read below /shards/LOG-ID,
where the trust root has it. No witness can follow, since a witness knows one tree of
an origin. In either case a frozen shard answers 405 below /shards/LOG-ID to whoever
adds to it, and what is added anywhere else goes to the shard that takes entries.

NAME is any shard of the log. The steps are read from the database: a rotation
that was stopped anywhere goes on with --resume, which does nothing where there is
nothing to go on with. Until the second step nothing has changed for anybody, and
a shard that was made for later can wait for as long as you like; there is no way
back after it. See docs/rotation.md.`,
		Example: `  sigbox log rotate rekor-v1 --dry-run --config /etc/sigbox/sigbox.yaml
  sigbox log rotate rekor-v1 --yes --config /etc/sigbox/sigbox.yaml
  sigbox log rotate rekor-v1 --resume --yes --config /etc/sigbox/sigbox.yaml
  sigbox log rotate rekor-v2 --host log2026-1.example.com --yes --config /etc/sigbox/sigbox.yaml
  sigbox log rotate rekor-v2 --resume --yes --soak 48h --config /etc/sigbox/sigbox.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), false, func(logs *stack.Logs) error {
				return rotateLog(cmd, logs, args[0], r)
			})
		},
	}
	cmd.Flags().StringVar(&r.next.Name, "as", "", "name of the new shard (default: the next of tlog.rekor_v2.shards, else the name of the log and the next number)")
	cmd.Flags().StringVar(&r.next.Host, "host", "", "host name that a new shard of Rekor v2 has of its own (default: that of tlog.rekor_v2.shards, else it shares that of the log)")
	cmd.Flags().BoolVar(&r.yes, "yes", false, "yes, the shard that takes entries now is frozen for good")
	cmd.Flags().BoolVar(&r.dryRun, "dry-run", false, "say what would be done, and change nothing")
	cmd.Flags().BoolVar(&r.resume, "resume", false, "go on with a rotation that was stopped")
	cmd.Flags().DurationVar(&r.soak, "soak", 24*time.Hour, "how long the key of a Rekor v2 shard must have been published before the switch")
	cmd.Flags().StringVar(&r.trustedRoot, "trusted-root", "", "trusted_root.json as clients have it, where the TUF repository is of no use to this machine")
	cmd.MarkFlagsMutuallyExclusive("as", "resume")
	cmd.MarkFlagsMutuallyExclusive("host", "resume")
	return cmd
}

func rotateLog(cmd *cobra.Command, logs *stack.Logs, name string, f rotateFlags) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	r, err := logs.PlanRotation(ctx, name, f.next)
	if err != nil {
		return err
	}
	switch {
	case f.dryRun:
		return printRotation(out, r)
	case f.resume && !r.Unfinished():
		_, err := fmt.Fprintf(out, "no rotation of %s is under way; %s\n", name, takesEntries(r))
		return err
	case !f.resume && r.Unfinished():
		return fmt.Errorf("a rotation of %s is under way: %s is made and waits. Go on with --resume", name, r.To.Name)
	case !f.yes:
		return fmt.Errorf("a frozen shard can never take entries again: to go on from %s to %s, run the same command with --yes", r.From.Name, r.To.Name)
	}
	if !r.Made {
		if err := logs.MakeNext(ctx, r); err != nil {
			return err
		}
		waits := "it waits"
		if r.From.Frozen {
			waits = fmt.Sprintf("%s was frozen already, %s takes entries now", r.From.Name, r.To.Name)
		}
		if _, err := fmt.Fprintf(out, "made %s: origin %q, key id %x; %s\n", r.To.Name, originOf(r.To.Origin), r.To.KeySHA256, waits); err != nil {
			return err
		}
		if r.Key != "" {
			return sayPublish(out, r)
		}
		if r.From.Frozen {
			return nil
		}
	}
	if err := soaked(ctx, logs, r, f); err != nil {
		return err
	}
	if err := logs.Switch(ctx, r); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "froze %s with %d entries; %s takes entries now\n", r.From.Name, r.From.Size, r.To.Name)
	return err
}

// soaked returns nil once clients know the key of the next shard.
func soaked(ctx context.Context, logs *stack.Logs, r *stack.Rotation, f rotateFlags) error {
	c := clock.System{}
	since, err := logs.Published(ctx, r, f.trustedRoot, c)
	if errors.Is(err, stack.ErrNotPublished) {
		return fmt.Errorf("%s waits: %w. Publish it (sigbox tuf request, sign, publish) and run this again", r.To.Name, err)
	}
	if err != nil || r.Key == "" {
		return err
	}
	if until := since.Add(f.soak); c.Now().Before(until) {
		return fmt.Errorf("%s waits: its key was first seen published at %s, and clients have until %s to learn it: run this again then (--soak %s)",
			r.To.Name, since.Format(time.RFC3339), until.Format(time.RFC3339), f.soak)
	}
	return nil
}

// sayPublish says what there is to do before a log can go on with another key.
func sayPublish(out io.Writer, r *stack.Rotation) error {
	then := "then, when clients have learnt it: the same command with --resume --yes"
	if r.From.Frozen {
		then = "until clients have learnt it, they refuse what it signs"
	}
	publish, witness := fmt.Sprintf("then publish the key, and that %s is read below %s from now on:", r.From.Name, shardpath.Of(r.From.KeySHA256)),
		fmt.Sprintf("no witness can follow: both shards have the origin %q, and a witness knows one tree of an origin", originOf(r.To.Origin))
	if host := r.OwnHost(); host != "" {
		publish = fmt.Sprintf("let %s lead to the listeners of the log, with a certificate for it, then publish the key with that host:", host)
		witness = fmt.Sprintf("witnesses can follow: %s is read at %s for ever, and %s at %s", r.From.Name, originOf(r.From.Origin), r.To.Name, host)
	}
	_, err := fmt.Fprintf(out, `its key is in %s: copy it to every machine that serves the log, beside the log's own key,
and look at /readyz there: "shards" is "ok" where the key is
%s
"sigbox up" has done so; with "sigbox serve", sigbox tuf request, sign and publish
%s
%s
`, r.Key, publish, then, witness)
	return err
}

func takesEntries(r *stack.Rotation) string {
	if r.From.Frozen {
		return r.From.Name + " is frozen, and nothing goes on for it"
	}
	return r.From.Name + " takes entries"
}

// printRotation says what there is to do.
func printRotation(out io.Writer, r *stack.Rotation) error {
	var lines []string
	switch {
	case r.Made:
		lines = append(lines, fmt.Sprintf("done: %s is made, origin %q, key id %x", r.To.Name, originOf(r.To.Origin), r.To.KeySHA256))
	case r.OwnHost() != "":
		lines = append(lines, fmt.Sprintf("to do: make %s with a new key and the origin %q, its own host; witnesses can follow", r.To.Name, r.OwnHost()))
	case r.OwnKey():
		lines = append(lines, fmt.Sprintf("to do: make %s with a new key and the origin of %s, %q; no witness can follow", r.To.Name, r.From.Name, originOf(r.From.Origin)))
	default:
		lines = append(lines, fmt.Sprintf("to do: make %s with the key of %s, %x, and a new tree id", r.To.Name, r.From.Name, r.From.KeySHA256))
	}
	switch {
	case r.From.Frozen || !r.OwnKey():
	case r.OwnHost() != "":
		lines = append(lines, fmt.Sprintf("to do: publish its key, with the host %s; wait until clients know", r.OwnHost()))
	default:
		lines = append(lines, fmt.Sprintf("to do: publish its key, and that %s is read below %s; wait until clients know", r.From.Name, shardpath.Of(r.From.KeySHA256)))
	}
	if r.From.Frozen {
		lines = append(lines, fmt.Sprintf("done: %s is frozen with %d entries", r.From.Name, r.From.Size))
	} else {
		lines = append(lines, fmt.Sprintf("to do: freeze %s, which has %d entries now; %s takes entries from then on", r.From.Name, r.From.Size, r.To.Name))
	}
	var errs []error
	for _, l := range lines {
		_, err := fmt.Fprintln(out, l)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
