package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/setup"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
)

// components are what "sigbox rotate" rotates, in the order of the help.
var components = []string{"ca-intermediate", "ca-root", "tsa", "ct", "rekor-v1", "rekor-v2", "tuf-timestamp", "tuf-snapshot", "tuf-targets", "tuf-root"}

type keyRotateFlags struct {
	logFlags
	rotateFlags
	undo         bool
	until, chain string
	keys         []string
	threshold    int
}

func rotateCommand() *cobra.Command {
	var f keyRotateFlags
	cmd := &cobra.Command{
		Use:   "rotate COMPONENT",
		Short: "Replace a key by the next one, while clients sign and verify",
		Long: `Replace the key of a component by the next one, so that no verification fails:

  ca-intermediate, ca-root, tsa, ct, rekor-v1, rekor-v2,
  tuf-timestamp, tuf-snapshot, tuf-targets, tuf-root

The steps: make a key; publish it, trusted and not used; let clients learn it for as
long as --soak says; sign with it; give the old one an end in the trust root, after
which nothing new verifies with it, and what it signed before does for ever. TUF
clients follow the keys of TUF roles by themselves, so that these are neither
published nor soaked. rekor-v1 and rekor-v2 are "sigbox log rotate".

Each step is written down when it is done. A rotation that was stopped anywhere goes
on with --resume. --undo goes back to the old key while both are trusted, and before
the next one signs, it drops that.

For an instance of "sigbox up" (--data), which runs meanwhile or not, one command does
all of it; a running one takes each step over by itself.

For "sigbox serve" (--config), on the machine with the keys of ca and tuf (ct: of tlog
and tuf), it goes as far as it can: it makes keys, hands out the request for a certificate and those
for the holders of offline keys, says what to change in the configuration, and stops
with exit code 3. --resume looks whether that was done. Of tuf-root and tuf-targets there,
name all who are to sign by --key. See docs/rotation.md.`,
		Example: `  sigbox rotate ca-intermediate --dry-run
  sigbox rotate ca-intermediate --yes
  sigbox rotate tsa --yes --soak 192h
  sigbox rotate tsa --resume --yes --soak 192h
  sigbox rotate ct --yes --until switched
  sigbox rotate ct --undo`,
		Args: cobra.ExactArgs(1), ValidArgs: components,
		RunE: func(cmd *cobra.Command, args []string) error {
			component := args[0]
			if !slices.Contains(components, component) {
				return fmt.Errorf("there is no component %q: %s", component, strings.Join(components, ", "))
			}
			if !slices.Contains([]rotation.Step{rotation.Made, rotation.Published, rotation.Switched, rotation.Retired}, rotation.Step(f.until)) {
				return fmt.Errorf("--until %q: want made, published, switched or retired", f.until)
			}
			if f.config == "" && stack.IsRotatable(component) {
				return f.rotateKey(cmd, component)
			}
			if strings.HasPrefix(component, "rekor-") {
				return f.rotateRekor(cmd, component)
			}
			return f.rotateServed(cmd, component)
		},
	}
	cmd.Flags().StringVar(&f.data, "data", "./sigbox-data", "data directory of the instance")
	cmd.Flags().StringVar(&f.database, "database", "", "PostgreSQL database of the logs, if the instance was made with one")
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file of sigbox serve, instead of --data")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "yes, do it")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and change nothing")
	cmd.Flags().BoolVar(&f.resume, "resume", false, "go on with a rotation that was stopped")
	cmd.Flags().BoolVar(&f.undo, "undo", false, "go back to the old key")
	cmd.Flags().DurationVar(&f.soak, "soak", 0, "how long the key must have been published before it signs (default: 0 for an instance of up, 192h for serve, 24h for a Rekor v2 shard of it)")
	cmd.Flags().StringVar(&f.until, "until", string(rotation.Retired), "where to stop: made, published, switched or retired")
	cmd.Flags().StringVar(&f.chain, "chain", "", "chain that a PKI has answered the request of a new key with, PEM (ca and tsa of serve)")
	cmd.Flags().StringArrayVar(&f.keys, "key", nil, "public key (PEM) of one who is to sign (tuf-root and tuf-targets of serve): name all, those that stay too")
	cmd.Flags().IntVar(&f.threshold, "threshold", 0, "how many of them must sign; without it more than half")
	cmd.Flags().StringVar(&f.trustedRoot, "trusted-root", "", "trusted_root.json as clients have it, where the TUF repository is of no use to this machine (Rekor v2)")
	for _, pair := range [][]string{{"config", "data"}, {"config", "database"}, {"dry-run", "undo"}, {"resume", "undo"}} {
		cmd.MarkFlagsMutuallyExclusive(pair...)
	}
	return cmd
}

// rotateRekor is "sigbox log rotate" of the log of a face.
func (f *keyRotateFlags) rotateRekor(cmd *cobra.Command, component string) error {
	if f.undo {
		return fmt.Errorf("there is no way back for %s: until the switch the next shard waits and changes nothing for anybody, and a shard that is frozen has said that it is the last", component)
	}
	if f.config != "" && !cmd.Flags().Changed("soak") {
		f.soak = 24 * time.Hour
	}
	return f.with(cmd.Context(), false, func(logs *stack.Logs) error {
		list, err := logs.Served(cmd.Context())
		if err != nil {
			return err
		}
		for _, l := range list {
			if l.Face == component && l.Active {
				return rotateLog(cmd, logs, string(l.Name), f.rotateFlags)
			}
		}
		return fmt.Errorf("there is no log of %s", component)
	})
}

// rotateServed rotates a key of a configuration file, and stops where others have something to do.
func (f *keyRotateFlags) rotateServed(cmd *cobra.Command, component string) (err error) {
	if !cmd.Flags().Changed("soak") {
		f.soak = clientsLearn
	}
	cfg, err := config.Load(f.config)
	if err != nil {
		return err
	}
	r, err := setup.OpenRotation(setup.RotationOptions{Config: cfg, Component: component, Chain: f.chain, Keys: f.keys, Threshold: f.threshold, Clock: clock.System{}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	m, err := r.Machine()
	if err != nil {
		return err
	}
	state, err := r.State(m)
	if err != nil {
		return err
	}
	if f.dryRun {
		return f.planFrom(cmd, component, state)
	}
	err = f.run(cmd, m, component, state)
	var waits *setup.Waiting
	if errors.As(err, &waits) {
		if _, said := io.WriteString(cmd.OutOrStdout(), waits.Todo); said != nil {
			return said
		}
		return waits
	}
	return err
}

// rotateKey rotates a key of an instance of up.
func (f *keyRotateFlags) rotateKey(cmd *cobra.Command, component string) (err error) {
	path, err := filepath.Abs(f.data)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	dir, err := stack.ReadInstance(path)
	if err != nil {
		return err
	}
	if f.dryRun {
		return f.planKey(cmd, component, dir.Path)
	}
	r, err := stack.OpenRotations(cmd.Context(), dir, f.database, clock.System{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	state, err := r.State(component)
	if err != nil {
		return err
	}
	m := r.Machine(component)
	return f.run(cmd, m, component, state)
}

// run begins, goes on or goes back.
func (f *keyRotateFlags) run(cmd *cobra.Command, m *rotation.Machine, component string, state rotation.Kind) error {
	ctx, t := cmd.Context(), state.Rotation
	m.Soak, m.Until = f.soak, rotation.Step(f.until)
	m.Say = func(t rotation.Rotation, undone bool) error {
		_, err := io.WriteString(cmd.OutOrStdout(), sayStep(m, t, undone))
		return err
	}
	switch {
	case t != nil && t.Component != component:
		return fmt.Errorf("a rotation of %s is under way, which concerns the same keys: go on with it (sigbox rotate %s --resume), or go back (--undo)", t.Component, t.Component)
	case f.undo:
		return m.Undo(ctx)
	case f.resume && t == nil:
		return fmt.Errorf("no rotation of %s is under way", component)
	case !f.resume && t != nil:
		return fmt.Errorf("a rotation of %s is under way: it is %s. Go on with --resume, or go back with --undo", component, t.Step)
	case !f.yes:
		return fmt.Errorf("to have %s go on with another key, run the same command with --yes; --dry-run says what it does", component)
	}
	if t == nil {
		if err := m.Begin(ctx, component); err != nil {
			return err
		}
	}
	for {
		err := m.Resume(ctx)
		var soak *rotation.SoakError
		if !errors.As(err, &soak) {
			return err
		}
		left := soak.Until.Sub(clock.System{}.Now())
		if left > waitAtMost {
			return fmt.Errorf("%w: run this again with --resume then (--soak %s)", err, f.soak)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(left):
		}
	}
}

// waitAtMost is how long the command itself waits for a soak to end.
const waitAtMost = 5 * time.Minute

// sayStep says what a step that is done means.
func sayStep(m *rotation.Machine, t rotation.Rotation, undone bool) string {
	what := fmt.Sprintf("%s %d", t.Component, t.To)
	follows := m.Work.Publish == nil
	switch {
	case undone && t.Step == rotation.Published:
		return fmt.Sprintf("went back: %s %d signs; %s is trusted, and not used. --undo again drops it, --resume switches to it\n", t.Component, t.From, what)
	case undone:
		return fmt.Sprintf("went back: %s %d signs, and there is no rotation any more\n", t.Component, t.From)
	case t.Step == rotation.Begun:
		return fmt.Sprintf("begun: %s follows %s %d\n", what, t.Component, t.From)
	case t.Step == rotation.Made:
		return fmt.Sprintf("made %s: nobody knows it\n", what)
	case t.Step == rotation.Published && follows:
		return fmt.Sprintf("ready: TUF clients follow %s by themselves\n", what)
	case t.Step == rotation.Published:
		return fmt.Sprintf("published %s at %s: trusted, and not used\n", what, t.Published.Format(time.RFC3339))
	case t.Step == rotation.Switched && follows:
		return fmt.Sprintf("switched: the root names %s, and the set is signed with it\n", what)
	case t.Step == rotation.Switched:
		return fmt.Sprintf("switched: %s signs; %s %d is trusted as before\n", what, t.Component, t.From)
	case follows:
		return fmt.Sprintf("done: nothing needs %s %d any more; its file can go\n", t.Component, t.From)
	}
	return fmt.Sprintf("retired %s %d: it ends in the trust root within %s, and what it signed until then verifies for ever\n", t.Component, t.From, m.Grace)
}
