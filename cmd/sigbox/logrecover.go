package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/tlog"
)

func logRecoverCommand(f *logFlags) *cobra.Command {
	var r recoverFlags
	cmd := &cobra.Command{
		Use:   "recover NAME",
		Short: "Find the way on for a log with ROLLBACK DETECTED",
		Long: `The way on for a log whose database lacks entries that were acknowledged: a
restored backup, a fail-over that lost commits. Such a log serves what it has and
takes nothing, since whatever it signed next would contradict what it has signed.

Without a flag it says what is wrong, changes nothing, and exits with 1 (with 0
where nothing is wrong).

--from brings the missing entries back from another database (a connection string:
the old primary, a standby, a newer backup) or from the data directory of another
"sigbox up". It must hold the same log, signed with the same key, as far as the
guard remembers; every row is checked. Stop whatever still runs on it first. Cut
short, it is taken up where it was.

--accept-loss gives the missing entries up. This is final: the log is frozen where
it is and never signs again, even if the entries turn up. New entries need a new
log. --confirm repeats both sizes, as the command without flags shows them.

The instance must be stopped, and replicas started again afterwards.`,
		Example: `  sigbox log recover rekor-v1 --config /etc/sigbox/sigbox.yaml
  sigbox log recover rekor-v1 --config /etc/sigbox/sigbox.yaml --from postgres://sigbox@old-primary/sigbox
  sigbox log recover rekor-v1 --data ~/sigbox --from /mnt/old-disk/sigbox
  sigbox log recover rekor-v1 --data ~/sigbox --accept-loss --confirm 300:310`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if r.acceptLoss != (r.confirm != "") {
				return errors.New("--accept-loss and --confirm go together: run the command without flags for the sizes to confirm")
			}
			return f.with(cmd.Context(), true, func(logs *stack.Logs) error { return r.run(cmd, f, logs, args[0]) })
		},
	}
	cmd.Flags().StringVar(&r.from, "from", "", "database or data directory that has the missing entries")
	cmd.Flags().BoolVar(&r.acceptLoss, "accept-loss", false, "freeze the log without the missing entries, for good")
	cmd.Flags().StringVar(&r.confirm, "confirm", "", "the size of the log and that which the guard remembers, as in 300:310")
	cmd.MarkFlagsMutuallyExclusive("from", "accept-loss")
	return cmd
}

type recoverFlags struct {
	from, confirm string
	acceptLoss    bool
}

func (r *recoverFlags) run(cmd *cobra.Command, f *logFlags, logs *stack.Logs, name string) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	switch {
	case r.acceptLoss:
		var sizes [2]int64
		if n, err := fmt.Sscanf(r.confirm+"\n", "%d:%d\n", &sizes[0], &sizes[1]); n != 2 || err != nil {
			return fmt.Errorf("--confirm %q: want two sizes, as in 300:310", r.confirm)
		}
		s, err := logs.AcceptLoss(ctx, name, sizes)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s is frozen with %d entries; %d were given up\n%s", name, s.Log.Size, s.Guard.Size-s.Log.Size, f.goOn())
		return nil
	case r.from != "":
		bar := newProgress(cmd.ErrOrStderr(), name, "entries there")
		s, err := logs.Recover(ctx, name, r.from, bar.update)
		bar.done()
		if err != nil {
			return err
		}
		if s.Sound() {
			return r.diagnose(out, f, name, s)
		}
		fmt.Fprintf(out, "%s: recovered: the entries from index %d on are back, and the guard agrees\n"+
			"Check it with sigbox log fsck %s%s, then start sigbox again.\n", name, s.Log.Size, name, f.repeat())
		return nil
	}
	s, err := logs.Compare(ctx, name)
	if err != nil {
		return err
	}
	return r.diagnose(out, f, name, s)
}

// diagnose says how a log stands and what the ways on are; it fails if one is needed.
func (r *recoverFlags) diagnose(out io.Writer, f *logFlags, name string, s tlog.Standing) error {
	again := "sigbox log recover " + name + f.repeat()
	switch {
	case s.State.Lost > 0:
		fmt.Fprintf(out, "%s is frozen, for good: %s\n", name, s.State.Reason)
		return nil
	case s.Sound():
		fmt.Fprintf(out, "%s: nothing to recover: it has %d entries, and the %d that the guard remembers are among them\n", name, s.Log.Size, s.Guard.Size)
		return nil
	case s.Forked:
		fmt.Fprintf(out, `%s: ROLLBACK DETECTED, and another history
  the database has    %d entries, root %x
  the guard remembers %d entries, root %x
The database does not lack entries: those that it has are not those that the guard
remembers. It is not the log's database, or something has written to an older copy
without asking the guard. Nothing can be copied into it, and what it says must not
be served or signed. What is safe:

1. Look whether the database and the guard are those of this log (%q). If not,
   name the right ones; nothing has been changed.
2. Restore a backup from before the histories parted, into a database of its own,
   and run %s
   on it; it says what is missing, and how to bring it back.
3. Keep this database as evidence, and go on with a new log of a new name and key.
`, name, s.Log.Size, s.Log.Root, s.Guard.Size, s.Guard.Root, s.Origin, again)
		return fmt.Errorf("log %s holds another history than its guard remembers", name)
	}
	fmt.Fprintf(out, `%s: ROLLBACK DETECTED
  the database has    %d entries, root %x
  the guard remembers %d entries, root %x
%[6]d entries are missing, with the indexes %[2]d to %[7]d. They were acknowledged to clients.
The log serves what it has and takes nothing, until you choose:

1. Bring them back, if anything is left that has them: the old primary, a standby,
   a newer backup, another data directory. Stop whatever still runs on it, then:
     %[8]s --from postgres://USER@HOST/DATABASE
     %[8]s --from DIRECTORY
2. Give them up. This is final: the log is frozen with %[2]d entries, never takes or
   signs anything again, even if they turn up later, and you go on with a new log:
     %[8]s --accept-loss --confirm %[2]d:%[4]d
`, name, s.Log.Size, s.Log.Root, s.Guard.Size, s.Guard.Root, s.Guard.Size-s.Log.Size, s.Guard.Size-1, again)
	return fmt.Errorf("log %s has lost %d entries", name, s.Guard.Size-s.Log.Size)
}

// repeat are the flags that name the logs, for a command to copy.
func (f *logFlags) repeat() string {
	switch {
	case f.config != "":
		return " --config " + f.config
	case f.database != "":
		return " --data " + f.data + " --database URL"
	}
	return " --data " + f.data
}

// goOn says how to go on after a log has ended.
func (f *logFlags) goOn() string {
	if f.config == "" {
		return `It is served on, and so are the other logs. New entries need a new instance:
  sigbox up --data NEWDIRECTORY
`
	}
	return `It is served on, by replicas that are started again. To go on with new entries:
a Rekor v1 log gets a new shard at the end of tlog.rekor_v1.shards, with a new name
and tree_id; a Rekor v2 or CT log a new name, host and key. Then:
  sigbox log create NEWNAME --config ` + f.config + `
and clients must learn to trust a key that is new; shards of Rekor v1 may share theirs.
`
}
