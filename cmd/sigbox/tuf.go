package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/ceremony"
)

func tufCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tuf",
		Short: "Ceremonies: have the trust root signed by people, and publish it",
		Long: `What clients trust is signed by people who keep their keys offline, never by a
service. One file, the request, goes from one to the next: on a stick, by mail, in
a repository of its own. It needs no secrecy.

  sigbox tuf key --out FILE           each signer makes a key, and gives FILE.pub away
  sigbox tuf init ...                 the request for the first set
  sigbox tuf request ...              later: the request that takes new keys in
  sigbox tuf sign REQUEST --key FILE  each signer, offline; shows first what changes
  sigbox tuf status REQUEST           who has signed, who has yet to
  sigbox tuf publish REQUEST          once enough have signed

sign needs no configuration, no database and no network. A ceremony that was
interrupted goes on from the file. Signers who worked on copies at the same time
give all copies to the next command, which puts them together.`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	cmd.AddCommand(tufKeyCommand(), tufInitCommand(), tufRequestCommand(), tufSignCommand(), tufStatusCommand(), tufPublishCommand())
	return cmd
}

func tufKeyCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "key --out FILE",
		Short: "Make a signer's key",
		Long: `Make an ECDSA P-256 key in FILE, which only you can read, and its public part in
FILE.pub, which whoever prepares the ceremony needs. FILE is not encrypted: make it
on the medium that you lock away, on a machine without a network.

A key that is lost cannot sign the root that replaces it, so keep copies apart, and
have more signers than must sign.`,
		Example: `  sigbox tuf key --out /media/stick/alice.key`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := keys.NewECDSA()
			if err != nil {
				return err
			}
			pub, err := keys.PublicPEM(key.Public())
			if err != nil {
				return err
			}
			id, err := tuf.KeyID(key.Public())
			if err != nil {
				return err
			}
			if err := keys.Save(out, key); errors.Is(err, os.ErrExist) {
				return fmt.Errorf("%s is there already, and a key is not written over: name another file", out)
			} else if err != nil {
				return err
			}
			if err := instance.WriteFile(out+".pub", pub, 0o644); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "key        %s: keep it offline\npublic key %s.pub: give it to whoever prepares the ceremony\nkey id     %s\n", out, out, id)
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file of the key; it must not exist yet")
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

// withTUF opens the repository of a configuration file.
func withTUF(ctx context.Context, file string, do func(*stack.TUFRepo) error) error {
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	t, err := stack.OpenTUF(ctx, cfg, clock.System{}, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return err
	}
	defer t.Close()
	return do(t)
}

// readRequest reads a request file, and puts further copies of it together with it.
func readRequest(paths []string) (r *ceremony.Request, added int, err error) {
	for _, path := range paths {
		raw, err := stack.ReadBounded(path, ceremony.MaxSize)
		if err != nil {
			return nil, 0, fmt.Errorf("request: %w", err)
		}
		next, err := ceremony.Parse(raw)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", path, err)
		}
		if r == nil {
			r = next
			continue
		}
		n, err := r.Merge(next)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", path, err)
		}
		added += n
	}
	return r, added, nil
}

// writeRequest replaces a request file as a whole.
func writeRequest(path string, r *ceremony.Request) error {
	raw, err := r.Encode()
	if err != nil {
		return err
	}
	return instance.WriteFile(path, raw, 0o644)
}

// printSigned says who has signed and what comes next.
func printSigned(out io.Writer, file string, r *ceremony.Request) {
	for _, g := range r.Groups() {
		fmt.Fprintf(out, "%s: %d of %d signatures\n", g.What, g.Have(), g.Threshold)
		for _, id := range g.Keys {
			mark := "  waits   "
			if slices.Contains(g.Signed, id) {
				mark = "  signed  "
			}
			fmt.Fprintf(out, "%s%s\n", mark, id)
		}
	}
	if r.Complete() {
		fmt.Fprintf(out, "next: sigbox tuf publish %s --config FILE\n", file)
		return
	}
	fmt.Fprintf(out, "next: one of those who wait, sigbox tuf sign %s --key FILE\n", file)
}

func tufPublishCommand() *cobra.Command {
	var file, approve string
	cmd := &cobra.Command{
		Use:   "publish REQUEST [COPY...]",
		Short: "Publish what enough people have signed",
		Long: `Hand a signed request to the repository of a configuration file. The repository
adds snapshot and timestamp, shows all of it to its own client, and only if that
accepts it, to everybody else. The request is kept with the set, as the transcript.

The first set names its own signers: nothing that was published before says whose
keys must have signed it. So it is shown in words first, as to those who sign.
Compare the keys of root and targets with what their owners told you, and confirm by
typing the first 8 digits of the request's id, which the command that made the
request printed, or with --approve.

It is refused, and nothing is changed, where a signature is missing, where it is
for another instance, where it is over, and where another set was published since
it was made. Publishing again what is published changes nothing.`,
		Example: `  sigbox tuf publish first.json --config /etc/sigbox/sigbox.yaml --approve c4ad520b23a38b83
  sigbox tuf publish second.json --config /etc/sigbox/sigbox.yaml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, _, err := readRequest(args)
			if err != nil {
				return err
			}
			return withTUF(cmd.Context(), file, func(t *stack.TUFRepo) error {
				if err := confirmFirst(cmd, t, r, approve); err != nil {
					return err
				}
				changed, err := t.Publish(cmd.Context(), r)
				if err != nil {
					return err
				}
				if !changed {
					fmt.Fprintln(cmd.OutOrStdout(), "published already: nothing to do")
					return nil
				}
				v := t.Repo.Published().Versions()
				fmt.Fprintf(cmd.OutOrStdout(), "published: root version %d, targets version %d, snapshot version %d, timestamp version %d\n", v.Root, v.Targets, v.Snapshot, v.Timestamp)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&file, "config", "sigbox.yaml", "configuration file")
	cmd.Flags().StringVar(&approve, "approve", "", "of a first set: first 8 or more digits of the request's id, instead of typing them")
	return cmd
}

// confirmFirst has a person look at what is to be the first set: its thresholds count the keys that it
// names itself, so that whoever carries the file could bring one of their own, signed by keys of their own.
func confirmFirst(cmd *cobra.Command, t *stack.TUFRepo, r *ceremony.Request, approve string) error {
	if r.Base != nil {
		return nil
	}
	cur, _, err := t.Current(cmd.Context())
	if err != nil || cur.Created() { // then Publish takes this one only if it is the first set already
		return err
	}
	if _, err := r.Signed(); err != nil {
		return err
	}
	words, err := r.Words()
	if err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), words)
	return confirm(cmd.InOrStdin(), cmd.OutOrStdout(), r, approve, "publish")
}
