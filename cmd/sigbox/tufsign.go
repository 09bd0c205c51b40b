package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/ceremony"
)

func tufSignCommand() *cobra.Command {
	var key, approve, root string
	cmd := &cobra.Command{
		Use:   "sign REQUEST [COPY...] --key FILE",
		Short: "Sign a request, after a look at what it changes",
		Long: `Show in words what a request would make clients trust, made from the very bytes
that are signed and from those of the set before, and sign it with a key. The
signature is added to the file REQUEST; nothing else is needed, no configuration,
no database, no network.

Lines are marked + new, - gone, ~ changed, = as before. Compare every key that is
not "=" with what its owner tells you over another channel, and the request's id
with the other signers.

From the second ceremony on, name the root.json that you know with --root: what is
marked "=" is compared with a set that the file itself brings, and only the root
tells whether that set is the true one. Keep it with your key; sigbox trust export
writes it.

You confirm by typing the first 8 digits of the request's id, or with --approve.
Copies that others signed meanwhile are put together with REQUEST first.

It refuses a file that was changed after somebody signed it, one that does not fit
together, one that is over, a key that has no part in it and one that has signed.`,
		Example: `  sigbox tuf sign first.json --key /media/stick/alice.key
  sigbox tuf sign second.json --key /media/stick/alice.key --root /media/stick/root.json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, _, err := readRequest(args)
			if err != nil {
				return err
			}
			if err := follows(r, root); err != nil {
				return err
			}
			signer, err := keys.Load(key)
			if err != nil {
				return err
			}
			words, err := r.Words()
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintln(out, words)
			now := clock.System{}.Now()
			if err := r.CheckTime(now); err != nil {
				return err
			}
			if err := confirm(cmd.InOrStdin(), out, r, approve, "sign"); err != nil {
				return err
			}
			roles, err := r.Sign(signer, now)
			if err != nil {
				return err
			}
			if err := writeRequest(args[0], r); err != nil {
				return err
			}
			fmt.Fprintf(out, "signed %s in %s\n", strings.Join(roles, " and "), args[0])
			printSigned(out, args[0], r)
			return nil
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "file of your key")
	cmd.Flags().StringVar(&root, "root", "", "the root.json that you know, which the request must follow")
	cmd.Flags().StringVar(&approve, "approve", "", "first 8 or more digits of the request's id, instead of typing them")
	must(cmd.MarkFlagRequired("key"))
	return cmd
}

// follows holds a request against the root that a signer knows, if there is one.
func follows(r *ceremony.Request, file string) error {
	if file == "" {
		return nil
	}
	raw, err := stack.ReadBounded(file, 99<<10)
	if err != nil {
		return fmt.Errorf("root: %w", err)
	}
	return r.Follows(raw)
}

// confirm wants the beginning of the request's id before something is done with it: "sign" or "publish".
func confirm(in io.Reader, out io.Writer, r *ceremony.Request, approve, what string) error {
	id := fmt.Sprintf("%x", r.ID())
	if approve == "" {
		fmt.Fprintf(out, "to %s this, type the first 8 digits of the request's id: ", what)
		line, err := bufio.NewReader(io.LimitReader(in, 1024)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		approve = strings.TrimSpace(line)
		fmt.Fprintln(out)
	}
	if len(approve) < 8 || !strings.HasPrefix(id, approve) {
		return fmt.Errorf("not %sed: %q is not how the id of this request begins, %s...: type it, or name it with --approve", what, approve, id[:8])
	}
	return nil
}

func tufStatusCommand() *cobra.Command {
	var file, transcript string
	cmd := &cobra.Command{
		Use:   "status [REQUEST [COPY...]]",
		Short: "Show what is signed, what is published, what waits",
		Long: `Of a request: what it would change, and who has signed. Without a request, of the
repository of a configuration file: the current set with its expiry dates, every
key of the trust root with its id, and the statements of services that wait for the
next request. --transcript writes the request that the current set was published by,
with its signatures, as a file that status reads.`,
		Example: `  sigbox tuf status first.json
  sigbox tuf status --config /etc/sigbox/sigbox.yaml
  sigbox tuf status --config /etc/sigbox/sigbox.yaml --transcript ceremony.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if transcript != "" && len(args) > 0 {
				return errors.New("--transcript is of what is published: name no request")
			}
			if transcript != "" {
				return withTUF(cmd.Context(), file, func(t *stack.TUFRepo) error { return writeTranscript(cmd, t, transcript) })
			}
			if len(args) == 0 {
				return withTUF(cmd.Context(), file, func(t *stack.TUFRepo) error { return repositoryStatus(cmd.Context(), cmd.OutOrStdout(), t) })
			}
			r, _, err := readRequest(args)
			if err != nil {
				return err
			}
			words, err := r.Words()
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), words)
			printSigned(cmd.OutOrStdout(), strings.Join(args, " "), r)
			return r.CheckTime(clock.System{}.Now())
		},
	}
	cmd.Flags().StringVar(&file, "config", "sigbox.yaml", "configuration file")
	cmd.Flags().StringVar(&transcript, "transcript", "", "file to write the request of the current set to; it must not exist yet")
	return cmd
}

// writeTranscript writes what the current set was published by.
func writeTranscript(cmd *cobra.Command, t *stack.TUFRepo, path string) error {
	cur, _, err := t.Current(cmd.Context())
	if err != nil {
		return err
	}
	if cur.Transcript == nil {
		return errors.New("there is no transcript: no ceremony has published the current set")
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is there already: name another file", path)
	}
	r, err := ceremony.Parse(cur.Transcript)
	if err != nil {
		return fmt.Errorf("transcript: %w", err)
	}
	if err := writeRequest(path, r); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "request %x is in %s: sigbox tuf status %s shows it\n", r.ID(), path, path)
	return nil
}

func repositoryStatus(ctx context.Context, out io.Writer, t *stack.TUFRepo) error {
	waiting, rec, err := t.Waiting(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "instance %s\n", rec.Instance)
	if err := t.Repo.Open(ctx); errors.Is(err, tuf.ErrNotCreated) {
		fmt.Fprintln(out, "no set yet: sigbox tuf init makes the request for the first")
	} else if err != nil {
		return err
	} else {
		p := t.Repo.Published()
		v := p.Versions()
		for _, role := range []struct {
			name    string
			version int64
		}{{tuf.Root, v.Root}, {tuf.Targets, v.Targets}, {tuf.Snapshot, v.Snapshot}, {tuf.Timestamp, v.Timestamp}} {
			fmt.Fprintf(out, "%-9s version %d, expires %s\n", role.name, role.version, p.Expires(role.name).Format(time.RFC3339))
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, k := range rec.Keys {
		state := "in use"
		if k.Adopted {
			state = "adopted, until " + k.End.Format(time.RFC3339)
		} else if !k.End.IsZero() {
			state = "retired " + k.End.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%x\t%q\t%s\n", k.Role, k.ID(), k.URL, state)
	}
	for _, p := range waiting {
		fmt.Fprintf(w, "%s\t%x\t%q\twaits, brought by %s %s\n", p.Statement.Role, p.Statement.KeyID(), p.Statement.URL, p.Sender, p.At.Format(time.RFC3339))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(waiting) > 0 {
		fmt.Fprintln(out, "next: sigbox tuf init or request makes the request that takes in what waits")
	}
	return nil
}
