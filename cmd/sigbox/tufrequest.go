package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
)

// requestFlags are those of both commands that make a request.
type requestFlags struct {
	config, out            string
	statements, issuers    []string
	rootKeys, targetsKeys  []string
	rootNeed, targetsNeed  int
	mirrors                mirrorKeys
	goodFor                time.Duration
	retire, without        []string
	renewRoot, renewTarget bool
}

func (f *requestFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "sigbox.yaml", "configuration file")
	cmd.Flags().StringVar(&f.out, "out", "", "request file to write; it must not exist yet")
	cmd.Flags().StringArrayVar(&f.statements, "statements", nil, "trust statements that you bring: a file, or a directory of *.json; may be repeated")
	cmd.Flags().StringArrayVar(&f.issuers, "issuer", nil, "URL of an OpenID Connect issuer that clients may ask for a token, where the certificate authority names none; may be repeated")
	cmd.Flags().StringArrayVar(&f.rootKeys, "root-key", nil, "public key (PEM) of a signer of root; repeat for each")
	cmd.Flags().StringArrayVar(&f.targetsKeys, "targets-key", nil, "public key (PEM) of a signer of targets; repeat for each")
	cmd.Flags().IntVar(&f.rootNeed, "root-threshold", 0, "how many of the root keys must sign; without it more than half")
	cmd.Flags().IntVar(&f.targetsNeed, "targets-threshold", 0, "how many of the targets keys must sign; without it more than half")
	f.mirrors.add(cmd)
	cmd.Flags().StringArrayVar(&f.without, "without", nil, "id of a key of which nothing that waits is to be taken in; may be repeated")
	cmd.Flags().DurationVar(&f.goodFor, "good-for", 30*24*time.Hour, "how long signing and publishing may take")
	must(cmd.MarkFlagRequired("out"))
}

func tufInitCommand() *cobra.Command {
	var f requestFlags
	cmd := &cobra.Command{
		Use:   "init --root-key PUB... --targets-key PUB... --out REQUEST",
		Short: "Make the request for the first set",
		Long: `Make the request for the first root and targets of the instance of a configuration
file: with these signers, and with what the services say about their keys: the
statements that wait in the inbox, and those that you bring.

More than half of the keys of a role must sign, unless a threshold says otherwise.
2 of 3 is a good choice: one key may be lost, and one may be stolen. The same key
may be one of root and one of targets. The keys of snapshot and timestamp are those
of the configuration.`,
		Example: `  sigbox tuf init --config sigbox.yaml --statements public/statements --out first.json \
    --root-key alice.key.pub --root-key bob.key.pub --root-key carol.key.pub \
    --targets-key alice.key.pub --targets-key bob.key.pub --targets-key carol.key.pub`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(f.rootKeys) == 0 || len(f.targetsKeys) == 0 {
				return errors.New("a first set needs signers: name the public keys of root with --root-key and those of targets with --targets-key (see sigbox tuf key)")
			}
			return f.run(cmd, true)
		},
	}
	f.add(cmd)
	return cmd
}

func tufRequestCommand() *cobra.Command {
	var f requestFlags
	cmd := &cobra.Command{
		Use:   "request --out REQUEST",
		Short: "Make the request that takes new keys in, retires some, or renews what expires",
		Long: `Make the request for the set that follows the current one. It takes in what waits
in the inbox (sigbox tuf status shows it) and what you bring with --statements.

  --retire ID[@TIME]    give a key an end, now or at a time (RFC 3339); it stays for
                        what it signed before. The id is that of sigbox tuf status
  --without ID          leave out what waits about a key: a service with a wrong
                        configuration has said it. It goes on waiting
  --renew-targets       sign targets again although nothing changed
  --renew-root          sign root again, with the same signers
  --root-key, --targets-key
                        other signers: name all keys of the role. A new root is
                        signed by the threshold of the old keys and by that of the
                        new ones
  --mirror-snapshot-key, --mirror-timestamp-key
                        keys of mirrors behind an air gap (sigbox mirror init), which
                        sign what was carried in again: name those of all mirrors

It does nothing by itself: clients see it once it is signed and published.`,
		Example: `  sigbox tuf request --config sigbox.yaml --out second.json
  sigbox tuf request --renew-root --renew-targets --out renew.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd, false) },
	}
	f.add(cmd)
	cmd.Flags().StringArrayVar(&f.retire, "retire", nil, "id of a key that ends, and when: ID or ID@TIME; may be repeated")
	cmd.Flags().BoolVar(&f.renewRoot, "renew-root", false, "a new version of root with the same signers")
	cmd.Flags().BoolVar(&f.renewTarget, "renew-targets", false, "a new version of targets although nothing changed")
	return cmd
}

func (f *requestFlags) run(cmd *cobra.Command, first bool) error {
	w, err := f.wish()
	if err != nil {
		return err
	}
	return f.make(cmd, w, first)
}

// make makes a request of a wish, and of the signers that the flags name.
func (f *requestFlags) make(cmd *cobra.Command, w stack.Wish, first bool) error {
	if _, err := os.Lstat(f.out); err == nil {
		return fmt.Errorf("%s is there already: if it is a request under way, go on with it (sigbox tuf status %s); otherwise name another file", f.out, f.out)
	}
	return withTUF(cmd.Context(), f.config, func(t *stack.TUFRepo) error {
		cur, _, err := t.Current(cmd.Context())
		switch {
		case err != nil:
			return err
		case first && cur.Created():
			return fmt.Errorf("there is a set already, root version %d and targets version %d: sigbox tuf request makes the request for the next", len(cur.Roots), cur.Targets.Version)
		case !first && !cur.Created():
			return errors.New("there is no set yet: sigbox tuf init makes the request for the first")
		}
		if err := f.signers(&w, t, cur); err != nil {
			return err
		}
		r, err := t.Request(cmd.Context(), w)
		if err != nil {
			return err
		}
		if err := writeRequest(f.out, r); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "request %x is in %s, good until %s\n", r.ID(), f.out, r.GoodUntil.Format(time.RFC3339))
		printSigned(cmd.OutOrStdout(), f.out, r)
		return nil
	})
}

// wish reads what the flags name.
func (f *requestFlags) wish() (w stack.Wish, err error) {
	w = stack.Wish{Issuers: f.issuers, RenewRoot: f.renewRoot, RenewTargets: f.renewTarget, GoodFor: f.goodFor}
	for _, path := range f.statements {
		list, err := stack.ReadStatements(path)
		if err != nil {
			return w, err
		}
		w.Statements = append(w.Statements, list...)
	}
	for _, text := range f.without {
		id, err := keyID(text)
		if err != nil {
			return w, fmt.Errorf("--without %q: %w", text, err)
		}
		w.Without = append(w.Without, id)
	}
	for _, text := range f.retire {
		e := stack.Retirement{End: clock.System{}.Now()}
		id, at, timed := strings.Cut(text, "@")
		if e.ID, err = keyID(id); err != nil {
			return w, fmt.Errorf("--retire %q: %w, and perhaps @TIME", text, err)
		}
		if timed {
			if e.End, err = time.Parse(time.RFC3339, at); err != nil {
				return w, fmt.Errorf("--retire %q: want a time such as 2026-03-01T12:00:00Z after the @", text)
			}
		}
		w.Retire = append(w.Retire, e)
	}
	return w, nil
}

// keyID reads the id of a key of a record.
func keyID(text string) (id [32]byte, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(id) {
		return id, errors.New("want the 64 hex digits of a key id, as sigbox tuf status prints them")
	}
	return [32]byte(raw), nil
}

// signers fills in the signers of a new root, if there is to be one.
func (f *requestFlags) signers(w *stack.Wish, t *stack.TUFRepo, cur tuf.Release) error {
	if len(f.rootKeys)+len(f.targetsKeys) == 0 && !f.mirrors.given() {
		if f.rootNeed+f.targetsNeed != 0 {
			return errors.New("a threshold is for keys: name all keys of the role with --root-key or --targets-key")
		}
		return nil
	}
	next := &tuf.RootSigners{}
	if cur.Created() {
		before, err := tuf.SignersOf(cur.Roots[len(cur.Roots)-1].Bytes)
		if err != nil {
			return err
		}
		next = &before
	}
	for _, role := range []struct {
		files []string
		need  int
		to    *tuf.Signers
	}{{f.rootKeys, f.rootNeed, &next.Root}, {f.targetsKeys, f.targetsNeed, &next.Targets}} {
		if len(role.files) == 0 {
			continue
		}
		*role.to = tuf.Signers{Threshold: role.need}
		if role.need == 0 {
			role.to.Threshold = len(role.files)/2 + 1
		}
		for _, file := range role.files {
			pub, err := keys.LoadPublic(file)
			if err != nil {
				return err
			}
			role.to.Keys = append(role.to.Keys, pub)
		}
	}
	w.Root = next
	return f.mirrors.name(next, t.Keys)
}
